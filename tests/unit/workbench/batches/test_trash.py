"""The trash: it is emptied on time, whatever the clocks say and whoever is there, and counts are of what was removed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from tasuki import App
from tasuki.clock import Clock
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.workbench.batches.rules.batch import KEPT
from tests.unit.workbench.batches.letters import bury, ids, many

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
        app.live_assembly().batching.clock = FastClock(app.clock)
        await bury(app, *many(30))
        await app.batches.wait((await app.batches.begin("delete", "dead", rate=0)).id)
        driver = app.live_queue("dead").driver
        await asyncio.sleep(890)
        assert (await driver.depth("dead.trash")).ready == 30
        await asyncio.sleep(20)
        assert (await driver.depth("dead.trash")).ready == 0


async def test_a_worker_that_comes_days_later_empties_it(app: App) -> None:
    async with app:
        live, driver = app.live_assembly(), app.live_queue("dead").driver
        await bury(app, *many(30))
        batch = await app.batches.wait((await app.batches.begin("delete", "dead", rate=0)).id)
        await live.batching.close(driver)
        await asyncio.sleep(3 * DAY)
        assert (await driver.depth("dead.trash")).ready == 30
        live.batching.take(live.states.of(driver), batch.id)
        await asyncio.sleep(1)
        assert (await driver.depth("dead.trash")).ready == 0
        assert (await app.batches.get(batch.id)).is_emptied
        await asyncio.sleep(2 * DAY)
        assert list(await app.batches.list()) == []


async def test_a_delete_without_trash_counts_what_it_has_removed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, calls = MemoryDriver.remove, []

    async def late(driver: MemoryDriver, queue: str, ids: Collection[str]) -> int:
        calls.append(len(ids))
        if len(calls) == 2:  # another one is faster
            await remove(driver, queue, list(ids)[:7])
        return await remove(driver, queue, ids)

    async with app:
        await bury(app, *many(KEPT + 50))
        monkeypatch.setattr(MemoryDriver, "remove", late)
        done = await app.batches.wait((await app.batches.begin("delete", "dead", rate=0)).id)
        assert (done.state, done.done, done.gone, done.left) == ("done", KEPT + 43, 7, 0)
        assert await ids(app, "dead") == []
