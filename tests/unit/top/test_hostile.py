"""What a hostile message or moment must not do: draw, hide a question, change what it is about, stop the screen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Depth
from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.desk.site import problem_of
from tasuki.top.frame import cells
from tasuki.top.frame.cells import UNICODE, wrap
from tasuki.top.frame.scene import Foot, tabs, totals
from tasuki.top.place import ViewPlace
from tasuki.top.views.view import Key, Row, Table, of_letters, of_many, of_trial
from tests.unit.desk.test_pages import fail
from tests.unit.top.conftest import HOURLY, Sit
from tests.unit.top.test_dead import until_done
from tests.unit.top.test_place import Numbers

pytestmark = pytest.mark.anyio

EVIL = "\x1b[2J\x07\u202ex"
DELETE, RETRY = Key("D", "delete", ""), Key("r", "retry", "")


def test_ids_of_foreign_publishers_do_not_draw() -> None:
    order = Order("cancel", "queue", "app:mails", EVIL)
    for text in (of_many("Cancel", [order], "message"), of_trial(order), problem_of(LookupError(f"no message {EVIL}"))):
        assert text.isprintable()
        assert "\\x1b[2J\\x07\\u202ex" in text


def test_a_line_of_a_long_text_costs_no_more_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    split: Any = getattr(cells, "split_graphemes")  # noqa: B009

    def counting(text: str) -> Any:
        nonlocal looked_at
        looked_at += len(text)
        return split(text)

    monkeypatch.setattr(cells, "split_graphemes", counting)
    text = "日本語の本文です。" * 1000

    lines = wrap([(text, "")], 78)

    assert "".join(part for line in lines for part, _ in line) == text
    assert looked_at < 20 * len(text)


def test_marks_without_end_are_wrapped_too() -> None:
    text = "a" + "\u0301" * 5000 + "日"
    assert "".join(part for line in wrap([(text, "")], 10) for part, _ in line) == text


def test_what_a_question_cannot_promise_it_says() -> None:
    assert of_letters(RETRY, 3, ["app:dead"]) == "Retry 3 letters of app:dead, 100 a second?"
    assert of_letters(DELETE, 3, ["app:dead"]) == "Delete 3 letters of app:dead, 100 a second?"
    assert of_letters(DELETE, 3, ["app:dead"], kept=False).endswith("a second? That cannot be undone.")
    many = of_letters(DELETE, 10_000, ["app:dead"], is_all=False)
    assert many == "Delete at least 10,000 letters of app:dead, 100 a second? That cannot be undone."


async def test_an_outcome_does_not_hide_the_question_that_is_open(app: App, sit: Sit) -> None:
    await fail(app)
    async with sit(app, size=(120, 24)) as seat:
        await seat.press("2")
        asked = await seat.press("D")
        assert "Delete 1 letter of app:dead" in asked
        control = seat.top.control

        control._say(Foot("told", "another act has ended"))
        control.draw()

        assert "Delete 1 letter of app:dead" in seat.foot
        assert "another act has ended" in await seat.press("escape")


async def test_undo_waits_for_the_act_under_way(app: App, sit: Sit) -> None:
    await fail(app)
    async with sit(app, size=(120, 24)) as seat:
        await seat.press("2", "D", "enter")
        assert "u undo" in seat.lines[-1] or "u undoes it" in seat.text
        await until_done(seat)
        acting = seat.top.control.acting
        acting.task = asyncio.get_running_loop().create_task(asyncio.Event().wait())  # type: ignore[arg-type]
        acting.undo()
        assert seat.foot == "The last act has not ended yet."
        assert seat.top.control._asking is None
        assert acting.task is not None
        acting.task.cancel()


async def test_an_act_is_about_the_grouping_that_is_shown(app: App, sit: Sit) -> None:
    await fail(app)
    async with sit(app) as seat:
        await seat.press("2")
        place = seat.top.scene.place
        (row,) = place.rows
        place.view.press("b")  # the screen shows causes until the next read

        order = place.view.order(RETRY, row)

        assert order is not None
        assert order.bulk is not None
        assert order.bulk.by == "cause"


async def test_a_group_that_has_grown_is_asked_about_again(app: App, sit: Sit) -> None:
    await fail(app, bad="x")
    async with sit(app, size=(120, 24)) as seat:
        await seat.press("2")
        assert "Delete 1 letter" in await seat.press("D")
        for _ in range(2):
            await fail(app, bad="x")
        while seat.top.scene.place.rows[0].value.row.group.count < 3:
            await seat.refresh()
        assert "There are more now. Delete 3 letters" in await seat.press("enter")
        await seat.press("escape")
        assert (await app._runtime.queue("dead").depth()).ready == 3


async def test_a_page_turns_while_frozen_and_one_at_a_time(app: App, sit: Sit) -> None:
    for number in range(150):
        await app.publish("images", {"n": number}, HOURLY)
    async with sit(app) as seat:
        await seat.press("enter", "f", "G", "j")
        assert "51 … 100 of 150 waiting" in seat.lines[2]
        await seat.press("f", "G")
        control = seat.top.control
        for _ in range(3):  # quicker than the broker answers
            control.press("j", "j")
        await seat.refresh()
        assert "101 … 150 of 150 waiting" in seat.lines[2]
        await seat.press("g")
        for _ in range(3):
            control.press("k", "k")
        await seat.refresh()
        assert "51 … 100 of 150 waiting" in seat.lines[2]


async def test_only_columns_that_are_seen_are_sorted_by(app: App, sit: Sit) -> None:
    async with sit(app, size=(80, 24)) as seat:
        for _ in range(10):
            await seat.press("s")
            column = seat.top.scene.place.sort.column
            assert column not in ("in_rate", "workers", "done_of_hour", "driver")
            assert column == "" or "▾" in seat.lines[3] or "▴" in seat.lines[3]


def test_what_the_filter_hides_is_not_selected_any_more() -> None:
    place = ViewPlace(Numbers())
    place.show(Table([Row("a", 1, "a", True), Row("b", 2, "b", True)]))
    place.toggle_problems()
    place.choose_all()

    place.show(Table([Row("a", 1, "a"), Row("b", 2, "b", True)]))

    assert place.chosen == {"b"}


def test_the_cursor_can_pass_rows_of_one_id() -> None:
    place = ViewPlace(Numbers())
    rows = [Row("a", 1, ""), Row("same", 2, ""), Row("b", 3, ""), Row("same", 4, "")]
    place.show(Table(rows))
    place.move(3, 10)

    place.show(Table(rows))

    assert place.cursor == 3


async def test_a_second_in_which_nothing_changes_draws_nothing(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        control, drawn = seat.top.control, seat.top.drawn
        drawn.clear()
        for _ in range(3):
            control.tick()
        assert not drawn.is_set()
        control._began = control._clock.monotonic() - 5
        control.tick()
        assert drawn.is_set()
        control._began = None


def row(id: str, depth: Depth | None, *, is_missing: bool = False) -> QueueRow:
    return QueueRow(id, "main", depth, is_missing=is_missing)


def first(snapshot: Snapshot) -> str:
    return "".join(text for text, _ in totals(snapshot, 80, UNICODE))


def test_counts_that_are_not_known_are_no_zeros() -> None:
    read, unread, missing = row("a", Depth(2, 0, 1)), row("b", None), row("c", None, is_missing=True)

    assert first(Snapshot(0, 0, {"a": read, "c": missing})).startswith("READY 2  RUN 0/0  DELAY 1  DEAD 0")
    assert first(Snapshot(0, 0, {"a": read, "b": unread})).startswith("READY 2+  RUN 0/0  DELAY 1+  DEAD 0+")
    assert first(Snapshot(0, 0, {"b": unread})).startswith(
        f"READY {UNICODE.none}  RUN {UNICODE.none}  DELAY {UNICODE.none}  DEAD {UNICODE.none}"
    )


def test_a_note_leaves_all_tabs_to_be_seen() -> None:
    line = "".join(text for text, _ in tabs(1, [("1,204 letters, 4 by cause ", "dim")], 60, UNICODE))
    assert [number for number in "12345" if f" {number}" in line] == list("12345")


async def test_the_help_names_the_keys_of_the_help(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        await seat.press("question_mark")
        assert seat.foot == "Esc back  j k scroll  q quit"
