"""A NATS cluster of three servers on loopback that loses one of them: a short form here, a long one behind `cluster`.

A server waits four to nine seconds before it elects another leader, whatever its clients do. So what is shown is that
the driver adds next to nothing to that, with a ``timeout`` so long that waiting for it would fail the test.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats
import pytest

from tasuki.contracts.driver import Ack, QueueSpec, Received
from tasuki.drivers.nats import NATSDriver
from tasuki.errors import DriverError
from tests.faults.nats_site import PATIENCE, QUEUE, Load, declared, drained, messages, through, until
from tests.support.brokers.nats import NATSNode, cluster

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

STREAM = f"tasuki+{QUEUE}"
LONG = 90.0
"""A timeout that no test waits for."""
ELECTED = 60.0
"""Seconds within which the servers have agreed on a leader, on a very busy machine."""
LEADERS = {
    "stream": f"STREAM.INFO.{STREAM}",
    "consumer": f"CONSUMER.INFO.{STREAM}.m",
    "book": "STREAM.INFO.tasuki+=book",
}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sequence[NATSNode]]:
    """The servers; a test that ends one starts it again."""
    made = cluster(3)
    yield made
    for node in made:
        node.end()


@asynccontextmanager
async def a_driver(nodes: Sequence[NATSNode], **fields: Any) -> AsyncIterator[NATSDriver]:
    """An open driver that has declared the queue, as soon as the servers have agreed on who leads them."""
    servers = [f"nats://127.0.0.1:{node.port}" for node in nodes]
    options = {"replicas": 3, "server_sync": "always", "timeout": 3.0, "connect_timeout": 3.0, **fields}
    driver = NATSDriver("app:nats", servers=servers, **options)
    try:
        await agreed(lambda: opened(driver))
        yield driver
    finally:
        await driver.close()


async def opened(driver: NATSDriver) -> None:
    await driver.open()
    await declared(driver, lease=3.0)


async def agreed(act: Any) -> None:
    end = time.monotonic() + ELECTED
    while True:
        try:
            await act()
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        else:
            return


async def ask(nodes: Sequence[NATSNode], verb: str, **fields: Any) -> dict[str, Any]:
    """A request to JetStream, as an administrator makes it."""
    client = await nats.connect([f"nats://127.0.0.1:{node.port}" for node in nodes])
    try:
        content = json.dumps(fields).encode() if fields else b""
        answer = await client.request(f"$JS.API.{verb}", content, timeout=5)
    finally:
        await client.close()
    found: dict[str, Any] = json.loads(answer.data)
    return found


async def leader(nodes: Sequence[NATSNode], of: str = "stream") -> NATSNode:
    info = await ask(nodes, LEADERS[of])
    assert len(info["cluster"]["replicas"]) == 2
    return next(node for node in nodes if node.server_name == info["cluster"]["leader"])


async def connected_to(nodes: Sequence[NATSNode], driver: NATSDriver) -> NATSNode:
    connection = await driver._session._link.get()
    return next(node for node in nodes if connection.server.endswith(f":{node.port}"))


async def deleted(nodes: Sequence[NATSNode], driver: NATSDriver) -> None:
    """So that the next test begins with a stream of its own."""
    await agreed(lambda: driver.delete(QUEUE))


async def test_the_death_of_the_leader_loses_nothing(nodes: Sequence[NATSNode]) -> None:
    async with a_driver(nodes) as driver:
        assert driver.durability_of(QUEUE) == "node"
        load = Load(driver)
        killed: list[NATSNode] = []

        async def kill() -> None:
            await load.more(200)
            killed.append(await leader(nodes))
            await asyncio.to_thread(killed[0].kill)
            await load.more(200)

        await through(load, kill)
        await asyncio.to_thread(killed[0].start)
        await deleted(nodes, driver)


@pytest.mark.parametrize("of", ["consumer", "stream"])
async def test_consuming_goes_on_as_soon_as_there_is_another_leader(nodes: Sequence[NATSNode], of: str) -> None:
    """Requests waited their whole timeout for a stream without a leader, and then dropped a healthy connection."""
    async with a_driver(nodes, timeout=LONG) as driver:
        for start in range(0, 3000, 500):
            await driver.publish(QUEUE, messages(*map(str, range(start, start + 500))))
        done: set[str] = set()

        async def consume() -> None:
            while len(done) < 3000:
                try:
                    got = await driver.receive(QUEUE, 5, 0.5)
                    await driver.settle(QUEUE, [Ack(each.receipt) for each in got])
                except DriverError:
                    await asyncio.sleep(0.05)
                    continue
                done.update(each.id for each in got)

        consuming = asyncio.create_task(consume())
        await until(lambda: len(done) > 50)
        lost = await leader(nodes, of)
        is_ours = await connected_to(nodes, driver) is lost
        before = await driver._session._link.get()
        await asyncio.to_thread(lost.kill)
        async with asyncio.timeout(LONG / 2):
            await consuming
        assert is_ours or await driver._session._link.get() is before
        await asyncio.to_thread(lost.start)
        await deleted(nodes, driver)


async def led_by_one(nodes: Sequence[NATSNode]) -> NATSNode:
    """The server that leads the stream and its consumer, as soon as one leads both."""
    end = time.monotonic() + ELECTED
    while (found := await leader(nodes)) is not await leader(nodes, "consumer"):
        assert time.monotonic() < end, "another server leads the stream than its consumer"
        with suppress(nats.errors.Error):
            await ask([found], f"CONSUMER.LEADER.STEPDOWN.{STREAM}.m")
        await agreed(lambda: asyncio.sleep(0.2))
    return found


async def test_an_ack_that_is_committed_late_is_not_called_stale(nodes: Sequence[NATSNode]) -> None:
    """What a consumer tells is the committed state: its leader had taken acks that it knew no delivery of."""
    async with a_driver(nodes) as owner:
        await owner.publish(QUEUE, messages("a", "b", "c"))
        one = await led_by_one(nodes)
        others = [node for node in nodes if node is not one]
        async with a_driver([one]) as driver:
            held: list[Received] = []
            looked = asyncio.Event()
            found = driver._session._queues.found(QUEUE)
            assert found is not None
            unknown = found._holding._unknown

            async def look(*given: Any) -> set[str]:
                told = await unknown(*given)
                looked.set()
                return told

            found._holding._unknown = look
            await agreed(lambda: driver.depth(QUEUE))  # all that it must ask for is asked before
            for node in others:
                node.freeze()
            try:
                while len(held) < 3:
                    held += await driver.receive(QUEUE, 3, 0.5)
                settling = asyncio.create_task(settled(driver, held))
                async with asyncio.timeout(PATIENCE):
                    await looked.wait()
            finally:
                for node in others:
                    node.thaw()
            stale = await settling
            came = [each.id for each in held if each.receipt in stale]
            async with asyncio.timeout(ELECTED):
                while came:
                    with suppress(DriverError):
                        came = [id for id in came if id not in await drained(driver)]
        await deleted(nodes, owner)


async def settled(driver: NATSDriver, held: Sequence[Received]) -> set[object]:
    """Ack until the server has said what became of it; returns the stale receipts."""
    end = time.monotonic() + ELECTED
    while True:
        try:
            return set(await driver.settle(QUEUE, [Ack(each.receipt) for each in held]))
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)


async def test_the_level_is_that_of_the_stream_that_stands(nodes: Sequence[NATSNode]) -> None:
    """It was that of the entry: fifty of fifty messages said to survive a server were lost with it."""
    async with a_driver(nodes, replicas=1) as made:
        assert made.durability_of(QUEUE) == "power"
        async with a_driver(nodes) as driver:
            assert driver.durability == "node"
            assert driver.durability_of(QUEUE) == "power"
            await driver.declare(QueueSpec("other"))
            assert driver.durability_of("other") == "node"
            info = await ask(nodes, f"STREAM.INFO.{STREAM}")
            await ask(nodes, f"STREAM.UPDATE.{STREAM}", **{**info["config"], "num_replicas": 3})
            async with asyncio.timeout(PATIENCE):  # the server says so, and the next verb looks
                while driver.durability_of(QUEUE) != "node":
                    with suppress(DriverError):  # the stream gets a leader among three
                        await driver.publish(QUEUE, messages("a"))
            await driver.delete("other")
        await deleted(nodes, made)


@pytest.mark.cluster
@pytest.mark.parametrize("of", ["connected", "stream", "consumer", "book"])
@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_each_server_is_lost_in_turn(nodes: Sequence[NATSNode], of: str, how: str) -> None:
    """Under load, twice: nothing is lost, and all goes on."""
    async with a_driver(nodes) as driver:
        load = Load(driver)
        for _ in range(2):
            lost: list[NATSNode] = []

            async def lose(lost: list[NATSNode] = lost) -> None:
                await load.more(500)
                lost.append(await connected_to(nodes, driver) if of == "connected" else await leader(nodes, of))
                await asyncio.to_thread(getattr(lost[0], how))
                await load.more(500)

            load.is_over = False
            try:
                await through(load, lose)
            finally:
                await asyncio.to_thread(lost[0].thaw if how == "freeze" else lost[0].start)
            await agreed(lambda: driver.depth(QUEUE))
        await deleted(nodes, driver)
