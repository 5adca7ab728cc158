"""Cancelled messages: they do not start, their handlers are interrupted, and nothing brings them back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasuki.consumers.batch import Batching
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.shared import Share, SharedWorkers
from tasuki.contracts.handler import Context, Retry
from tasuki.contracts.state.jobs import Cancellation
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import AccessDeniedError, BrokerUnavailableError
from tasuki.state.cancelling import PATIENCE, Cancelled, cancel, forget
from tasuki.state.shared import SharedState
from tests.unit.consumers.parts import Bench, Gate, clock_of_loop, make_bench, now

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def bench_of(run: Any = None, *, is_started: bool = True, **options: Any) -> AsyncIterator[Bench]:
    """A consumer of a queue with a state."""
    driver = MemoryDriver("app:driver", clock=clock_of_loop())
    state = SharedState(driver, "state", clock_of_loop())
    bench = await make_bench(run, driver=driver, state=state, **options)
    if is_started:
        await bench.consumer.start()
    yield bench
    await bench.consumer.stop(10.0)
    await state.close(driver)
    await driver.close()


def place_of(bench: Bench) -> Cancelled:
    state = bench.consumer.state
    assert state is not None
    return Cancelled(state, bench.queue.driver, bench.queue.spec.name, bench.queue.policy.cancels_strictly)


async def cancel_in(bench: Bench, *ids: str) -> Cancellation:
    cancellation, _ = await cancel(place_of(bench), ids)
    return cancellation


async def running(bench: Bench, count: int = 1) -> None:
    while bench.handler.running != count:
        await asyncio.sleep(0.01)


async def test_a_waiting_message_is_gone() -> None:
    async with bench_of(is_started=False) as bench:
        await bench.queue.publish(1, id="a")
        await bench.queue.publish(2, id="b", delay=60)
        assert await cancel_in(bench, "a", "b") == Cancellation(waiting=2)
        assert (await bench.queue.info())["message_count"] == 0


async def test_an_unknown_message_is_not_found_at_once_when_no_worker_has_any() -> None:
    async with bench_of() as bench:
        start = now()
        assert (await cancel_in(bench, "a")).outcome == "not found"
        assert now() - start < PATIENCE


async def test_a_message_that_is_published_after_its_cancellation_is_discarded() -> None:
    async with bench_of() as bench:
        await cancel_in(bench, "a")
        await bench.queue.publish(1, id="a")
        await bench.queue.publish(2, id="b")
        await bench.empty()
        assert bench.handler.seen == [(2, 1)]
        assert bench.consumer.metrics.cancelled == 1


@pytest.mark.parametrize("acks_first", [False, True])
async def test_a_worker_that_starts_later_knows_it(acks_first: bool) -> None:
    async with bench_of(options=ConsumerOptions(auto_ack=acks_first), is_started=False) as bench:
        await cancel_in(bench, "a")
        await bench.queue.publish(1, id="a")
        await bench.consumer.start()
        await bench.empty()
        assert bench.handler.seen == []


async def test_a_running_handler_is_interrupted_and_its_message_is_acked(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[bool] = []

    async def run(body: Any, context: Context) -> None:
        seen.append(context.cancelled)
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append(context.cancelled)

    caplog.set_level(logging.INFO)
    async with bench_of(run) as bench:
        await bench.queue.publish(1, id="a")
        await running(bench)
        assert (await cancel_in(bench, "a")).outcome == "running"
        await bench.empty()
        assert seen == [False, True]
        assert not await bench.dead_letters()
        metrics = bench.consumer.metrics
        assert (metrics.cancelled, metrics.acked, metrics.failed, metrics.nacked) == (1, 0, 0, 0)
    assert "handler app:handle: its message is cancelled: interrupted" in caplog.text
    assert [line for line in caplog.messages if line.startswith("cancelled app:tasks a, attempt 1,")]


@pytest.mark.parametrize(("error", "counted"), [(ValueError("boom"), (1, 0)), (Retry(after=1), (1, 0)), (None, (0, 1))])
async def test_a_handler_that_fails_after_its_cancellation_is_not_tried_again_and_one_that_ends_is_done(
    error: Exception | None, counted: tuple[int, int]
) -> None:
    async def run(body: Any, context: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if error is not None:
                raise error from None

    async with bench_of(run) as bench:
        await bench.queue.publish(1, id="a")
        await running(bench)
        await cancel_in(bench, "a")
        await bench.empty()
        assert len(bench.handler.seen) == 1
        assert not await bench.dead_letters()
        assert (bench.consumer.metrics.cancelled, bench.consumer.metrics.acked) == counted


async def test_a_message_that_waits_for_its_retry_is_gone() -> None:
    async def run(body: Any, context: Context) -> None:
        raise ValueError("boom")

    async with bench_of(run) as bench:
        await bench.queue.publish(1, id="a")
        await bench.settled()
        assert (await cancel_in(bench, "a")).outcome == "waiting"
        await bench.empty()
        assert bench.handler.seen == [(1, 1)]


async def test_a_stop_does_not_bring_a_cancelled_message_back() -> None:
    async def run(body: Any, context: Context) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if context.stopping:
                    raise

    async with bench_of(run) as bench:
        await bench.queue.publish(1, id="a")
        await running(bench)
        assert (await cancel_in(bench, "a")).outcome == "running"
        with pytest.raises(Exception, match="handlers that still ran"):
            await bench.consumer.stop(0.1)
        assert (await bench.queue.info())["message_count"] == 0


async def test_a_timeout_does_not_take_the_place_of_a_cancellation() -> None:
    async def run(body: Any, context: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            raise

    async with bench_of(run, options=ConsumerOptions(handler_timeout=1)) as bench:
        await bench.queue.publish(1, id="a")
        await running(bench)
        await cancel_in(bench, "a")
        await bench.empty()
        assert (bench.consumer.metrics.cancelled, bench.consumer.metrics.timed_out) == (1, 0)


async def test_one_message_of_a_batch_is_cancelled_and_the_others_are_tried_again() -> None:
    gate = Gate()

    async def run(bodies: Any, context: Context) -> None:
        if context.attempt == 1:
            await gate(bodies, context)
            raise ValueError("boom")

    options = ConsumerOptions(batch=Batching(2, 0.0))
    async with bench_of(run, options=options) as bench:
        ids = [result.id for result in await bench.queue.publish_many([1, 2])]
        await running(bench)
        assert (await cancel_in(bench, ids[0])).outcome == "running"
        assert bench.handler.running == 1  # the other message needs its handler
        gate.open.set()
        await bench.empty()
        assert bench.handler.seen == [([1, 2], 1), ([2], 2)]


async def test_a_batch_of_cancelled_messages_is_interrupted() -> None:
    async with bench_of(Gate(), options=ConsumerOptions(batch=Batching(2, 0.0))) as bench:
        await bench.queue.publish(1, id="a")
        await bench.queue.publish(2, id="b")
        await running(bench)
        assert await cancel_in(bench, "a", "b") == Cancellation(running=2)
        await bench.empty()
        assert bench.consumer.metrics.cancelled == 2


async def test_cancelled_messages_do_not_join_a_batch() -> None:
    async with bench_of(options=ConsumerOptions(batch=Batching(3, 0.0)), is_started=False) as bench:
        await cancel_in(bench, "a", "b")
        for id in ("a", "c", "b"):
            await bench.queue.publish(id, id=id)
        await bench.consumer.start()
        await bench.empty()
        assert bench.handler.seen == [(["c"], 1)]


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_prefetched_message_waits(is_shared: bool) -> None:
    gate = Gate()
    async with bench_of(gate, is_started=False) as bench:
        bench.consumer.share = Share(SharedWorkers(1)) if is_shared else None
        await bench.consumer.start()
        for id in ("a", "b", "c"):
            await bench.queue.publish(id, id=id)
        await running(bench)
        assert (await cancel_in(bench, "b")).outcome == "waiting"
        gate.open.set()
        await bench.empty()
        assert [body for body, _ in bench.handler.seen] == ["a", "c"]


async def test_a_queue_without_cancelled_messages_pays_nothing() -> None:
    async with bench_of() as bench:
        await bench.queue.publish(0)
        await bench.empty()
        plain = bench.run.executor.execute
        assert bench.run.pool._execute == plain
        await cancel_in(bench, "a")
        await asyncio.sleep(0.1)
        assert bench.run.pool._execute != plain
        await forget(place_of(bench), "a")
        await asyncio.sleep(0.1)
        assert bench.run.pool._execute == plain
        await bench.queue.publish(1, id="a")
        await bench.empty()
        assert bench.handler.seen == [(0, 1), (1, 1)]


async def test_many_messages_share_few_records() -> None:
    async with bench_of(is_started=False) as bench:
        results = await bench.queue.publish_many(list(range(5_000)))
        found = await cancel_in(bench, *(result.id for result in results))
        assert found == Cancellation(waiting=5_000)
        state = bench.consumer.state
        assert state is not None
        page = await (await state.store()).list("control/", limit=1000)
        assert len(page.entries) == 10


class Away:
    """A store that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def get(self, key: str) -> None:
        raise self.error


