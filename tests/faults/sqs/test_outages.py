"""SQS is frozen, silent, cut off; leases and polls end all the same."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.drivers.sqs.driver import SQSDriver
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.testing.proxy import Proxy
from tests.faults.sqs.rig import PATIENCE, driver_at, messages, once, opened, take
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Gate, Partly

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_nack_waits_for_an_extension_that_is_under_way(gate: Gate, queue: str) -> None:
    """Else the extension, arriving later, would bring the message back at the end of the lease, not of the delay."""
    began, proceed = asyncio.Event(), asyncio.Event()
    async with opened(gate.port, QueueSpec(queue, lease=5.0, ordering="key")) as driver:
        await driver.publish(queue, messages(1, key="k"))
        (got,) = await take(driver, queue)
        session = driver._guard.current
        assert session is not None
        call = session.settling._clients.call

        async def slow(operation: str, *arguments: Any, **parameters: Any) -> Any:
            if operation == "change_message_visibility_batch" and not began.is_set():
                began.set()
                await proceed.wait()
            return await call(operation, *arguments, **parameters)

        session.settling._clients.call = slow  # type: ignore[method-assign]
        extending = asyncio.create_task(driver.extend(queue, [got.receipt], 5.0))
        await began.wait()
        settling = asyncio.create_task(driver.settle(queue, [Nack(got.receipt, 600.0)]))
        await asyncio.sleep(0.05)
        assert gate.times("ChangeMessageVisibilityBatch") == 0
        proceed.set()
        await asyncio.gather(extending, settling)
        seconds = [
            seen.body["Entries"][0]["VisibilityTimeout"]
            for seen in gate.seen
            if seen.operation == "ChangeMessageVisibilityBatch"
        ]
        assert seconds == [5, 600]


async def test_an_extension_that_failed_in_part_is_told_and_the_rest_is_extended(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue, lease=2.0)) as driver:
        await driver.publish(queue, messages(2))
        lost, kept = await take(driver, queue, 2)
        gate.rule = once("ChangeMessageVisibilityBatch", Partly({0: "InternalError"}))
        with pytest.raises(BrokerUnavailableError):
            await driver.extend(queue, [lost.receipt, kept.receipt], 30.0)
        (again,) = await take(driver, queue)
        assert (again.id, again.attempt, again.suspect) == (lost.id, 1, True)
        assert list(await driver.settle(queue, [Ack(lost.receipt), Ack(kept.receipt)])) == [lost.receipt]


async def test_the_client_of_another_loop_is_closed_there(queue: str) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        async with opened(SQS.shared().port, QueueSpec(queue)) as driver:
            await driver.publish(queue, messages(1))
            (got,) = await take(driver, queue)
            extending = asyncio.run_coroutine_threadsafe(driver.extend(queue, [got.receipt], 30.0), loop)
            assert list(await asyncio.wrap_future(extending)) == []
            session = driver._guard.current
            assert session is not None
            clients = list(session._clients._entries.values())
            assert len(clients) == 2
        with pytest.raises(BrokerUnavailableError):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(driver.extend(queue, [], 30.0), loop))
        assert all(entry.keeper is not None and entry.keeper.ag_frame is None for entry in clients)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


async def test_a_frozen_broker_is_noticed_in_time_and_used_again_afterwards(queue: str) -> None:
    broker = SQS()
    broker.start()
    try:
        async with opened(broker.port, QueueSpec(queue), request_timeout=1.0, connect_timeout=1.0) as driver:
            await driver.publish(queue, messages(1))
            (got,) = await take(driver, queue)
            broker.freeze()
            verbs: list[Callable[[], Any]] = [
                lambda: driver.publish(queue, messages(1)),
                lambda: driver.receive(queue, 1, 0.0),
                lambda: driver.settle(queue, [Ack(got.receipt)]),
                lambda: driver.extend(queue, [got.receipt], 30.0),
                lambda: driver.depth(queue),
            ]
            for verb in verbs:
                began = time.monotonic()
                with pytest.raises(BrokerTimeoutError) as caught:
                    await verb()
                assert caught.value.retryable
                assert time.monotonic() - began < 5.0
            broker.thaw()
            assert list(await driver.settle(queue, [Ack(got.receipt)])) == []
            broker.freeze()
            began = time.monotonic()
            await driver.close()
            assert time.monotonic() - began < 10.0
            broker.thaw()
    finally:
        broker.end()


async def test_a_close_ends_what_a_silent_broker_does_not_answer(proxy: Proxy, queue: str) -> None:
    async with opened(proxy.port, QueueSpec(queue), request_timeout=60.0) as driver:
        await driver.publish(queue, messages(1))
        (got,) = await take(driver, queue)
        proxy.silence()
        work = [
            asyncio.create_task(driver.settle(queue, [Ack(got.receipt)])),
            asyncio.create_task(driver.receive(queue, 1, 30.0)),
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await driver.close()
        assert time.monotonic() - began < 15.0
        settled, received = await asyncio.gather(*work, return_exceptions=True)
        assert isinstance(settled, BrokerUnavailableError)
        assert received == []


async def test_a_broker_that_is_away_at_the_start(queue: str) -> None:
    proxy = Proxy(SQS.shared().port)
    proxy.refuse()
    try:
        for specs in ([], [QueueSpec(queue)]):
            driver = driver_at(proxy.port)
            for spec in specs:
                await driver.declare(spec)
            with pytest.raises(BrokerUnavailableError):
                await driver.open()
            proxy.serve()
            await driver.open()
            await driver.close()
            proxy.refuse()
    finally:
        proxy.close()


class Load:
    """Publishers and consumers at one queue, who go on whatever happens, and what they know."""

    def __init__(self, driver: SQSDriver, queue: str) -> None:
        self.driver = driver
        self.queue = queue
        self.confirmed: set[str] = set()
        self.doubtful: set[str] = set()
        self.seen: set[str] = set()
        self.over = asyncio.Event()

    async def publish(self) -> None:
        numbers = count()
        while not self.over.is_set():
            batch = [Outgoing(f"{next(numbers)}", b"body", {}) for _ in range(5)]
            try:
                results = list(await self.driver.publish(self.queue, batch)) or [None] * 5
            except DriverError as error:
                results = [error] * 5
            for message, result in zip(batch, results, strict=True):
                if result is None:
                    self.confirmed.add(message.id)
                elif result.outcome == "unknown":
                    self.doubtful.add(message.id)
            await asyncio.sleep(0.002)

    async def consume(self) -> None:
        while not self.over.is_set():
            await self.consume_some()

    async def consume_some(self) -> None:
        try:
            got = await self.driver.receive(self.queue, 20, 1.0)
            self.seen.update(received.id for received in got)
            if got:
                await self.driver.settle(self.queue, [Ack(received.receipt) for received in got])
        except DriverError:
            await asyncio.sleep(0.01)


async def test_cut_connections_under_load_lose_nothing(proxy: Proxy, queue: str) -> None:
    async with opened(proxy.port, QueueSpec(queue, lease=2.0)) as driver:
        load = Load(driver, queue)
        work = [asyncio.create_task(load.publish()), *(asyncio.create_task(load.consume()) for _ in range(3))]
        for _ in range(10):
            await asyncio.sleep(0.1)
            proxy.cut()
        load.over.set()
        await asyncio.gather(*work)
        end = time.monotonic() + PATIENCE
        while not load.confirmed <= load.seen:
            assert time.monotonic() < end, f"lost: {load.confirmed - load.seen}"
            await load.consume_some()
    assert load.confirmed
    assert load.seen <= load.confirmed | load.doubtful


async def test_a_poll_that_its_caller_left_hands_its_message_back_uncounted(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue)) as driver, opened(gate.port, QueueSpec(queue)) as other:
        waiting = asyncio.create_task(driver.receive(queue, 1, 30.0))
        while not gate.times("ReceiveMessage"):
            await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await driver.publish(queue, messages(1))
        (got,) = await take(other, queue)
        assert got.attempt == 1


async def test_a_close_waits_for_the_poll_under_way_and_hands_back_what_it_brings(gate: Gate, queue: str) -> None:
    async with opened(gate.port, QueueSpec(queue, lease=60.0)) as other:
        driver = driver_at(gate.port)
        await driver.declare(QueueSpec(queue, lease=60.0))
        await driver.open()
        waiting = asyncio.create_task(driver.receive(queue, 1, 30.0))
        while not gate.times("ReceiveMessage"):
            await asyncio.sleep(0.005)
        closing = asyncio.create_task(driver.close())
        assert await waiting == []
        await other.publish(queue, messages(1))
        await closing
        (got,) = await take(other, queue)
        assert got.attempt == 1
