"""A NATS cluster of three servers on loopback that loses one of them: a short form here, a long one behind `cluster`.

A server waits four to nine seconds before it elects another leader, whatever its clients do. So the tests show that
the driver adds next to nothing to that, with a ``timeout`` so long that waiting for it would fail the test.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats
import pytest

from tasuki.contracts.driver import Ack, Merged, QueueSpec, Received, Unique
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import DriverError
from tests.faults.nats.site import QUEUE, Load, declared, drained, messages, take, through, until
from tests.support.brokers.nats import NATSNode, cluster, whole
from tests.support.narrow import present
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(600)]

STREAM = f"tasuki+{QUEUE}"
LONG = 90.0
"""A timeout that no test waits for."""
ELECTED = 60.0
"""Seconds within which the servers have agreed on a leader, on a very busy machine."""
NO_STREAM = 10059
LEADERS = {
    "stream": f"STREAM.INFO.{STREAM}",
    "consumer": f"CONSUMER.INFO.{STREAM}.m",
    "book": "STREAM.INFO.tasuki+=book",
}
STEPS_DOWN = {"consumer": f"CONSUMER.LEADER.STEPDOWN.{STREAM}.m", "book": "STREAM.LEADER.STEPDOWN.tasuki+=book"}
LEADS_ALONE = 15.0
"""Seconds after which a server that cannot reach the others leads nothing any more."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Sequence[NATSNode]]:
    made = cluster(3)
    yield made
    for node in made:
        node.end()


@pytest.fixture
async def nodes(servers: Sequence[NATSNode]) -> Sequence[NATSNode]:
    """The servers, all running and with a leader, without a stream: whatever became of the test before."""
    for node in servers:
        node.thaw()
        await started(node)
    await asyncio.to_thread(whole, servers)
    listed = await asked(servers, "STREAM.NAMES")
    for stream in listed["streams"] or ():
        await asked(servers, f"STREAM.DELETE.{stream}")
    return servers


async def started(node: NATSNode) -> None:
    if not node.is_running:
        await asyncio.to_thread(node.start)


@asynccontextmanager
async def a_driver(nodes: Sequence[NATSNode], **fields: Any) -> AsyncIterator[NATSDriver]:
    """An open driver that has declared the queue, as soon as the servers have agreed on who leads them."""
    servers = [node.url for node in nodes]
    options = {"replicas": 3, "server_sync": "always", "timeout": 3.0, "connect_timeout": 3.0, **fields}
    driver = NATSDriver("app:nats", parsed(NATSSettings, servers=servers, **options))
    try:
        await agreed(lambda: opened(driver))
        yield driver
    finally:
        await driver.close()


async def opened(driver: NATSDriver) -> None:
    await driver.open()
    await declared(driver, lease=3.0)


async def agreed(act: Callable[[], Awaitable[Any]]) -> None:
    """Do it as soon as the servers have agreed on who leads them."""
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
    client = await nats.connect([node.url for node in nodes])
    try:
        content = json.dumps(fields).encode() if fields else b""
        answer = await client.request(f"$JS.API.{verb}", content, timeout=5)
    finally:
        await client.close()
    found: dict[str, Any] = json.loads(answer.data)
    return found


async def asked(nodes: Sequence[NATSNode], verb: str, **fields: Any) -> dict[str, Any]:
    """The same, until a leader answers it; a stream that is gone needs no more removal."""
    end = time.monotonic() + ELECTED
    while True:
        problem: Any
        try:
            answer = await ask(nodes, verb, **fields)
        except (OSError, nats.errors.Error) as error:
            problem = error
        else:
            problem = answer.get("error")
            if problem is None or (verb.startswith("STREAM.DELETE.") and problem["err_code"] == NO_STREAM):
                return answer
        assert time.monotonic() < end, f"{verb}: {problem}"
        await asyncio.sleep(0.1)


async def leader(nodes: Sequence[NATSNode], of: str = "stream") -> NATSNode:
    """As soon as there is one; without one all three servers stand in the list of the others."""
    end = time.monotonic() + ELECTED
    while True:
        told = (await asked(nodes, LEADERS[of]))["cluster"]
        if told.get("leader"):
            assert len(told["replicas"]) == 2
            return next(node for node in nodes if node.server_name == told["leader"])
        assert time.monotonic() < end, told
        await asyncio.sleep(0.1)


async def connected_to(nodes: Sequence[NATSNode], driver: NATSDriver) -> NATSNode:
    connection = await present(driver._guard.current).get()
    return next(node for node in nodes if connection.server.endswith(f":{node.port}"))


async def deleted(nodes: Sequence[NATSNode], driver: NATSDriver) -> None:
    """So that the next test begins with its own stream."""
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
        await started(killed[0])
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
                except DriverError:
                    await asyncio.sleep(0.05)
                    continue
                if got:  # one whose ack has failed may be acked all the same, and never come again
                    stale = await settled(driver, got)
                    done.update(each.id for each in got if each.receipt not in stale)

        consuming = asyncio.create_task(consume())
        await until(lambda: len(done) > 50)
        lost = await leader(nodes, of)
        is_ours = await connected_to(nodes, driver) is lost
        before = await present(driver._guard.current).get()
        await asyncio.to_thread(lost.kill)
        async with asyncio.timeout(LONG / 2):
            await consuming
        assert is_ours or await present(driver._guard.current).get() is before
        await started(lost)
        await deleted(nodes, driver)


