"""Batches of one cause look at its letters alone, where the driver can show them."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.dead.batches import planning
from tasuki.dead.batches.planning import preview
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.message import Message
from tests.unit.dead.batches.letters import bury, ids, many

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def peeks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where each peek that does not name a cause begins, but for the ones that look for letters that came back."""
    found: list[int] = []
    peek = MemoryDriver.peek

    async def noted(self: MemoryDriver, queue: str, limit: int, after: int = 0) -> list[Message]:
        found.append(after)
        return await peek(self, queue, limit, after)

    monkeypatch.setattr(MemoryDriver, "peek", noted)
    return found


async def bury_marked(app: App, cause: str, *names: str) -> None:
    headers: dict[str, Any] = {"x_original_queue": "app:jobs", "x_dead_letter_reason": "rejected", "x_cause": cause}
    headers |= {"x_dead_letter_time": app._runtime.clock.time(), "content_type": "json/plain"}
    assert not any(await app._runtime.queue("dead").forward([Outgoing(name, b"{}", dict(headers)) for name in names]))


@pytest.mark.parametrize(
    ("which", "total", "moved"),
    [
        ({"group": ("cause", A)}, 60, many(60, "a")),
        ({"where": f"cause == '{A}'"}, 60, many(60, "a")),
        ({"where": f"cause == '{A}' && id startsWith 'a000'"}, 10, many(10, "a")),
        ({"group": ("cause", A), "where": "id != 'a0000'"}, 59, many(60, "a")[1:]),
        ({"group": ("cause", A), "limit": 7}, 7, many(7, "a")),
        ({"group": ("cause", "cccccccccccc")}, 0, []),
    ],
)
async def test_a_batch_of_one_cause_moves_its_letters(
    app: App, peeks: list[int], which: dict[str, Any], total: int, moved: list[str]
) -> None:
    async with app:
        for start in range(0, 60, 10):
            await bury_marked(app, B, *many(60, "b")[start : start + 10])
            await bury_marked(app, A, *many(60, "a")[start : start + 10])
        begun = await app.dead.batches.begin("move", "dead", to="other", rate=0, **which)
        assert (begun.total, begun.among, begun.there) == (total, len(many(60)) if moved else 0, 120)
        done = await app.dead.batches.wait(begun.id)
        assert (done.state, done.done, done.left) == ("done", len(moved), 0)
        assert peeks == []
        assert await ids(app, "other") == moved
        assert (
            (await app.dead.batches.wait((await app.dead.batches.undo(done.id)).id)).state == "undone"
            if moved
            else True
        )
        assert sorted(await ids(app, "dead")) == sorted(many(60, "a") + many(60, "b"))


async def test_letters_that_do_not_say_their_cause_are_moved_too(app: App) -> None:
    async with app:
        await bury(app, "old")
        cause = (await app.dead.letters()).groups[0].key
        await bury_marked(app, cause, "new")
        await bury_marked(app, B, "b")
        done = await app.dead.batches.begin("move", "dead", to="other", rate=0, group=("cause", cause))
        assert (done.total, done.among) == (2, None)
        await app.dead.batches.wait(done.id)
        assert await ids(app, "other") == ["old", "new"]


async def test_the_number_of_one_cause_is_known_among_any_number(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "ASKED", 5)
    async with app:
        await bury_marked(app, A, *many(7, "a"))
        await bury_marked(app, B, *many(4, "b"))
        source = app._runtime.queue("dead")
        counts = [
            (await preview(source, app._runtime.clock, "delete", group=("cause", A))).count,
            (await preview(source, app._runtime.clock, "delete", where=f"cause == '{B}' && id != 'b0001'")).count,
            (await preview(source, app._runtime.clock, "delete", where=f"cause == '{A}' && id != 'a0001'")).count,
        ]
        assert counts == [7, 3, None]


async def test_newer_letters_of_the_cause_stay(app: App) -> None:
    async with app:
        await bury_marked(app, A, *many(30, "a"))
        begun = await app.dead.batches.begin("move", "dead", to="other", rate=1, group=("cause", A))
        await bury_marked(app, A, "newer")
        await app.dead.batches.wait(begun.id)
        assert await ids(app, "dead") == ["newer"]
