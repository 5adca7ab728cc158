"""RabbitMQ is cut off, frozen and silent, and the driver's own thread fails: no message is lost."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, QueueSpec, Received
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import consumers, driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import IMPATIENT, SECONDS, Work, messages, take, until
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_connections_cut_under_load_lose_nothing(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(proxy.port, spec) as publisher, driver_at(proxy.port, spec) as consumer:
        async with Work(publisher, consumer, (queue,)) as work:
            for _ in range(10):
                await work.goes_on(50)
                proxy.cut()
            await work.goes_on(50)
        assert not work.lost()
        assert work.errors


async def test_a_reconnect_needs_few_channels_however_many_lanes_there_are(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    spec = QueueSpec(queue, ordering="key", priorities=True)
    async with driver_at(proxy.port, spec, channel_max=5) as driver:
        await driver.publish(queue, messages("a", key="k"))
        proxy.cut()
        got: list[Received] = []

        async def receives() -> bool:
            with suppress(DriverError):
                got.extend(await driver.receive(queue, 1, 1.0))
            return bool(got)

        await until(receives, "a new connection")
        assert [item.id for item in got] == ["a"]


async def test_a_frozen_broker_hangs_no_caller_and_its_connections_are_replaced(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), request_timeout=1.0, connection_timeout=1.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        first, second = await take(driver, queue, 2)
        broker.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(BrokerTimeoutError) as problem:
                await driver.publish(queue, messages("c"))
            assert problem.value.outcome == "unknown"
            with pytest.raises((BrokerTimeoutError, BrokerUnavailableError)):
                await driver.settle(queue, [Ack(first.receipt)])
            for verb in (driver.depth(queue), driver.receive(queue, 1, 0.2), driver.publish(queue, messages("d"))):
                with pytest.raises(BrokerUnavailableError, match=r"no answer|did not answer"):
                    await verb
            assert time.monotonic() - began < SECONDS / 2
        finally:
            broker.thaw()
        got: set[str] = set()

        async def is_back() -> bool:
            try:
                found = await driver.receive(queue, 10, 1.0)
                await driver.settle(queue, [Ack(item.receipt) for item in found])
            except DriverError:
                return False
            got.update(item.id for item in found)
            return "b" in got

        await until(is_back, "the message of the connection that was given up")
        got.update(item.id for item in await driver.receive(queue, 10, 1.0))
        assert got <= {"a", "b", "c"}  # the broker may have read the ack of a, and c; d was never sent
        assert list(await driver.settle(queue, [Ack(second.receipt)])) == [second.receipt]


@pytest.mark.parametrize(
    ("length", "patience", "why"),
    [
        (2**32 - 1, SECONDS, "unreadable data"),
        (2**20, SECONDS, "unreadable data"),
        (0, SECONDS, "unreadable data"),
        (100_000, IMPATIENT, None),
    ],
)
async def test_a_damaged_frame_ends_the_connection_and_not_the_work(
    broker: RabbitMQ, proxy: Proxy, queue: str, length: int, patience: float, why: str | None
) -> None:
    # A length that may be true swallows what comes, until an answer or the frame is overdue.
    spec, fields = QueueSpec(queue), {"request_timeout": patience, "heartbeat": 1.0}
    async with driver_at(broker.port, spec) as publisher, driver_at(proxy.port, spec, **fields) as driver:
        waiting = asyncio.create_task(driver.receive(queue, 1, 2 * SECONDS))

        async def is_consumed() -> bool:
            return await consumers(broker.port, f"{queue}.returned") == 1

        await until(is_consumed, "the consumer to be at the broker")
        proxy.damage = lambda data: data[:3] + length.to_bytes(4, "big") + data[7:]
        await publisher.publish(queue, messages("a"))
        with pytest.raises(BrokerUnavailableError, match=why):
            async with asyncio.timeout(SECONDS):
                await waiting
        assert (await take(driver, queue))[0].id == "a"


async def test_a_connection_that_answers_nothing_is_replaced_by_the_next_call(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    fields = {"heartbeat": 600.0, "request_timeout": IMPATIENT, "connection_timeout": 5.0}  # no heartbeat will end it
    async with driver_at(proxy.port, QueueSpec(queue), **fields) as driver:
        for verb in (lambda: driver.publish(queue, messages("a")), lambda: driver.depth(queue)):
            await verb()
            before = proxy.accepted
            proxy.silence()
            with pytest.raises(BrokerTimeoutError):
                await verb()
            assert proxy.accepted == before
            proxy.serve()
            await connected(verb)
            assert proxy.accepted == before + 1
        assert {item.id for item in await take(driver, queue)} == {"a"}


async def connected(verb: Any) -> None:
    """Wait until a verb works again."""

    async def works() -> bool:
        try:
            await verb()
        except DriverError:
            return False
        return True

    await until(works, "the driver to be connected")


async def test_a_frozen_broker_keeps_no_driver_from_closing(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", "b"))
        await take(driver, queue)
        broker.freeze()
        try:
            began = time.monotonic()
            await driver.close()
            assert time.monotonic() - began < SECONDS / 2
        finally:
            broker.thaw()
        await driver.open()
        assert {item.id for item in await take(driver, queue, 2)} == {"a", "b"}


async def test_a_close_that_is_cancelled_leaves_no_connection_behind(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as publisher:
        await publisher.publish(queue, messages("a"))
        for turns in range(4):  # cancelled at several places of its way
            driver = AMQPDriver("test", parsed(AMQPSettings, url=broker.url))
            await driver.open()
            await driver.declare(QueueSpec(queue))
            await take(driver, queue)
            closing = asyncio.create_task(driver.close())
            for _ in range(turns + 1):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            await driver.close()
        (got,) = await take(publisher, queue)
        assert got.id == "a"


async def test_a_silent_connection_is_given_up_after_two_heartbeats(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), heartbeat=1.0, connection_timeout=1.0) as driver:
        waiting = asyncio.create_task(driver.receive(queue, 1, 60.0))
        await asyncio.sleep(0.1)
        proxy.silence()
        with pytest.raises(BrokerUnavailableError):
            async with asyncio.timeout(SECONDS):
                await waiting
        proxy.serve()
        await driver.publish(queue, messages("a"))
        await take(driver, queue)


async def test_a_loop_that_is_blocked_for_longer_than_two_heartbeats_loses_nothing(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), heartbeat=1.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        (first,) = await take(driver, queue)
        connections = proxy.connections()
        time.sleep(5.0)  # a handler that computes: no other way to be sure that the loop stands still
        assert list(await driver.settle(queue, [Ack(first.receipt)])) == []
        assert [(item.id, item.attempt) for item in await take(driver, queue)] == [("b", 1)]
        assert proxy.connections() == connections


async def test_a_thread_whose_loop_fails_begins_again_and_what_it_held_comes_back(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", "b"))
        (held,) = await take(driver, queue)
        waiting = asyncio.create_task(driver.depth(queue))
        await asyncio.sleep(0)
        thread = driver._guard.current
        assert thread is not None
        thread.tell(_exit)
        async with asyncio.timeout(SECONDS):
            await asyncio.wait([waiting])  # every wait ends
            found: dict[str, Received] = {}
            while len(found) < 2:
                try:
                    for received in await driver.receive(queue, 10, 1.0):
                        found[received.id] = received
                except BrokerUnavailableError:
                    await asyncio.sleep(0.05)
            assert held.id in found
            assert not await driver.settle(queue, [Ack(received.receipt) for received in found.values()])
        assert waiting.exception() is None or isinstance(waiting.exception(), BrokerUnavailableError)


def _exit() -> None:
    raise SystemExit("no more")
