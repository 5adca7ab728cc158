"""Batches while others take the same letters, and records that another version has written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing, Transfer
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BatchNotFoundError, BatchStateError, DriverError
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_letters_that_another_process_takes_all_at_once_have_gone(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer, calls = MemoryDriver.transfer, []

    async def late(driver: MemoryDriver, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        calls.append(len(batch))
        if len(calls) == 2:  # another one is faster
            await driver.remove(queue, [each.id for each in batch])
        return await transfer(driver, queue, batch)

    async with app:
        await bury(app, *many(350))
        monkeypatch.setattr(MemoryDriver, "transfer", late)
        done = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        assert (done.state, done.problem) == ("done", "")
        assert (done.done, done.gone, done.unsure, done.left) == (350 - calls[1], calls[1], 0, 0)
        assert len(await ids(app, "jobs")) == done.done


async def test_an_undo_that_waits_says_for_what(app: App) -> None:
    app.queue("full", max_length=3)
    async with app:
        await bury(app, *many(3), queue="app:jobs")
        moved = await app.dead.batches.wait((await app.dead.batches.begin("move", "dead", to="full", rate=0)).id)
        back = await app.dead.batches.wait((await app.dead.batches.begin("move", "full", to="dead", rate=0)).id)
        await bury_in_full(app)
        assert (moved.done, back.done) == (3, 3)
        await app.dead.batches.undo(back.id)
        await asyncio.sleep(10)
        waits = await app.dead.batches.get(back.id)
        assert waits.state == "undoing"
        assert "max_length" in waits.problem
        await app._runtime.queue("full").purge()
        undone = await app.dead.batches.wait(back.id)
        assert (undone.state, undone.undone, undone.problem) == ("undone", 3, "")


async def bury_in_full(app: App) -> None:
    """The queue is full again."""
    assert not any(await app._runtime.queue("full").forward([Outgoing(f"x{n}", b"1", {}) for n in range(3)]))


async def test_letters_that_all_start_while_they_are_brought_back(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = MemoryDriver.transfer

    async def late(driver: MemoryDriver, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        if queue == "jobs":  # a consumer is faster
            await driver.purge(queue)
        return await transfer(driver, queue, batch)

    async with app:
        await bury(app, *many(30))
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        monkeypatch.setattr(MemoryDriver, "transfer", late)
        undone = await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        assert (undone.state, undone.undone, undone.started, undone.problem) == ("undone", 0, 30, "")


async def _changed(app: App, **changes: Any) -> str:
    """A batch whose record another process has written so."""
    batch = await app.dead.batches.begin("retry", "dead", rate=0, canary=None, drive=False)
    state = app._runtime.live().state_of("app:dead")
    assert state is not None
    store = await state.store()
    entry = await store.get(f"batches/{batch.id}")
    assert entry is not None
    await store.put(f"batches/{batch.id}", msgspec.json.encode(msgspec.json.decode(entry.value) | changes))
    return batch.id


async def test_a_group_that_this_version_does_not_know_fails_it(app: App) -> None:
    async with app:
        await bury(app, "a")
        batch = await app.dead.batches.wait(
            (await app.dead.batches.resume(await _changed(app, group=["moon", "full"]))).id
        )
        assert batch.state == "failed"
        assert "not by 'moon'" in batch.problem


async def test_a_record_with_the_id_of_another_is_none(app: App) -> None:
    async with app:
        await bury(app, "a")
        with pytest.raises(BatchNotFoundError):
            await app.dead.batches.resume(await _changed(app, id="../x"))


async def test_an_order_for_a_queue_of_another_project_is_refused_where_it_cannot_be_carried_out(app: App) -> None:
    async with app:
        await bury(app, "a")
        id = await _changed(app, name="elsewhere")
        with pytest.raises(BatchStateError, match=r"app:dead.*elsewhere.*not one of this project"):
            await app.dead.batches.resume(id)
        assert (await app.dead.batches.resume(id, drive=False)).state == "running"
        assert (await app.dead.batches.cancel(id)).state == "cancelled"


async def test_an_undo_whose_process_has_died_goes_on_with_an_undo(app: App) -> None:
    async with app:
        await bury(app, *many(5))
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        await app.dead.batches.undo(batch.id, drive=False)
        await asyncio.sleep(60)
        assert (await app.dead.batches.get(batch.id)).state == "undoing"
        undone = await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        assert (undone.state, undone.undone) == ("undone", 5)