async def led_by_one(nodes: Sequence[NATSNode]) -> NATSNode:
    """The server that leads the stream, its consumer and the book, as soon as one leads them all."""
    end = time.monotonic() + ELECTED
    while True:
        found = await leader(nodes)
        apart = [verb for of, verb in STEPS_DOWN.items() if await leader(nodes, of) is not found]
        if not apart:
            return found
        assert time.monotonic() < end, "no server leads all of them"
        for verb in apart:
            with suppress(OSError, nats.errors.Error):
                await ask(nodes, verb)
        await asyncio.sleep(0.2)


async def test_an_ack_that_is_committed_late_is_not_called_stale(nodes: Sequence[NATSNode]) -> None:
    """What a consumer tells is the committed state: its leader had taken acks that it knew no delivery of."""
    async with a_driver(nodes) as owner:
        end = time.monotonic() + ELECTED
        while not await acked_late(nodes, owner):
            assert time.monotonic() < end, "a leader without the others has resigned before it was asked, each time"
        await deleted(nodes, owner)


async def acked_late(nodes: Sequence[NATSNode], owner: NATSDriver) -> bool:
    """Ack at a leader whose followers stand still; tells whether the driver has looked into it meanwhile.

    Without its followers a server leads for some ten seconds only: on a busy machine that may not be enough.
    """
    one = await led_by_one(nodes)
    others = [node for node in nodes if node is not one]
    async with a_driver([one]) as driver:
        held: list[Received] = []
        looked = asyncio.Event()
        # All that it must ask for is asked before, and no request for messages is left.
        await agreed(lambda: owner.publish(QUEUE, messages("first")))
        await settled(driver, await take(driver, 1))
        await agreed(lambda: owner.publish(QUEUE, messages("a", "b", "c")))
        found = driver._queues.found(QUEUE)
        assert found is not None
        unknown = found.settle_state._unknown

        async def look(*given: Any) -> set[str]:
            told = await unknown(*given)
            looked.set()
            return told

        found.settle_state._unknown = look  # type: ignore[assignment,method-assign]
        for node in others:
            node.freeze()
        try:
            while len(held) < 3:
                try:
                    held += await driver.receive(QUEUE, 3, 0.5)
                except DriverError:  # it has resigned already
                    return False
            settling = asyncio.create_task(settled(driver, held))
            with suppress(TimeoutError):
                async with asyncio.timeout(LEADS_ALONE):
                    await looked.wait()
            has_looked = looked.is_set()
        finally:
            for node in others:
                node.thaw()
        stale = await settling
        came = [each.id for each in held if each.receipt in stale]
        async with asyncio.timeout(ELECTED):
            while came:
                with suppress(DriverError):
                    again = await drained(driver)
                    came = [id for id in came if id not in again]
    return has_looked


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
    """It was the entry's durability: fifty of fifty messages said to survive a server were lost with it."""
    async with a_driver(nodes, replicas=1) as made:
        assert made.durability_of(QUEUE) == "power"
        async with a_driver(nodes) as driver:
            assert driver.durability == "node"
            assert driver.durability_of(QUEUE) == "power"
            await agreed(lambda: driver.declare(QueueSpec("other")))
            assert driver.durability_of("other") == "node"
            info = await asked(nodes, f"STREAM.INFO.{STREAM}")
            await asked(nodes, f"STREAM.UPDATE.{STREAM}", **{**info["config"], "num_replicas": 3})
            async with asyncio.timeout(ELECTED):  # the server says so, and the next verb looks
                while driver.durability_of(QUEUE) != "node":
                    with suppress(DriverError):  # the stream gets a leader among three
                        await driver.publish(QUEUE, messages("a"))
            await agreed(lambda: driver.delete("other"))
        await deleted(nodes, made)


async def test_of_many_publishers_one_stores_also_in_a_stream_of_three_replicas(nodes: Sequence[NATSNode]) -> None:
    async with a_driver(nodes) as one, a_driver(nodes) as other:

        async def publish(number: int) -> Sequence[object]:
            batch = messages(*(f"{key}-{number}" for key in range(10)))
            for key, message in enumerate(batch):
                message.unique = Unique(f"key-{key}", "running")
            answers = await (one, other)[number % 2].publish(QUEUE, batch)
            return answers or [None] * len(batch)

        for _ in range(5):
            told = await asyncio.gather(*map(publish, range(16)))
            assert [sum(answers[key] is None for answers in told) for key in range(10)] == [1] * 10
            stored = await drained(one)
            assert len(stored) == 10
            assert {each.other for answers in told for each in answers if isinstance(each, Merged)} == set(stored)


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
            await asyncio.to_thread(whole, nodes)  # two of three must know all before the next one is lost
            await agreed(lambda: driver.depth(QUEUE))
        await deleted(nodes, driver)
