"""Which workers live by the clock of their store, also where that clock was set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.state.workers import crew_of, workers_of
from tasuki.clock import SystemClock
from tasuki.consumers.reports.snapshot import Describer
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.state.shared import SharedState
from tasuki.state.worker_record import KEPT, TTL, Presence, encode
from tasuki.testing.conformance import ShiftedClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ShiftedClock:
    """Of the store."""
    return ShiftedClock()


@pytest.fixture
async def state(clock: ShiftedClock) -> AsyncIterator[SharedState]:
    driver = MemoryDriver("app:db", clock=clock)
    await driver.open()
    state = SharedState(driver, "state", SystemClock())
    yield state
    await state.close(driver)
    await driver.close()


async def sign(state: SharedState, pid: int, ago: float = 0.0) -> None:
    """A worker writes its entry, this many seconds ago."""
    store = await state.store()
    worker = Presence("here", pid, "1", 5.0, await store.time() - ago)
    await store.put(worker.key, encode(worker), ttl=KEPT - ago)


async def test_a_worker_without_a_sign_is_killed_and_no_worker_any_more(state: SharedState) -> None:
    for pid, ago in ((1, 0.0), (2, TTL - 2), (3, TTL + 2), (4, KEPT - 10)):
        await sign(state, pid, ago)
    crew = await crew_of(state)
    assert [worker.pid for worker in crew.alive] == [worker.pid for worker in await workers_of([state])] == [1, 2]
    assert [worker.pid for worker in crew.lost] == [3, 4]


@pytest.mark.parametrize("step", [60.0, -60.0])
async def test_a_store_whose_clock_was_set_kills_no_worker(
    state: SharedState, clock: ShiftedClock, step: float
) -> None:
    await sign(state, 1)
    assert [worker.pid for worker in (await crew_of(state)).alive] == [1]
    clock.advance(step)
    await sign(state, 1)
    crew = await crew_of(state)
    assert ([worker.pid for worker in crew.alive], crew.lost) == ([1], [])


async def test_shared_workers_are_as_many_places_as_handlers_may_run(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    queues = [app.queue(name) for name in ("mails", "reports", "imports")]
    for queue in queues[:2]:
        queue.consumer(name=f"of_{queue.id.partition(':')[2]}")(nothing)
    queues[2].consumer(name="own", concurrency=3)(nothing)
    app.workers.pool("pool", queues[:2], concurrency=4)
    async with app.worker():
        sign = Describer("1", app._runtime.clock)(list(app._runtime.live().consumers.values()), 0.0)
        assert [each.concurrency for each in sign.consumers] == [4, 4, 3]
        assert sign.concurrency == 7
        desk = app.desk(is_open=True)
        assert (await desk.tools.sampler.latest(now=True)).totals.places == 7


async def nothing(body: Any) -> None: ...
