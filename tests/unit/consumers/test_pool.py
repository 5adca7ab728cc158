from __future__ import annotations

import asyncio
import itertools
from collections import deque
from contextvars import ContextVar
from typing import Any

import pytest

from tasuki.consumers.handling.pool import PoolWorker, WorkerPool
from tasuki.testing.clock import FakeClock
from tests.unit.consumers.parts import Item

pytestmark = pytest.mark.anyio


VARIABLE = ContextVar("VARIABLE", default="unset")


class Rig:
    def __init__(self, concurrency: int) -> None:
        self.done: list[str] = []
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.waits = True
        self.variables: list[str] = []
        self.error: BaseException | None = None
        self.emptied = 0
        self.clock = FakeClock()
        self.computes = 0.0
        """Seconds for which the handler holds the loop."""
        self.pool = WorkerPool("pool", concurrency, self.execute, self.on_empty, monotonic=self.clock.monotonic)

    def on_empty(self) -> None:
        self.emptied += 1

    async def execute(self, item: Any, worker: PoolWorker) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.error is not None:
                raise self.error
            if self.waits:
                await self.gate.wait()
            self.clock.advance(self.computes)
            worker.ended = self.clock.monotonic()
            self.done.append(item.name)
            self.variables.append(VARIABLE.get())
        finally:
            self.running -= 1

    def offer(self, *names: str) -> list[Any]:
        items: list[Any] = [Item(name) for name in names]
        self.pool.offer(items)
        return items


async def turns(count: int = 12) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_as_many_run_as_there_are_workers_and_no_more() -> None:
    rig = Rig(3)
    rig.offer(*"abcde")
    await turns()
    assert (rig.running, rig.pool.running, len(rig.pool.buffer)) == (3, 3, 2)
    rig.gate.set()
    await turns()
    assert rig.most == 3
    assert sorted(rig.done) == list("abcde")
    assert rig.pool.running == 0
    assert await rig.pool.drain(1)


async def test_workers_are_made_when_they_are_needed() -> None:
    tasks = len(asyncio.all_tasks())
    rig = Rig(1000)
    await turns()
    assert len(asyncio.all_tasks()) == tasks, "an idle pool has no task"
    rig.offer("a", "b", "c")
    await turns()
    assert len(asyncio.all_tasks()) == tasks + 3
    rig.gate.set()
    await turns()
    for name in "defg":
        rig.offer(name)
        await turns()
    assert len(asyncio.all_tasks()) == tasks + 3, "idle workers come before new ones"
    assert sorted(rig.done) == list("abcdefg")
    assert await rig.pool.drain(1)
    assert len(asyncio.all_tasks()) == tasks


async def test_a_worker_inherits_no_variable_from_the_handler_whose_message_needs_it() -> None:
    rig = Rig(2)
    rig.waits = False
    token = VARIABLE.set("of a handler")
    rig.offer("a")
    VARIABLE.reset(token)
    await turns()
    assert rig.variables == ["unset"]
    assert await rig.pool.drain(1)


async def test_slow_handlers_get_all_workers_in_a_few_turns() -> None:
    rig = Rig(1000)
    await turns(2)
    rig.offer(*map(str, range(1000)))
    await turns(14)
    assert rig.running == 1000
    rig.gate.set()
    assert await rig.pool.drain(1)


async def test_a_second_offer_while_workers_are_still_woken() -> None:
    rig = Rig(8)
    await turns(2)
    rig.offer("a", "b")
    rig.offer("c", "d", "e")
    await turns()
    assert rig.running == 5
    rig.gate.set()
    await rig.pool.drain(1)


@pytest.mark.parametrize("concurrency", [1, 3, 100])
@pytest.mark.parametrize(("computes", "most"), [(0.05, 1), (0.004, 2), (0.0001, 51)])
async def test_handlers_that_compute_let_the_loop_go_round(concurrency: int, computes: float, most: int) -> None:
    """After 5 ms, or the end of a handler that computes for longer, whatever number of workers there is."""
    rig = Rig(concurrency)
    rig.waits, rig.computes = False, computes
    await turns(2)
    rig.offer(*map(str, range(1000)))
    handled, iterations = [0], 0
    while len(rig.done) < 1000:
        await asyncio.sleep(0)
        handled.append(len(rig.done))
        iterations += 1
    assert max(after - before for before, after in itertools.pairwise(handled)) == most
    assert iterations < 3 * 1000 / most + 20, "the loop does not go round for nothing"
    assert rig.done == [str(number) for number in range(1000)]
    assert await rig.pool.drain(1)


