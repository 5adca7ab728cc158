"""Dead letters: their groups, the letters of one, and the batches that move them."""

from __future__ import annotations

import pytest

from tasuki import App
from tasuki.queues.dead.groups import KEYS
from tests.unit.desk.test_pages import fail
from tests.unit.top.conftest import Sit
from tests.unit.top.seat import Seat

pytestmark = pytest.mark.anyio


async def depth(app: App, queue: str) -> int:
    return (await app._runtime.queue(queue).depth()).ready


async def until_done(seat: Seat) -> str:
    """The batches, when none of them is driven any more."""
    await seat.press("5")
    while not all(row.value.batch.ended for row in seat.top.scene.place.all_rows):
        await seat.refresh()
    return seat.text


async def test_groups_of_one_cause_are_counted(app: App, sit: Sit) -> None:
    await fail(app, bad="no route")
    await fail(app, bad="no way")
    await fail(app, bad=["[bold]another[/bold]"])

    async with sit(app) as seat:
        text = await seat.press("2")

        assert "3 letters, 2 by cause" in seat.lines[2]
        assert [row.split()[0] for row in seat.rows] == ["2", "1"]
        assert "{'bad': ['[bold]another[/bold]']}" in text


async def test_b_groups_by_something_else(app: App, sit: Sit) -> None:
    await fail(app)

    async with sit(app, size=(120, 24)) as seat:
        await seat.press("2")
        said = []
        for _ in KEYS:
            seat.top.scene.foot.kind = "keys"
            await seat.press("b")
            said.append(seat.top.scene.foot.text)

        assert said[0] == "Grouped by type."
        assert said[-1] == "Grouped by cause."
        assert len(set(said)) == len(KEYS)


async def test_a_group_opens_its_letters_and_one_of_them_its_message(app: App, sit: Sit) -> None:
    id = await fail(app, bad="no route")

    async with sit(app, size=(120, 40)) as seat:
        letters = await seat.press("2", "enter")
        assert "1 letter " in seat.lines[2]
        assert '"bad":"no route"' in letters
        message = await seat.press("enter")
        assert f"{id}  dead" in message
        assert "Why it does not run now" in await seat.press("escape", "e")


async def test_letters_sort_by_each_column(app: App, sit: Sit) -> None:
    await fail(app, bad="a")
    await fail(app, bad=1)

    async with sit(app, size=(150, 24)) as seat:
        await seat.press("2")
        for _ in range(9):
            await seat.press("s")
            assert len(seat.rows) == 2
        await seat.press("escape", "enter")
        for _ in range(9):
            assert len((await seat.press("s")).splitlines()) == 24


async def test_a_group_is_retried_and_its_batch_undone(app: App, sit: Sit) -> None:
    for _ in range(3):
        await fail(app, bad="no route")

    async with sit(app, size=(120, 24), actor="kana") as seat:
        await seat.press("2")
        assert "Retry 3 letters of app:dead, 100 a second?" in await seat.press("r")
        assert "A batch has begun on app:dead. u undoes it" in await seat.press("enter")
        batches = await until_done(seat)
        assert (await depth(app, "dead"), await depth(app, "mails")) == (0, 3)
        assert batches.splitlines()[4].split()[1:5] == ["retry", "app:dead", "done", "3"]
        assert "kana" in batches

        await seat.press("1")
        assert "Undo the last batch on app:dead?" in await seat.press("u")
        assert "is being undone" in await seat.press("enter")
        assert "undone" in await until_done(seat)
        assert (await depth(app, "dead"), await depth(app, "mails")) == (3, 0)


async def test_selected_letters_are_deleted_and_brought_back(app: App, sit: Sit) -> None:
    for _ in range(3):
        await fail(app, bad="no route")

    async with sit(app, size=(120, 24)) as seat:
        await seat.press("2", "enter", "x", "x")
        assert "Delete 2 letters of app:dead, 100 a second?" in await seat.press("D")
        await seat.press("escape")
        assert await depth(app, "dead") == 3
        await seat.press("D", "enter")
        await until_done(seat)
        assert await depth(app, "dead") == 1

        assert "Undo the batch on app:dead: 2 letters at most come back?" in await seat.press("u")
        await seat.press("enter")
        await until_done(seat)
        assert await depth(app, "dead") == 3
        assert "K (cancel) does nothing here." in await seat.press("K")
        assert "dead" in await seat.press("enter")


async def test_one_letter_is_retried_from_its_group(app: App, sit: Sit) -> None:
    await fail(app, bad="no route")

    async with sit(app) as seat:
        assert "Retry 1 letter of app:dead?" in await seat.press("2", "enter", "r")
        await seat.press("enter")
        assert (await depth(app, "dead"), await depth(app, "mails")) == (0, 1)


async def test_without_letters_or_batches_the_views_say_what_would_be_there(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "No dead letters. Messages that fail too often" in await seat.press("2")
        assert "No batch in the last day." in await seat.press("5")


async def test_without_a_dead_letter_queue_it_says_how_to_declare_one(sit: Sit) -> None:
    app = App("memory://")
    app.queue("plain")
    async with app, sit(app) as seat:
        assert 'dead_letter={"queue": "mails.dead"' in await seat.press("2")
