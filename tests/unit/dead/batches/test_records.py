"""What a batch keeps in the store beside its record: it is gone when nothing needs it any more."""

from __future__ import annotations

import asyncio

import pytest

from tasuki import App
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
DAY = 86_400.0


async def kept(app: App) -> list[str]:
    """The first parts of the keys of all batches in the store, but for their records."""
    state = app._runtime.live().state_of("app:dead")
    assert state is not None
    store = await state.store()
    found = (await store.list("batch-", limit=1000)).entries
    return sorted({entry.key.partition("/")[0] for entry in found})


async def test_chosen_ids_and_notes_are_forgotten_when_nothing_needs_them(app: App) -> None:
    async with app:
        await bury(app, *many(250))
        batch = await app.dead.batches.begin("retry", "dead", ids=many(230), rate=0, canary=None)
        assert await kept(app) == ["batch-ids"]
        await app.dead.batches.wait(batch.id)
        await asyncio.sleep(1)
        assert await kept(app) == ["batch-notes"]
        undone = await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        await asyncio.sleep(1)
        assert (undone.undone, await kept(app)) == (230, [])
        await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", rate=0)).id)
        assert await kept(app) == ["batch-notes"]
        await asyncio.sleep(1000)
        assert await kept(app) == []


async def test_an_undo_says_which_letters_it_can_bring_back_no_more(app: App) -> None:
    """Notes are kept for two days; a batch that is paused for longer is not."""
    async with app:
        await bury(app, *many(250))
        batch = await app.dead.batches.begin("retry", "dead", canary=None)
        await asyncio.sleep(0.5)
        await app.dead.batches.pause(batch.id)
        await asyncio.sleep(3 * DAY)
        await app.dead.batches.resume(batch.id)
        await asyncio.sleep(1.5)
        await app.dead.batches.pause(batch.id)
        await asyncio.sleep(2)
        moved = len(await ids(app, "jobs"))
        assert moved > 100
        undone = await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        left = len(await ids(app, "jobs"))
        assert (undone.state, undone.undone, undone.started) == ("undone", moved - left, left)
        assert left == 100
        assert "100 of its letters were moved more than two days ago" in undone.problem
