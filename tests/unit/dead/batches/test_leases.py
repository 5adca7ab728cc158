"""Leases and versions of batches: of two processes, one drives; what it wrote is not undone by another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tasuki import App
from tasuki.contracts.state.store import Store
from tasuki.dead import steps
from tasuki.dead.batches.batch_store import LEASE, PLACE, BatchStore, HaltedError, LeasedBatch
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@dataclass
class Slow:
    """A batch that runs at one letter a second, and its store."""

    id: str
    store: Store
    runner: str


async def slow_batch(app: App) -> Slow:
    await bury(app, *many(60))
    batch = await app.dead.batches.begin("retry", "dead", rate=1, canary=None)
    await asyncio.sleep(3)
    state = app._runtime.live().state_of("app:dead")
    assert state is not None
    running = await app.dead.batches.get(batch.id)
    assert running.state == "running"
    return Slow(batch.id, await state.store(), running.runner)


async def test_a_running_batch_keeps_its_lease_however_long_it_takes(app: App) -> None:
    async with app:
        batch = await slow_batch(app)
        for _ in range(40):
            assert await batch.store.hold(PLACE + batch.id, "another", places=1, lease=1.0) is None
            await asyncio.sleep(1)
        assert (await app.dead.batches.get(batch.id)).state == "running"


async def test_a_batch_whose_lease_another_process_has_moves_no_more_letters(app: App) -> None:
    """As after a stop of the process (SIGSTOP) that was longer than the lease."""
    async with app:
        batch = await slow_batch(app)
        await batch.store.release(PLACE + batch.id, batch.runner)
        assert await batch.store.hold(PLACE + batch.id, "another", places=1, lease=1000.0) is not None
        await asyncio.sleep(LEASE)
        moved = len(await ids(app, "jobs"))
        await asyncio.sleep(100)
        assert len(await ids(app, "jobs")) == moved < 60


async def _two(app: App) -> tuple[LeasedBatch, LeasedBatch]:
    """A batch whose first process was stopped for longer than its lease, so that a second one has taken over."""
    batch = await app.dead.batches.begin("retry", "dead", rate=0, canary=None, drive=False)
    state = app._runtime.live().state_of("app:dead")
    assert state is not None
    batches = BatchStore(await state.store())
    first, second = (LeasedBatch(batch, batches, name, app._runtime.clock) for name in ("first", "second"))
    assert await first.take()
    assert not await second.take()
    await asyncio.sleep(LEASE + 1)
    assert await second.take()
    return first, second


async def test_a_process_that_was_stopped_writes_nothing_over_its_successor(app: App) -> None:
    async with app:
        await bury(app, *many(3))
        first, second = await _two(app)
        await second.write(steps.about(second.batch, ["m0000"]))
        with pytest.raises(HaltedError):
            await first.write(steps.about(first.batch, ["m0001"]))
        stored, _ = await first.batches.found(first.batch.id)
        assert (stored.runner, list(stored.pending)) == ("second", ["m0000"])


async def test_a_process_that_was_stopped_sees_its_successor_while_it_waits(app: App) -> None:
    async with app:
        await bury(app, *many(3))
        first, _ = await _two(app)
        with pytest.raises(HaltedError):
            await first.look()


async def test_an_undo_leaves_letters_that_a_later_batch_has_moved(app: App) -> None:
    async with app:
        await bury(app, "a", "b")
        first = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        assert await ids(app, "jobs") == ["a", "b"]
        await app._runtime.queue("jobs").remove(["a"])  # its handler ran, and failed again
        await bury(app, "a")
        second = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0, canary=None)).id)
        assert (first.done, second.done) == (2, 1)
        undone = await app.dead.batches.wait((await app.dead.batches.undo(first.id)).id)
        assert (undone.state, undone.undone) == ("undone", 1)
        assert (await ids(app, "jobs"), await ids(app, "dead")) == (["a"], ["b"])


async def test_a_word_to_all_processes_that_was_said_again_is_not_taken_back(app: App) -> None:
    async with app:
        state = app._runtime.live().state_of("app:dead")
        assert state is not None
        batches = BatchStore(await state.store())
        await batches.tell("x")
        version = await batches.told("x")
        assert version is not None
        await batches.tell("x")
        await batches.hush("x", version)
        assert await batches.told("x") is not None