async def test_a_strict_queue_reads_the_record_before_each_start() -> None:
    async with bench_of(cancels_strictly=True) as bench:
        await bench.queue.publish(1, id="b")
        await bench.empty()
        assert bench.handler.seen == [(1, 1)]
        state = bench.consumer.state
        assert state is not None
        await state.close(bench.queue.driver)  # its watch reports nothing any more
        await cancel_in(bench, "a", "c")
        for id in ("a", "c", "d"):
            await bench.queue.publish(id, id=id)
        await bench.empty()
        assert bench.handler.seen == [(1, 1), ("d", 1)]


@pytest.mark.parametrize("error", [BrokerUnavailableError("gone"), AccessDeniedError("gone"), ValueError("gone")])
async def test_a_strict_queue_starts_nothing_that_it_cannot_check(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async with bench_of(cancels_strictly=True) as bench:
        await bench.queue.publish(1, id="a")
        await bench.empty()
        state = bench.consumer.state
        assert state is not None
        real = await state.store()
        monkeypatch.setattr(state, "_store", Away(error))
        await bench.queue.publish(2, id="b")
        await asyncio.sleep(3)
        assert bench.handler.seen == [(1, 1)]
        assert bench.consumer.now.unreadable == "gone"
        await asyncio.sleep(300)
        told = [each for each in caplog.records if each.levelname == "WARNING"]
        assert 5 <= len(told) <= 20, "the first, the fourth, each twentieth"
        monkeypatch.setattr(state, "_store", real)
        await bench.empty()
        assert bench.handler.seen == [(1, 1), (2, 1)]
        assert bench.consumer.now.unreadable == ""
    assert "cannot read whether a message is cancelled, so it is released: gone" in caplog.text
