"""Shared workers: one limit for several pools, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.pool import PoolWorker
from tasuki.consumers.handling.shared import Share, SharedPool, SharedWorkers
from tasuki.consumers.handling.suspects import SuspectGate, Suspects
from tasuki.contracts.handler import Context
from tasuki.observe.events import EventRing
from tasuki.testing.clock import FakeClock
from tests.unit.consumers.parts import Bench, Item, make_bench
from tests.unit.consumers.parts import Gate as OpenGate

pytestmark = pytest.mark.anyio


VARIABLE = ContextVar("VARIABLE", default="unset")


class Rig:
    """Pools by name that share workers; each handler waits until the test lets one end."""

    def __init__(self, concurrency: int) -> None:
        self.workers = SharedWorkers(concurrency)
        self.pools: dict[str, SharedPool] = {}
        self.started: list[str] = []
        self.running: list[asyncio.Future[None]] = []
        self.gate = SuspectGate()
        self.suspects: dict[str, Suspects] = {}

    def pool(self, name: str, concurrency: int = 10, *, rank: int = 0, weight: int = 1) -> SharedPool:
        suspects = self.suspects[name] = Suspects(self.gate, EventRing())
        share = Share(self.workers, rank, weight)
        made = SharedPool(
            share, name, concurrency, self.execute, lambda: None, suspects, monotonic=FakeClock().monotonic
        )
        self.pools[name] = made
        return made

    async def offer(self, pool: SharedPool, count: int, *, suspect: bool = False) -> None:
        items: list[Any] = [Item(pool._name, suspect=suspect) for _ in range(count)]
        pool.offer(items)
        await self.quiet()

    async def quiet(self) -> None:
        """Let the workers take what they may."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def execute(self, item: Any, worker: PoolWorker) -> None:
        self.started.append(item.name)
        done = asyncio.get_running_loop().create_future()
        self.running.append(done)
        await done

    async def end(self, count: int = 1) -> None:
        """End the oldest handlers, one after the other."""
        for _ in range(count):
            self.running.pop(0).set_result(None)
            await self.quiet()


@pytest.fixture(autouse=True)
async def ended() -> AsyncIterator[None]:
    """End the workers; each that ends may let a delivery start that waits."""
    yield
    while left := [task for task in asyncio.all_tasks() if " worker " in task.get_name()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left)


async def test_all_pools_together_run_as_many_as_the_limit() -> None:
    rig = Rig(3)
    await rig.offer(rig.pool("a"), 5)
    await rig.offer(rig.pool("b"), 5)
    assert rig.started == ["a", "a", "a"]
    for left in range(10, 0, -1):
        assert len(rig.running) == rig.workers.running == min(left, 3)
        await rig.end()
    assert rig.started.count("a") == rig.started.count("b") == 5
    assert rig.workers.running == 0


async def test_a_busy_queue_lets_another_start_next() -> None:
    rig = Rig(1)
    busy, calm = rig.pool("busy"), rig.pool("calm")
    await rig.offer(busy, 100)
    await rig.end(30)
    await rig.offer(calm, 1)
    await rig.end(2)
    assert rig.started[-2:] == ["calm", "busy"]


async def test_queues_take_turns() -> None:
    rig = Rig(1)
    for name in "abc":
        await rig.offer(rig.pool(name), 10)
    await rig.end(9)
    assert "".join(rig.started[1:10]) == "bcabcabca"


async def test_a_queue_that_was_idle_has_saved_up_no_turns() -> None:
    rig = Rig(1)
    a, b = rig.pool("a"), rig.pool("b")
    await rig.offer(a, 100)
    await rig.end(50)
    await rig.offer(b, 10)
    await rig.end(6)
    assert "".join(rig.started[-6:]) == "bababa"


async def test_turns_follow_the_weights() -> None:
    rig = Rig(2)
    await rig.offer(rig.pool("a", weight=4), 100)
    await rig.offer(rig.pool("b", weight=1), 100)
    await rig.end(40)
    assert rig.started[-30:].count("a") == 24