async def test_workers_that_rest_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """With handlers that compute, one worker is woken after a rest, however many are idle."""
    rig = Rig(100)
    rig.waits, rig.computes = False, 0.05
    await turns(2)
    woken: list[int] = []
    monkeypatch.setattr(rig.pool, "_idle", Woken(rig.pool._idle, woken))
    rig.offer(*map(str, range(100)))
    while len(rig.done) < 100:
        await asyncio.sleep(0)
    assert len(woken) <= 110
    assert len(rig.pool.workers) == 1, "no worker is made for handlers that never wait"
    assert await rig.pool.drain(1)


class Woken(deque[Any]):
    def __init__(self, idle: deque[Any], woken: list[int]) -> None:
        super().__init__(idle)
        self._woken = woken

    def popleft(self) -> Any:
        self._woken.append(1)
        return super().popleft()


async def test_tells_when_the_last_of_the_buffer_is_taken() -> None:
    rig = Rig(2)
    rig.offer("a", "b", "c")
    await turns()
    assert rig.emptied == 0
    rig.gate.set()
    await turns()
    assert rig.emptied == 1
    await rig.pool.drain(1)


async def test_takes_back_what_has_not_started_newest_first() -> None:
    rig = Rig(1)
    rig.offer(*"abcd")
    await turns()
    assert [item.name for item in rig.pool.take_back()] == ["d", "c", "b"]  # type: ignore[attr-defined]
    assert rig.pool.take_back() == []
    rig.gate.set()
    assert await rig.pool.drain(1)
    assert rig.done == ["a"]


async def test_drain_waits_for_what_runs_and_starts_nothing_new() -> None:
    rig = Rig(2)
    rig.offer(*"abc")
    await turns()
    drained = asyncio.create_task(rig.pool.drain(5))
    await turns()
    assert not drained.done()
    rig.gate.set()
    assert await drained
    assert sorted(rig.done) == ["a", "b"]
    assert len(rig.pool.buffer) == 1


async def test_drain_is_over_in_time_whatever_runs() -> None:
    rig = Rig(2)
    rig.offer("a")
    await turns()
    assert not await rig.pool.drain(5)
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    (delivery,) = rig.pool.interrupt()
    assert delivery.name == "a"  # type: ignore[attr-defined]
    assert await rig.pool.drain(1)


async def test_an_idle_or_new_pool_drains_at_once() -> None:
    rig = Rig(3)
    assert await rig.pool.drain(5)
    assert await WorkerPool("never started", 2, rig.execute, rig.on_empty, monotonic=rig.clock.monotonic).drain(5)
    assert asyncio.get_running_loop().time() == 0


async def test_a_defect_hands_the_message_back_and_ends_the_worker() -> None:
    rig = Rig(1)
    rig.error = ValueError("defect")
    (item,) = rig.offer("a")
    await turns()
    task = rig.pool.workers[0].task
    assert task is not None
    assert isinstance(task.exception(), ValueError)
    assert [verdict.action for verdict in item.verdicts] == ["release"]
    assert rig.pool.running == 0


async def test_a_worker_that_was_cancelled_while_idle_is_passed_over() -> None:
    rig = Rig(2)
    rig.gate.set()
    rig.offer("a")
    await turns()
    first = rig.pool.workers[0].task
    assert first is not None
    first.cancel()
    rig.offer("b")
    await turns()
    assert rig.done == ["a", "b"]
    assert await rig.pool.drain(1)


async def test_interrupt_says_why_and_only_once_for_each_cause() -> None:
    worker = PoolWorker()
    worker.interrupt("stop")
    assert worker.cause is None
    worker.delivery = Item()  # type: ignore[assignment]
    worker.interrupt("stop")
    assert worker.cause is None

    hanging = asyncio.create_task(asyncio.sleep(9))
    worker.task = hanging

    def state() -> tuple[str | None, int]:
        return worker.cause, hanging.cancelling()

    worker.interrupt("timeout")
    worker.interrupt("timeout")
    assert state() == ("timeout", 1)
    worker.interrupt("stop")
    worker.interrupt("timeout")
    worker.interrupt("stop")
    assert state() == ("stop", 2)
    await asyncio.wait([hanging])
