"""An edit that is taken back, on the memory driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tasuki import App
from tasuki.contracts.driver import Capabilities
from tasuki.dead.editing.undo import PART
from tasuki.drivers.memory.driver import MemoryDriver
from tests.unit.dead.editing.letters import bury, only

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    app = make_app()
    app.queue("dead")
    app.queue("free", dead_letter="dead")
    return app


async def test_an_edit_can_be_undone_while_the_new_message_waits(app: App) -> None:
    async with app:
        await bury(app, b"1", {"x_last_error": "no", "priority": 3}, queue="app:free")
        before = await only(app, "dead")
        done = await app.dead.edit("dead", "m", body=2)
        assert done.is_undoable
        with pytest.raises(LookupError, match="no edit of a message of app:dead"):
            await app.dead.undo_edit("dead", "m")
        assert await app.dead.undo_edit("dead", done.id, actor="kana") == "m"
        assert (await only(app, "dead"), await app._runtime.queue("free").peek()) == (before, [])
        with pytest.raises(LookupError, match="no edit of a message"):
            await app.dead.undo_edit("dead", done.id)

        done = await app.dead.edit("dead", "m", body=2)
        await app._runtime.queue("free").purge()
        with pytest.raises(LookupError, match="its handler has started"):
            await app.dead.undo_edit("dead", done.id)
        await bury(app, b"1", queue="app:free")
        assert not (await app.dead.edit("dead", "m", body=3, keep=True)).is_undoable
        done = await app.dead.edit("dead", "m", body=2)
        await asyncio.sleep(901)
        with pytest.raises(LookupError, match="in the last 15 minutes"):
            await app.dead.undo_edit("dead", done.id)


async def test_an_edit_of_a_large_letter_can_be_undone_too(make_app: Callable[..., App]) -> None:
    """Its record is larger than a value of a store."""
    app = make_app()
    app.queue("dead", max_message_size="4MiB")
    app.queue("free", dead_letter="dead", max_message_size="4MiB")
    async with app:
        for size in (PART, PART + 1, 3 * 2**20):
            await bury(app, b'"%s"' % (b"a" * (size - 2)), queue="app:free")
            before = await only(app, "dead")
            done = await app.dead.edit("dead", "m", body=2)
            assert done.is_undoable
            assert await app.dead.undo_edit("dead", done.id) == "m"
            assert await only(app, "dead") == before
            state = app._runtime.live().state_of("app:dead")
            assert state is not None
            assert list((await (await state.store()).list("edit/")).entries) == []
            await app._runtime.queue("dead").purge()


@pytest.mark.parametrize(("lacks", "why"), [("transfer", "takes no waiting message back"), ("store", "has no state")])
async def test_an_edit_that_can_never_be_undone_says_why(
    app: App, monkeypatch: pytest.MonkeyPatch, lacks: str, why: str
) -> None:
    able: Capabilities = MemoryDriver.capabilities
    less = able.without("transfer") if lacks == "transfer" else able.without("store")
    monkeypatch.setattr(MemoryDriver, "capabilities", less)
    async with app:
        await bury(app, b"1", queue="app:free")
        done = await app.dead.edit("dead", "m", body=2)
        assert not done.is_undoable
        with pytest.raises(LookupError, match=f"no edit of a message of app:dead can be undone: .*{why}"):
            await app.dead.undo_edit("dead", done.id)
