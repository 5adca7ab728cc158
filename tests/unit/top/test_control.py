"""The keys that every view has."""

from __future__ import annotations

import pytest

from tasuki import App
from tests.unit.top.conftest import HOURLY, Sit
from tests.unit.top.seat import Seat

pytestmark = pytest.mark.anyio


@pytest.fixture
async def many(app: App) -> App:
    """Fifty queues more."""
    for number in range(50):
        app.queue(f"tenant-{number:02}")
    await app.close()
    await app.open()
    return app


def current(seat: Seat) -> str:
    row = seat.top.scene.place.current
    assert row is not None
    return row.key.removeprefix("app:")


async def test_rows_pages_and_ends(many: App, sit: Sit) -> None:
    async with sit(many) as seat:
        assert current(seat) == "images"
        places = {}
        for key in ("j", "down", "k", "up", "l", "right", "pagedown", "h", "left", "pageup", "G", "g", "end", "home"):
            await seat.press(key)
            places[key] = current(seat)

        assert places["j"] == "mails"
        assert places["down"] == "tenant-00"
        assert (places["k"], places["up"]) == ("mails", "images")
        assert places["l"] == "tenant-15"
        assert places["pagedown"] == "tenant-49"
        assert places["left"] == "tenant-15"
        assert places["pageup"] == "images"
        assert (places["G"], places["g"], places["end"], places["home"]) == ("dead", "images", "dead", "images")
        assert "app:dead" in await seat.press("G")


async def test_the_views_by_number_and_in_turn(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        titles = []
        for key in ("2", "3", "4", "1", "tab", "right_square_bracket", "left_square_bracket", "shift+tab"):
            await seat.press(key)
            titles.append(seat.top.scene.place.view.crumb)

        assert titles == ["Dead", "Workers", "Schedules", "Queues", "Dead", "Workers", "Dead", "Queues"]


async def test_enter_opens_and_escape_goes_back(app: App, sit: Sit) -> None:
    await app.publish("images", {"n": 1}, HOURLY)

    async with sit(app) as seat:
        assert "Queues \u203a app:images" in await seat.press("enter")
        assert "Queues \u203a app:images \u203a " in await seat.press("enter")
        assert "Queues \u203a app:images  " in await seat.press("escape")
        assert " 1 Queues " in await seat.press("escape")
        assert " 1 Queues " in await seat.press("escape")


async def test_a_filter_holds_while_it_is_typed(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        await seat.press("slash", "M", "a")
        assert seat.names == ["app:images", "app:mails"]
        assert seat.foot == "/Ma▏"
        await seat.press("i")
        assert seat.names == ["app:mails"]
        assert "/Mai" in (await seat.press("enter")).splitlines()[2]
        await seat.press("slash", "backspace", "ctrl+u", "x", "y")
        assert "No row matches “xy”. Esc shows all." in seat.text
        await seat.press("escape")
        assert len(seat.rows) == 3


async def test_a_filter_is_taken_from_the_clipboard_too(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        await seat.press("slash")
        seat.top.control.paste("dea\x1b\n日")
        assert seat.foot == "/dea日▏"


async def test_only_what_needs_attention(app: App, sit: Sit) -> None:
    await app.publish("mails", 1)

    async with sit(app) as seat:
        assert len(seat.rows) == 3
        await seat.press("exclamation_mark")
        assert seat.names == ["app:mails"]
        assert "! only" in seat.lines[2]
        await seat.press("escape")
        assert len(seat.rows) == 3


async def test_sort_and_reverse(app: App, sit: Sit) -> None:
    for number in range(3):
        await app.publish("images", number, HOURLY)

    async with sit(app) as seat:
        assert "QUEUE▴" in await seat.press("s")
        assert seat.names == ["app:dead", "app:images", "app:mails"]
        assert "▾READY" in await seat.press("s")
        assert seat.names == ["app:images", "app:dead", "app:mails"]
        assert "▴READY" in await seat.press("S")
        assert seat.names == ["app:dead", "app:mails", "app:images"]


async def test_select_one_a_range_and_all(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "1 selected" in await seat.press("x")
        assert seat.rows[0].startswith("● app:images")
        assert "2 selected" in await seat.press("space")
        assert "selected" not in await seat.press("escape")
        assert "2 selected" in await seat.press("g", "v", "j")
        assert "2 selected" in await seat.press("v", "j")
        assert "3 selected" in await seat.press("A")
        assert "selected" not in await seat.press("A")


async def test_an_act_on_several_rows_asks_and_says_how_many(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "Pause or resume 3 queues?  Enter: yes · Esc: no" in await seat.press("A", "p")
        assert "Pause or resume" not in await seat.press("escape")
        assert "‖" not in "".join(seat.rows)
        assert "pause: all 3 done." in await seat.press("p", "enter")
        assert [row[0] for row in seat.rows] == ["‖", "‖", "‖"]


async def test_a_frozen_screen_keeps_its_moment(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "frozen" in (await seat.press("f")).splitlines()[0]
        await app.publish("images", 1, HOURLY)
        seat.top.control._poke.set()
        await seat.pilot.pause()
        assert seat.lines[1].startswith("READY 0")
        assert "● live" in (await seat.press("f")).splitlines()[0]
        await seat.refresh()
        assert seat.lines[1].startswith("READY 1")


async def test_the_id_is_copied(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "Copied app:images" in await seat.press("y")
        assert seat.top.copied == "app:images"


async def test_the_help_lists_the_keys_of_the_view(app: App, sit: Sit) -> None:
    await app.publish("images", 1, HOURLY)

    async with sit(app, size=(80, 40)) as seat:
        queues = await seat.press("question_mark")
        assert "remove the messages that wait in the queue" in queues
        assert "select; v begins and ends a range" in queues
        assert "Keys \u203a Queues" in queues
        await seat.press("escape", "enter")
        assert "cancel a message, also one that runs" in await seat.press("question_mark")
        assert "Keys" not in (await seat.press("question_mark")).splitlines()[2]


async def test_a_long_help_is_scrolled(app: App, sit: Sit) -> None:
    async with sit(app, size=(60, 12)) as seat:
        first = await seat.press("question_mark")
        assert "Shift-letters destroy" in (await seat.press("G"))
        assert await seat.press("g") == first
        assert await seat.press("j") != first


async def test_keys_that_do_nothing_here_say_so_or_are_quiet(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        assert "e explains a message" in await seat.press("e")
        assert "P (purge) does nothing here." in await seat.press("P")
        assert "No batch was begun here" in await seat.press("u")
        before = seat.rows
        await seat.press("z", "f12", "ctrl+l")
        assert seat.rows == before


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_it_ends(app: App, sit: Sit, key: str) -> None:
    async with sit(app) as seat:
        await seat.pilot.press(key)
        assert seat.top._exit


async def test_escape_leaves_a_question_and_ctrl_c_too(app: App, sit: Sit) -> None:
    await app.publish("images", 1, HOURLY)

    async with sit(app) as seat:
        await seat.press("P", "ctrl+c")
        assert not seat.top._exit
        assert "? help" in seat.foot
