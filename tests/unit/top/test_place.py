"""What a reader has chosen stays over a refresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.top.frame.columns import Column
from tasuki.top.place import ViewPlace
from tasuki.top.views.view import Row, Table, Text, View


class Numbers(View):
    columns = (Column("name", "NAME"), Column("value", "VALUE", 5, "count"))

    async def read(self, reading: Any, snapshot: Any) -> Table:
        return Table()

    def sorted_by(self, column: str, row: Row) -> Any:
        return row.key if column == "name" else row.value


def table(*names: str) -> Table:
    return Table([Row(name, len(name), name, is_problem=name.startswith("!")) for name in names])


@pytest.fixture
def place() -> ViewPlace:
    place = ViewPlace(Numbers())
    place.show(table("pear", "!fig", "apple", "kiwi"))
    return place


def keys(rows: Sequence[Row]) -> list[str]:
    return [row.key for row in rows]


def test_the_cursor_stays_on_its_row(place: ViewPlace) -> None:
    place.move(2, 10)
    place.show(table("new", "pear", "newer", "apple"))
    assert keys(place.selected) == ["apple"]
    place.show(table("one", "two"))
    assert place.cursor == 1
    place.show(table())
    assert (place.cursor, place.current, place.selected) == (0, None, [])


def test_the_cursor_arrives_on_a_page_from_its_side(place: ViewPlace) -> None:
    place.arrives = "last"
    place.show(table("a", "b", "c"))
    assert place.cursor == 2
    place.arrives = "first"
    place.show(table("d", "e", "c"))
    assert place.cursor == 0


def test_moves_end_at_the_ends(place: ViewPlace) -> None:
    assert [place.move(by, 10) for by in (-1, 1, 99, 1)] == [False, True, True, False]


def test_a_text_is_scrolled_to_its_end_only() -> None:
    place = ViewPlace(Numbers())
    place.show(Text([[("x", "")]] * 30))
    place.length = 30
    assert [(place.move(by, 10), place.top) for by in (-1, 5, 99, 1)] == [
        (False, 0),
        (True, 5),
        (True, 20),
        (False, 20),
    ]
    assert place.rows == []


def test_what_has_gone_is_not_selected(place: ViewPlace) -> None:
    place.choose_all()
    place.show(table("pear", "plum"))
    assert place.chosen == {"pear"}
    place.begin_range()
    place.show(table("plum"))
    assert place.ranged == set()


def test_a_range_becomes_a_selection(place: ViewPlace) -> None:
    place.begin_range()
    place.move(1, 10)
    assert keys(place.selected) == ["pear", "!fig"]
    place.choose()
    assert (place.chosen, place.anchor) == ({"pear", "!fig"}, "")
    place.choose()
    assert place.chosen == {"pear"}
    place.begin_range()
    place.begin_range()
    assert place.chosen == {"pear", "!fig"}


def test_a_filter_and_only_problems(place: ViewPlace) -> None:
    place.choose_all()
    place.filter("I")
    assert keys(place.rows) == ["!fig", "kiwi"]
    assert place.chosen == {"!fig", "kiwi"}
    place.toggle_problems()
    assert keys(place.rows) == ["!fig"]
    assert [place.clear(), place.clear(), place.clear()] == [True, True, False]
    assert len(place.rows) == 4


def test_numbers_sort_from_the_largest(place: ViewPlace) -> None:
    place.next_sort(place.view.columns)
    assert keys(place.rows) == ["!fig", "apple", "kiwi", "pear"]
    place.next_sort(place.view.columns)
    assert keys(place.rows) == ["apple", "!fig", "kiwi", "pear"]
    place.reverse()
    assert keys(place.rows) == ["!fig", "kiwi", "pear", "apple"]
    place.next_sort(place.view.columns)
    assert keys(place.rows) == ["pear", "!fig", "apple", "kiwi"]
    place.reverse()
    assert keys(place.rows) == ["kiwi", "apple", "!fig", "pear"]
