"""SQS is frozen, silent, cut off; leases and polls end all the same."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError
from tasuki.testing.proxy import Proxy
from tests.faults.sqs.rig import driver_at, messages, once, opened
from tests.support.brokers.rig import Work, take
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
            extending: Future[Any] = asyncio.run_coroutine_threadsafe(driver.extend(queue, [got.receipt], 30.0), loop)
            assert list(await asyncio.wrap_future(extending)) == []
            session = driver._guard.current
            assert session is not None
            clients: list[Any] = list(session._clients._entries.values())
            assert len(clients) == 2
        with pytest.raises(BrokerUnavailableError):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(driver.extend(queue, [], 30.0), loop))
        assert all(entry.keeper is not None and entry.keeper.ag_frame is None for entry in clients)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


async def test_a_frozen_broker_is_noticed_in_time_and_used_again_afterwards(queue: str) -> None:
    with SQS() as broker:
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


async def test_cut_connections_under_load_lose_nothing(proxy: Proxy, queue: str) -> None:
    async with opened(proxy.port, QueueSpec(queue, lease=2.0)) as driver:
        async with Work(driver, driver, (queue,)) as work:
            for _ in range(10):
                await work.goes_on(20)
                proxy.cut()
            await work.goes_on(20)
            await work.catches_up()
        assert not work.lost()


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
