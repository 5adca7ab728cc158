"""A consumer obeys the controls of its queue's state: it pauses, goes on, and changes its concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki.consumers.batch import Batching
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.window import prefetch_for
from tasuki.consumers.handling.shared import Share, SharedWorkers
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError
from tasuki.state import pauses
from tasuki.state.pauses import Pause, Scale, pause_key, scale_key
from tasuki.state.shared import CONTROL, SharedState
from tests.unit.consumers.parts import Bench, Gate, clock_of_loop, make_bench, now

pytestmark = pytest.mark.anyio

OBEYED = 2.0
"""Seconds within which every worker obeys."""


async def controlled(run: Any = None, **options: Any) -> tuple[Bench, SharedState]:
    driver = MemoryDriver("app:driver", clock=clock_of_loop())
    state = SharedState(driver, "state", clock_of_loop())
    return await make_bench(run, driver=driver, state=state, **options), state


async def order(state: SharedState, key: str, value: bytes | None, ttl: float | None = None) -> None:
    """As another process does: this one learns of it from its watch."""
    store = await state.store()
    if value is None:
        await store.delete(CONTROL + key)
    else:
        await store.put(CONTROL + key, value, ttl=ttl)


PAUSED = Pause(0.0, None, "kana", "429").encode()
QUEUE = pause_key("queue", "tasks")
CONSUMER = pause_key("consumer", "app:consumer")
SCALE = scale_key("app:consumer")


def scaled(concurrency: int) -> bytes:
    return Scale(concurrency, 0.0, "kana").encode()


async def until(condition: Callable[[], bool], most: float = 60.0) -> float:
    """Seconds of virtual time until the condition holds."""
    start = now()
    while not condition():
        assert now() - start < most
        await asyncio.sleep(0.01)
    return now() - start


@pytest.mark.parametrize("key", [QUEUE, CONSUMER])
async def test_a_paused_consumer_ends_what_runs_releases_the_rest_and_goes_on_after_a_resume(key: str) -> None:
    gate = Gate()
    bench, state = await controlled(gate, options=ConsumerOptions(concurrency=2, prefetch=10))
    await bench.queue.publish_many(list(range(20)))
    async with bench:
        await until(lambda: bench.handler.running == 2 and bench.consumer.now.held == 10)
        await order(state, key, PAUSED)
        assert await until(lambda: bench.consumer.now.pause is not None and bench.consumer.now.held == 2) < OBEYED
        assert (await bench.queue.depth()).ready == 18
        gate.open.set()
        await until(lambda: bench.consumer.now.held == 0)
        assert len(bench.handler.seen) == 2
        await asyncio.sleep(300)
        assert len(bench.handler.seen) == 2
        assert not bench.consumer.now.problem
        await order(state, key, None)
        assert await until(lambda: len(bench.handler.seen) == 20) < OBEYED
        await bench.empty()
    assert sorted(body for body, _ in bench.handler.seen) == list(range(20))
    assert {attempt for _, attempt in bench.handler.seen} == {1}, "a released message is not charged"


async def test_it_cancels_a_receive_that_waits() -> None:
    bench, state = await controlled()
    async with bench:
        await asyncio.sleep(5)  # the receive waits on an empty queue
        await order(state, QUEUE, PAUSED)
        await until(lambda: bench.consumer.now.pause is not None)
        await bench.queue.publish(1)
        await asyncio.sleep(100)
        assert bench.consumer.metrics.delivered == 0
        assert (await bench.queue.depth()).ready == 1


async def test_a_pause_with_an_end_ends_by_itself() -> None:
    bench, state = await controlled()
    async with bench:
        await order(state, QUEUE, PAUSED, ttl=30.0)
        await until(lambda: bench.consumer.now.pause is not None)
        await bench.queue.publish(1)
        start = now()
        await until(lambda: bool(bench.handler.seen))
        assert 29.0 < now() - start < 30.0 + OBEYED


async def test_one_that_starts_paused_handles_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasuki.consumer")
    bench, state = await controlled()
    await bench.queue.publish(1)
    await order(state, QUEUE, PAUSED)
    async with bench:
        await asyncio.sleep(100)
        assert not bench.handler.seen
        assert bench.consumer.metrics.delivered == 0
        assert "paused until it is resumed, by kana: 429" in [record.getMessage() for record in caplog.records]
        await order(state, QUEUE, None)
        await bench.empty()
        assert caplog.records[-1].getMessage() == "resumed"


async def test_without_its_store_it_receives_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, state = await controlled()
    await bench.queue.publish(1)
    follow = state.follow
    away = True

    async def maybe() -> Any:
        if away:
            raise BrokerUnavailableError("the store is unavailable")
        return await follow()

    monkeypatch.setattr(state, "follow", maybe)
    async with bench:
        await asyncio.sleep(20)
        assert bench.consumer.now.problem == "it cannot receive: the store is unavailable"
        assert bench.consumer.metrics.delivered == 0
        away = False
        await bench.empty()
        assert not bench.consumer.now.problem


async def test_until_the_controls_are_read_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, state = await controlled()
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(state, "follow", lambda: never)
    async with bench:
        await asyncio.sleep(1)
        assert bench.consumer.now.problem == "it has not read yet whether it is paused"


async def test_a_receive_that_its_cancellation_comes_too_late_for_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, state = await controlled()
    receive = bench.queue.driver.receive
    begun = asyncio.Event()

    async def deaf(queue: str, limit: int, wait: float) -> Any:
        try:
            begun.set()
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            pass
        return await receive(queue, limit, 0.0)

    monkeypatch.setattr(bench.queue.driver, "receive", deaf)
    await bench.queue.publish(1)
    async with bench:
        await begun.wait()
        await order(state, QUEUE, PAUSED)
        await until(lambda: bench.consumer.metrics.delivered == 1)
        await until(lambda: bench.consumer.now.held == 0)
        assert not bench.handler.seen
        await order(state, QUEUE, None)
        await until(lambda: bench.consumer.now.pause is None)


async def test_a_stop_while_it_is_paused() -> None:
    bench, state = await controlled()
    await order(state, QUEUE, PAUSED)
    async with bench:
        await until(lambda: bench.consumer.now.pause is not None)
    assert bench.consumer.run is None
    assert bench.consumer.now.pause is None


async def test_a_batch_that_gathers_is_released_too() -> None:
    batching = Batching(size=5, wait=60.0)
    bench, state = await controlled(options=ConsumerOptions(prefetch=10, batch=batching))
    await bench.queue.publish_many([1, 2, 3])
    async with bench:
        await until(lambda: bench.consumer.now.held == 3)
        await order(state, QUEUE, PAUSED)
        await until(lambda: bench.consumer.now.held == 0)
        assert (await bench.queue.depth()).ready == 3
        await order(state, QUEUE, None)
        await until(lambda: bool(bench.handler.seen), most=70)


async def test_with_shared_workers_only_the_paused_queue_stops() -> None:
    workers = SharedWorkers(1)
    gate = Gate()
    bench, state = await controlled(gate, share=Share(workers), options=ConsumerOptions(concurrency=1))
    await bench.queue.publish_many([1, 2, 3])
    async with bench:
        await until(lambda: bench.handler.running == 1 and bench.consumer.now.held == 3)
        await order(state, QUEUE, PAUSED)
        await until(lambda: bench.consumer.now.held == 1)
        gate.open.set()
        await until(lambda: workers.running == 0)
        assert len(bench.handler.seen) == 1
        await order(state, QUEUE, None)
        await until(lambda: len(bench.handler.seen) == 3)


@pytest.mark.parametrize("is_shared", [False, True])
async def test_scaling_up_and_down_while_messages_move(is_shared: bool) -> None:
    async def slow(body: Any, context: Context) -> None:
        await asyncio.sleep(1)

    share = Share(SharedWorkers(100)) if is_shared else None
    bench, state = await controlled(slow, share=share, options=ConsumerOptions(concurrency=2, prefetch=4))
    await bench.queue.publish_many(list(range(100)))
    async with bench:
        await until(lambda: bench.handler.running == 2 and bench.consumer.now.held == 4)
        await order(state, SCALE, scaled(8))
        assert await until(lambda: bench.handler.running == 8) < OBEYED
        assert bench.consumer.now.window == 16
        await order(state, SCALE, scaled(3))
        assert await until(lambda: bench.handler.running == 3 and bench.consumer.now.held <= 6) < OBEYED + 1
        bench.handler.most_running = 0
        await asyncio.sleep(10)
        assert bench.handler.most_running == 3
        assert len(bench.consumer.now.workers) == 3
        await order(state, SCALE, None)
        await until(lambda: bench.consumer.now.window == 4)
        await bench.empty()
    assert sorted(body for body, _ in bench.handler.seen) == list(range(100))


async def test_scaled_to_0_is_paused_and_a_number_holds_for_a_consumer_that_starts_later() -> None:
    gate = Gate()
    bench, state = await controlled(gate)
    await bench.queue.publish_many(list(range(9)))
    await order(state, SCALE, scaled(0))
    async with bench:
        await asyncio.sleep(60)
        assert bench.consumer.metrics.delivered == 0
        await order(state, SCALE, scaled(5))
        await until(lambda: bench.handler.running == 5)
        gate.open.set()
        await bench.empty()
    gate.open.clear()
    await bench.queue.publish_many(list(range(9)))
    async with bench:
        await until(lambda: bench.handler.running == 5)
        gate.open.set()
        await bench.empty()


async def test_a_scale_out_of_bounds_is_cut() -> None:
    bench, state = await controlled()
    await order(state, SCALE, scaled(10**9))
    async with bench:
        await until(lambda: bench.run.pool.concurrency == 1000)


async def test_the_handler_has_as_many_places_as_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, state = await controlled(options=ConsumerOptions(concurrency=2))
    changes: list[int] = []
    monkeypatch.setattr(bench.handler, "add_places", changes.append)
    async with bench:
        await order(state, SCALE, scaled(5))
        await until(lambda: bench.run.pool.concurrency == 5)
        await order(state, SCALE, scaled(1))
        await until(lambda: bench.run.pool.concurrency == 1)
    assert changes == [3, -4, 1]


async def test_the_one_who_pauses_obeys_before_the_next_message() -> None:
    async def pause(body: Any, context: Context) -> None:
        await pauses.pause(state, "queue", "tasks", due="1h", reason="429")

    bench, state = await controlled(pause)
    await bench.queue.publish_many(list(range(9)))
    async with bench:
        await until(lambda: bool(bench.handler.seen))
        await until(lambda: bench.consumer.now.held == 0)
        assert len(bench.handler.seen) == 1


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "own", "least", "expected"),
    [(4, 10, 1, 1, 40), (1, 10, 4, 1, 3), (2, 100, 100, 1, 2), (5, 1, 1, 1, 5), (1000, 1000, 1, 1, 10000),
     (1, 100, 4, 100, 100)],
)  # fmt: skip
def test_prefetch_follows(concurrency: int, prefetch: int, own: int, least: int, expected: int) -> None:
    assert prefetch_for(concurrency, prefetch, own, least) == expected
