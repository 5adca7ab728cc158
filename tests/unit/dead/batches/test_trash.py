"""The trash is emptied on time, whatever clocks say and whichever process is there; until then letters come back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from tasuki import App
from tasuki.clock import Clock
from tasuki.dead import steps
from tasuki.dead.batch import KEPT, Batch
from tasuki.dead.batches.batch_store import BatchStore, Step
from tasuki.drivers.memory.driver import MemoryDriver
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
DAY = 86_400.0


class FastClock:
    """Of a machine whose wall clock is an hour ahead of the store's."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic, self.boottime, self._time = clock.monotonic, clock.boottime, clock.time

    def time(self) -> float:
        return self._time() + 3600.0


async def test_a_clock_that_is_ahead_keeps_no_letter_longer(app: App) -> None:
    async with app:
        app._runtime.live().batching.clock = FastClock(app._runtime.clock)
        await bury(app, *many(30))
        await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", rate=0)).id)
        driver = app._runtime.queue("dead").driver
        await asyncio.sleep(890)
        assert (await driver.depth("dead.trash")).ready == 30
        await asyncio.sleep(20)
        assert (await driver.depth("dead.trash")).ready == 0


async def test_a_worker_that_comes_days_later_empties_it(app: App) -> None:
    async with app:
        live, driver = app._runtime.live(), app._runtime.queue("dead").driver
        await bury(app, *many(30))
        batch = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", rate=0)).id)
        await live.batching.close(driver)
        await asyncio.sleep(3 * DAY)
        assert (await driver.depth("dead.trash")).ready == 30
        live.batching.take(live.states.of(driver), batch.id)
        await asyncio.sleep(1)
        assert (await driver.depth("dead.trash")).ready == 0
        assert (await app.dead.batches.get(batch.id)).is_emptied
        await asyncio.sleep(2 * DAY)
        assert list(await app.dead.batches.list()) == []


async def test_a_delete_without_trash_counts_what_it_has_removed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, calls = MemoryDriver.remove, []

    async def late(driver: MemoryDriver, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        calls.append(len(ids))
        if len(calls) == 2:  # another one is faster
            await remove(driver, queue, list(ids)[:7])
        return await remove(driver, queue, ids, places)

    async with app:
        await bury(app, *many(KEPT + 50))
        monkeypatch.setattr(MemoryDriver, "remove", late)
        done = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", rate=0)).id)
        assert (done.state, done.done, done.gone, done.left) == ("done", KEPT + 43, 7, 0)
        assert await ids(app, "dead") == []


async def test_letters_of_a_slow_delete_stay_when_another_one_is_emptied(app: App) -> None:
    """They can be brought back for 15 minutes after the end of their own batch."""
    async with app:
        await bury(app, *many(1210))
        slow = await app.dead.batches.begin("delete", "dead", rate=1, limit=1200)
        await asyncio.sleep(600)
        quick = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", ids=many(1210)[1200:])).id)
        await asyncio.sleep(1000)
        assert (await app.dead.batches.get(quick.id)).is_emptied
        assert (await app.dead.batches.get(slow.id)).state == "done"
        undone = await app.dead.batches.wait((await app.dead.batches.undo(slow.id)).id)
        assert (undone.undone, undone.started) == (1200, 0)
        assert (await app._runtime.queue("dead").driver.depth("dead.trash")).ready == 0


async def test_an_undo_that_was_faster_than_the_trash_loses_no_letter(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = BatchStore.change

    async def late(batches: BatchStore, id: str, step: Step) -> Batch:
        if step is steps.closed:  # the process that empties the trash has read the batch, and a person is faster
            monkeypatch.undo()
            await app.dead.batches.undo(id)
        return await change(batches, id, step)

    async with app:
        await bury(app, *many(150))
        batch = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", rate=0)).id)
        monkeypatch.setattr(BatchStore, "change", late)
        await asyncio.sleep(1000)
        undone = await app.dead.batches.get(batch.id)
        assert (undone.state, undone.undone, undone.started) == ("undone", 150, 0)


async def test_letters_whose_batch_is_forgotten_go_with_those_of_another(app: App) -> None:
    async with app:
        driver = app._runtime.queue("dead").driver
        await bury(app, *many(40))
        batch = await app.dead.batches.begin("delete", "dead", limit=30, rate=10)
        await asyncio.sleep(1.5)
        await app.dead.batches.pause(batch.id)
        await asyncio.sleep(8 * DAY)
        assert list(await app.dead.batches.list()) == []
        assert (await driver.depth("dead.trash")).ready > 0
        await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", limit=1)).id)
        await asyncio.sleep(1000)
        assert (await driver.depth("dead.trash")).ready == 0


async def test_delayed_messages_of_a_queue_come_back_delayed(app: App) -> None:
    """The queue of a batch need not be one of dead letters."""
    async with app:
        jobs = app._runtime.queue("jobs")
        await jobs.publish({"n": 1}, id="late", delay=3600)
        await jobs.publish({"n": 2}, id="now")
        batch = await app.dead.batches.wait((await app.dead.batches.begin("delete", "jobs", rate=0)).id)
        assert batch.done == 2
        await asyncio.sleep(600)
        await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        depth = await jobs.depth()
        assert (depth.ready, depth.delayed) == (1, 1)
        await asyncio.sleep(2900)
        assert (await jobs.depth()).ready == 1
        await asyncio.sleep(200)
        assert (await jobs.depth()).ready == 2
