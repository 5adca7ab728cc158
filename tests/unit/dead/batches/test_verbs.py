"""app.dead.batches: acts on many dead letters, their pauses, their ends and their undo."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tasuki import App
from tasuki.dead.batch import KEPT
from tasuki.errors import BatchNotFoundError, BatchStateError, QueueNotFoundError
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_a_retry_sends_letters_back_as_they_were_published(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tasuki.batches")
    async with app:
        await bury(app, *many(250))
        await bury(app, "o", queue="app:other")
        await bury(app, "x", queue="app:gone")
        begun = await app.dead.batches.begin("retry", "dead", rate=0)
        assert (begun.total, begun.state, begun.kept) == (252, "running", True)
        done = await app.dead.batches.wait(begun.id)
        assert (done.state, done.done, done.stayed, done.left) == ("done", 251, 1, 0)
        assert await ids(app, "dead") == ["x"]
        assert await ids(app, "jobs") == many(250)
        [other] = await app._runtime.queue("other").peek()
        assert set(other.headers) == {"tenant", "content_type", "x_batch", "x_due", "x_redriven"}
        assert other.headers["x_batch"] == begun.id
        assert (await app.dead.batches.list())[0] == await app.dead.batches.get(begun.id)
    assert f"batch {begun.id}: retry of app:dead begun, by {begun.actor}" in caplog.text
    assert f"batch {begun.id} of app:dead is done: 251 moved, 0 failed again" in caplog.text


async def test_the_rate_is_kept(app: App) -> None:
    async with app:
        await bury(app, *many(300))
        began = app._runtime.clock.monotonic()
        done = await app.dead.batches.wait((await app.dead.batches.begin("move", "dead", to="other")).id)
        assert done.done == 300
        assert 2.0 <= app._runtime.clock.monotonic() - began <= 4.0
        slow = await app.dead.batches.begin("move", "other", to="dead", rate=0.5, ids=["m0001", "m0002", "m0003"])
        began = app._runtime.clock.monotonic()
        assert (await app.dead.batches.wait(slow.id)).done == 3
        assert 4.0 <= app._runtime.clock.monotonic() - began <= 7.0


@pytest.mark.parametrize(
    ("which", "moved"),
    [
        ({"where": "error contains 'b'"}, ["b1", "b2"]),
        ({"ids": ["a1", "b2", "nowhere"]}, ["a1", "b2"]),
        ({"group": ("type", "KeyError")}, ["a1", "a2"]),
        ({"group": ("type", "KeyError"), "where": "id == 'a2'"}, ["a2"]),
        ({"limit": 3}, ["a1", "a2", "b1"]),
        ({"where": "body.n == 1"}, ["a1"]),
    ],
)
async def test_some_letters(app: App, which: dict[str, Any], moved: list[str]) -> None:
    async with app:
        await bury(app, "a1", body='{"n": 1}')
        await bury(app, "a2", body='{"n": "x"}')
        await bury(app, "b1", "b2", error="ValueError: b", body="7")
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", **which)).id)
        assert await ids(app, "jobs") == moved
        assert (batch.done, batch.state) == (len(moved), "done")
        if "body" in which.get("where", ""):
            assert batch.unclear == 2
        if "ids" not in which and "limit" not in which:
            assert batch.total == len(moved)


async def test_a_move_keeps_why_they_died(app: App) -> None:
    async with app:
        await bury(app, "a")
        [before] = await app._runtime.queue("dead").peek()
        batch = await app.dead.batches.wait((await app.dead.batches.begin("move", "dead", to="other")).id)
        [after] = await app._runtime.queue("other").peek()
        assert after.headers == before.headers | {"x_batch": batch.id}
        await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        [back] = await app._runtime.queue("dead").peek()
        assert (back.id, back.body, back.headers) == (before.id, before.body, before.headers)


async def test_an_undo_of_a_retry_takes_back_what_still_waits(app: App) -> None:
    async with app:
        await bury(app, *many(120))
        before = await app._runtime.queue("dead").peek(1000)
        batch = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead", rate=0)).id)
        jobs = app._runtime.queue("jobs")
        started = await jobs.driver.receive("jobs", 20, 0.0)
        await jobs.publish({"n": 1}, id="fresh")
        undone = await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
        assert (undone.state, undone.undone, undone.started, undone.done) == ("undone", 100, 20, 120)
        after = await app._runtime.queue("dead").peek(1000)
        assert [(each.id, each.headers) for each in after] == [(each.id, each.headers) for each in before[20:]]
        assert await ids(app, "jobs") == ["fresh"]
        assert len(started) == 20
        with pytest.raises(BatchStateError, match="it is brought back, or was"):
            await app.dead.batches.undo(batch.id)


async def test_deleted_letters_are_in_the_trash_for_15_minutes(app: App) -> None:
    async with app:
        await bury(app, *many(30))
        first = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", ids=many(10))).id)
        await asyncio.sleep(600)
        second = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", limit=15)).id)
        driver = app._runtime.queue("dead").driver
        assert (await driver.depth("dead.trash")).ready == 25
        assert "dead.trash" not in app._runtime.live().queues
        await asyncio.sleep(400)
        assert (await driver.depth("dead.trash")).ready == 15, "the first are gone"
        with pytest.raises(BatchStateError, match="the time of its letters in the trash is over"):
            await app.dead.batches.undo(first.id)
        await app.dead.batches.wait((await app.dead.batches.undo(second.id)).id)
        assert len(await ids(app, "dead")) == 20
        await asyncio.sleep(2000)
        assert (await driver.depth("dead.trash")).ready == 0


async def test_more_than_ten_thousand_cannot_be_undone(app: App) -> None:
    async with app:
        await bury(app, *many(KEPT + 1))
        batch = await app.dead.batches.begin("delete", "dead", rate=0)
        assert not batch.kept
        done = await app.dead.batches.wait(batch.id)
        assert (done.done, done.can_undo) == (KEPT + 1, False)
        with pytest.raises(BatchStateError, match="more than 10,000"):
            await app.dead.batches.undo(batch.id)
        with pytest.raises(QueueNotFoundError):
            await app._runtime.queue("dead").driver.depth("dead.trash")


async def test_pause_resume_and_cancel(app: App) -> None:
    async with app:
        await bury(app, *many(300))
        batch = await app.dead.batches.begin("retry", "dead", canary=None)
        await asyncio.sleep(0.5)
        paused = await app.dead.batches.pause(batch.id)
        assert paused.state == "paused"
        await asyncio.sleep(60)
        there = len(await ids(app, "jobs"))
        assert 100 <= there < 300
        shown = await app.dead.batches.get(batch.id)
        assert (shown.done, shown.left, shown.unsure) == (there, 300 - there, 0)
        with pytest.raises(BatchStateError, match="is paused: to pause it is no use"):
            await app.dead.batches.pause(batch.id)
        await app.dead.batches.resume(batch.id)
        await asyncio.sleep(0.5)
        await app.dead.batches.cancel(batch.id)
        await asyncio.sleep(10)
        ended = await app.dead.batches.get(batch.id)
        assert ended.state == "cancelled"
        assert len(await ids(app, "jobs")) == ended.done < 300
        with pytest.raises(BatchStateError):
            await app.dead.batches.resume(batch.id)


async def test_unknown_batches(app: App) -> None:
    async with app:
        assert list(await app.dead.batches.list()) == []
        with pytest.raises(BatchNotFoundError, match="there is no batch 1"):
            await app.dead.batches.get("1")
        with pytest.raises(BatchNotFoundError):
            await app.dead.batches.undo("1")
        with pytest.raises(QueueNotFoundError, match="not defined"):
            await app.dead.batches.begin("retry", "nothing")
        await bury(app, "a")
        done = await app.dead.batches.wait((await app.dead.batches.begin("retry", "dead")).id)
        await asyncio.sleep(86_400)
        with pytest.raises(BatchNotFoundError):
            await app.dead.batches.get(done.id)


@pytest.mark.parametrize(
    ("act", "options", "problem"),
    [
        ("burn", {}, "a batch does one of retry, move, delete"),
        ("move", {}, "say where to"),
        ("delete", {"to": "other"}, "not both"),
        ("retry", {"to": "dead"}, "are there already"),
        ("retry", {"rate": -1}, "a rate is 0"),
        ("retry", {"rate": float("nan")}, "a rate is 0"),
        ("retry", {"canary": 50}, "a canary is 0 to 49"),
        ("retry", {"limit": 0}, "a limit is at least 1"),
        ("retry", {"ids": many(10_001)}, "10,001 ids are too many"),
        ("retry", {"group": ("colour", "red")}, "grouped by cause"),
        ("retry", {"where": "colour == 1"}, "not known"),
        ("retry", {"where": "error contains '\udcff'"}, "no valid Unicode text"),
        ("delete", {"ids": ["a", "\udcff"]}, "no valid Unicode text"),
        ("delete", {"group": ("cause", "\udcff")}, "no valid Unicode text"),
    ],
)
async def test_what_is_refused(app: App, act: Any, options: dict[str, Any], problem: str) -> None:
    async with app:
        with pytest.raises(ValueError, match=problem):
            await app.dead.batches.begin(act, "dead", **options)
        assert list(await app.dead.batches.list()) == []


def test_without_an_event_loop(tmp_path: Any) -> None:
    app = App("memory://", root=tmp_path)
    app.queue("dead")
    app.queue("jobs", dead_letter="dead")
    batches = app.sync.dead.batches
    batch = batches.wait(batches.begin("retry", "dead", canary=None).id)
    assert (batch.state, batch.done) == ("done", 0)
    assert [each.id for each in batches.list()] == [batch.id]
    assert batches.get(batch.id) == batch
    for verb in (batches.pause, batches.resume, batches.cancel):
        with pytest.raises(BatchStateError):
            verb(batch.id)
    assert batches.wait(batches.undo(batch.id).id).state == "undone"
    app.sync.close()