async def test_a_lower_rank_is_first_as_long_as_it_has_messages() -> None:
    rig = Rig(1)
    low, high = rig.pool("low", rank=1), rig.pool("high", rank=0)
    await rig.offer(low, 3)
    await rig.offer(high, 2)
    await rig.end(2)
    await rig.offer(high, 1)
    await rig.end(3)
    assert rig.started == ["low", "high", "high", "high", "low", "low"]


async def test_consumers_of_one_rank_go_on_taking_turns_after_a_higher_rank_has_started() -> None:
    rig = Rig(1)
    one, two, low = rig.pool("one", rank=0), rig.pool("two", rank=0), rig.pool("low", rank=1)
    await rig.offer(one, 50)
    await rig.offer(low, 1)
    await rig.end(50)
    assert rig.started[-1] == "low"
    await rig.offer(one, 5)
    await rig.offer(two, 5)
    await rig.end(6)
    assert (rig.started[-6:].count("one"), rig.started[-6:].count("two")) == (3, 3)


async def test_a_pool_uses_no_more_than_its_own_concurrency() -> None:
    rig = Rig(4)
    await rig.offer(rig.pool("a", concurrency=1), 5)
    await rig.offer(rig.pool("b"), 2)
    assert rig.started == ["a", "b", "b"]
    assert not rig.pools["a"].has_free_worker
    assert rig.pools["b"].has_free_worker
    await rig.end()
    assert rig.started == ["a", "b", "b", "a"]


async def test_without_a_shared_worker_none_is_free() -> None:
    rig = Rig(1)
    a, b = rig.pool("a"), rig.pool("b")
    assert a.has_free_worker
    await rig.offer(b, 1)
    assert not a.has_free_worker


async def test_a_handler_that_fails_gives_its_place_back() -> None:
    rig = Rig(1)
    a, b = rig.pool("a"), rig.pool("b")
    await rig.offer(a, 1)
    await rig.offer(b, 1)
    rig.running.pop(0).set_exception(RuntimeError("a defect"))
    await rig.quiet()
    assert rig.started == ["a", "b"]
    task = next(worker.task for worker in a.workers if worker.task is not None and worker.task.done())
    assert isinstance(task.exception(), RuntimeError)


async def test_what_has_not_started_is_taken_back_newest_first_and_its_places_are_free() -> None:
    rig = Rig(2)
    a, b = rig.pool("a"), rig.pool("b")
    items: list[Any] = [Item(str(number)) for number in range(4)]
    a.offer(items)  # two of them are ready, and no worker has taken one yet
    assert (a.unstarted, rig.workers.running) == (4, 2)
    assert a.take_back() == items[::-1]
    assert (a.unstarted, rig.workers.running) == (0, 0)
    await rig.offer(b, 2)
    assert rig.started == ["b", "b"]


async def test_a_parked_suspect_holds_no_place_and_its_only_worker_keeps_the_order() -> None:
    rig = Rig(2)
    a, b = rig.pool("a", concurrency=1), rig.pool("b")
    assert rig.gate.take()  # a suspect of another consumer is being handled
    await rig.offer(a, 1, suspect=True)
    await rig.offer(a, 1)
    assert (rig.workers.running, a.unstarted, a.has_free_worker) == (0, 2, False)
    await rig.offer(b, 2)
    assert rig.started == ["b", "b"]
    rig.gate.free()
    await rig.end()
    assert rig.started == ["b", "b", "a"]
    assert rig.suspects["a"].current is not None


async def test_a_worker_that_goes_on_wakes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(1)
    a = rig.pool("a")
    await rig.quiet()  # now all its workers are idle
    await rig.offer(a, 3)
    woken: list[int] = []
    monkeypatch.setattr(a, "_ramp_up", woken.append)
    await rig.end(2)
    assert (rig.started, woken) == (["a", "a", "a"], [])


async def test_they_are_tasks_only_while_they_are_needed() -> None:
    """Fifty pools that share fifty workers: at most this many at work, and this many more that wait."""
    rig, before = Rig(50), len(asyncio.all_tasks())
    pools = [rig.pool(str(number), concurrency=50) for number in range(50)]
    await rig.quiet()
    assert len(asyncio.all_tasks()) == before
    for pool in pools:
        await rig.offer(pool, 60)
        assert len(asyncio.all_tasks()) - before <= 100
        await rig.end(60)
    assert len(rig.started) == 50 * 60
    assert len(asyncio.all_tasks()) - before == rig.workers.made == 50, "above the limit, idle workers have ended"
    for pool in pools:
        assert await pool.drain(1)
    assert (len(asyncio.all_tasks()), rig.workers.made) == (before, 0)


async def test_a_pool_that_kept_no_worker_makes_another() -> None:
    rig = Rig(1)
    a, b = rig.pool("a"), rig.pool("b")
    for pool in (a, b, b, a):
        await rig.offer(pool, 1)
        await rig.end()
    assert rig.started == ["a", "b", "b", "a"]
    assert (len(a.workers), len(b.workers)) == (1, 0)


async def test_a_worker_inherits_no_variable_from_the_handler_that_made_room() -> None:
    seen: list[str] = []

    async def handle(body: Any, context: Context) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set(f"of {body}")

    one, two = await pair(SharedWorkers(1), handle, concurrency=1)
    await one.queue.publish("one")
    await two.queue.publish("two")
    async with one, two:
        await one.empty()
        await two.empty()
    assert seen == ["unset", "unset"]


async def test_a_worker_that_ends_unneeded_ends_no_consumer() -> None:
    one, two = await pair(SharedWorkers(1), concurrency=1)
    async with one, two:
        waits = [asyncio.create_task(bench.consumer.wait()) for bench in (one, two)]
        for bench in (one, two):
            await bench.queue.publish({})
            await bench.empty()
        assert not any(wait.done() for wait in waits)
    await asyncio.wait(waits)
    assert [wait.exception() for wait in waits] == [None, None]


async def pair(workers: SharedWorkers, run: Any = None, **options: Any) -> tuple[Bench, Bench]:
    """Two consumers that share workers."""
    made = []
    for _ in range(2):
        bench = await make_bench(run, options=ConsumerOptions(**options))
        bench.consumer.share = Share(workers)
        made.append(bench)
    return made[0], made[1]


async def test_a_stop_releases_what_waits_for_its_turn_and_the_other_consumer_goes_on() -> None:
    gate = OpenGate()
    workers = SharedWorkers(1)
    one, two = await pair(workers, gate, concurrency=1)
    async with two:
        await one.consumer.start()
        await two.queue.publish_many([{}] * 2)
        await two.settled(held=2)
        await one.queue.publish_many([{}] * 2)
        await one.settled(held=2)
        await one.consumer.stop(10)
        assert (one.consumer.metrics.released, (await one.queue.depth()).ready) == (2, 2)
        gate.open.set()
        await two.empty()
    assert workers.running == 0


async def test_time_spent_waiting_for_a_turn_does_not_count_as_the_handlers() -> None:
    async def handle(body: Any, context: Context) -> None:
        await asyncio.sleep(3)

    one, two = await pair(SharedWorkers(1), handle, concurrency=1, handler_timeout=4.0)
    async with one, two:
        for bench in (one, two):
            await bench.queue.publish_many([{}] * 3)
        for bench in (one, two):
            await bench.empty()
    assert one.consumer.metrics.timed_out == two.consumer.metrics.timed_out == 0


async def test_a_cancelled_handler_gives_its_place_back() -> None:
    gate = OpenGate()
    workers = SharedWorkers(1)
    one, two = await pair(workers, gate, concurrency=1, handler_timeout=1.0)
    async with two, one:
        await one.queue.publish({})
        await one.settled(held=1)
        await two.queue.publish({})
        await asyncio.sleep(1.5)
        assert two.consumer.now.running == 1
        gate.open.set()
        await two.empty()
    assert workers.running == 0
