"""What the picture is made of: cells, columns, amounts, bars; without I/O."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tasuki.top.frame import cells, scene
from tasuki.top.frame.cells import ASCII, UNICODE, between, cut, fit, fit_line, line_width, style_of, wrap
from tasuki.top.frame.columns import Column, Sort, heading, layout, row_line
from tests.unit.top.seat import texts

WIDE = ["日本語の本文", "\U0001f468\u200d\U0001f469\u200d\U0001f467x", "e\u0301" * 9]
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(WIDE)


@given(TEXTS, st.integers(0, 20), st.booleans(), st.sampled_from(["start", "end"]))
def test_a_text_fits_its_cells(text: str, width: int, is_right: bool, keep: str) -> None:
    assert cell_len(fit(text, width, is_right=is_right, keep=keep)) == width  # type: ignore[arg-type]


@given(TEXTS, st.integers(2, 20), st.integers(0, 12))
def test_a_wrapped_line_loses_nothing(text: str, width: int, indent: int) -> None:
    found = wrap([(text, "bold")], width, indent)

    assert all(line_width(line) <= width for line in found)
    assert "".join(part for line in found for part, style in line if style) == text


@pytest.mark.parametrize(
    ("text", "width", "keep", "shown"),
    [
        ("app:mail", 8, "start", "app:mail"),
        ("app:mail", 7, "start", "app:ma…"),
        ("app:mail", 5, "end", "…mail"),
        ("日本語", 4, "start", "日…"),
        ("日本語", 4, "end", "…語"),
        ("abc", 1, "start", "…"),
        ("abc", 0, "start", ""),
    ],
)
def test_a_cut_says_that_there_is_more(text: str, width: int, keep: str, shown: str) -> None:
    assert cut(text, width, keep=keep) == shown  # type: ignore[arg-type]


def test_short_words_stay_whole_where_a_line_breaks() -> None:
    assert texts(wrap([("Remove the messages of app:mail?", "")], 14)) == ["Remove the ", "messages of ", "app:mail?"]
    assert texts(wrap([("x" * 10, "")], 4, 1)) == ["xxxx", " xxx", " xxx"]


def test_two_ends_of_a_line() -> None:
    assert texts([between([("left", "")], [("right", "")], 12)]) == ["left   right"]
    assert texts([between([("a long left end", "")], [("right", "")], 12)]) == ["a lon… right"]
    assert texts([between([("left", "")], [("far too long", "")], 12)]) == ["left        "]
    assert texts([fit_line([("ab", ""), ("cd", "")], 3)]) == ["ab…"]


def test_columns_share_what_the_others_leave() -> None:
    columns = (Column("a", "A"), Column("b", "B", 5), Column("c", "C", share=3), Column("d", "D", 4, at_least=50))

    assert [width for _, _, width in layout(columns, 41)] == [8, 5, 24]
    assert [column.name for _, column, _ in layout(columns, 50)] == ["a", "b", "c", "d"]
    assert [width for _, _, width in layout(columns, 10)] == [8, 5, 8]


def test_the_sorted_column_has_an_arrow() -> None:
    shown = layout((Column("a", "NAME"), Column("b", "N", 4, "count")), 20)

    assert texts([heading(shown, Sort("a"), UNICODE)]) == ["  NAME▴            N"]
    assert texts([heading(shown, Sort("b", True), ASCII)]) == ["  NAME            vN"]


def test_a_second_cell_may_have_the_rest_of_the_line() -> None:
    shown = layout((Column("a", "NAME"), Column("b", "B", 4), Column("c", "C", 4)), 24)

    assert texts([row_line(shown, (" ", ""), [("mail", ""), ("not made", "dim")], UNICODE, is_current=False)]) == [
        "  mail         not made "
    ]


def test_the_row_under_the_cursor_is_of_one_style() -> None:
    shown = layout((Column("a", "NAME"), Column("b", "N", 4, "count")), 20)
    cells = [("mail", "bad"), ("7", "dim")]

    assert row_line(shown, ("!", "bad"), cells, UNICODE, is_current=False)[2] == ("mail         ", "bad")
    assert {style for _, style in row_line(shown, ("!", "bad"), cells, UNICODE, is_current=True)} == {"cursor"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "\u2013"),
        (0, "0"),
        (1204, "1,204"),
        (999_999, "999,999"),
        (1_250_000, "1.25M"),
        (3e10, "30G"),
        (5e12, "5.00T"),
    ],
)
def test_counts_are_short(value: float | None, shown: str) -> None:
    assert cells.count(value) == shown
    assert cells.count(1204, is_estimate=True) == "~1,204"
    assert cells.count(310_000, cells=6) == "310k"


def test_rates_ages_and_times_are_short() -> None:
    assert (cells.rate(None), cells.rate(12.34), cells.rate(0.05), cells.rate(5000)) == (
        "\u2013",
        "12.3",
        "0.05",
        "5,000",
    )
    assert [cells.age(each) for each in (0.84, 12, 245, 11520, 200_000)] == ["840ms", "12s", "4m05s", "3h12m", "2d"]
    assert cells.at(None) == cells.at(inf) == cells.moment(-1.0) == "\u2013"
    assert cells.at(1e9).startswith("2001-09-")
    assert len(cells.moment(1e9)) == 12
    assert (cells.things(1, "letter"), cells.things(1204, "letter")) == ("1 letter", "1,204 letters")


def test_a_trend_has_a_bar_a_value() -> None:
    assert cells.spark([0, 1, 4, 8], 3, UNICODE.bars) == "▂▅█"
    assert cells.spark([0, 0], 3, UNICODE.bars) == ""
    assert cells.spark([], 3, ASCII.bars) == ""


def test_ascii_has_a_sign_for_each_sign() -> None:
    for name in ("more", "dot", "selected", "problem", "paused", "absent", "down", "up", "into", "none", "caret"):
        assert cell_len(getattr(UNICODE, name)) == cell_len(getattr(ASCII, name)) == 1
    assert ASCII.text("日 “a”…") == '\\u65e5 "a"~'
    assert UNICODE.text("日") == "日"
    assert style_of("bad").color is not None


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_bars_fill_their_line(width: int) -> None:
    long = "billing.invoices-of-all-customers-in-europe-central"
    found = [
        scene.head("shop", f"sqlite {long}.db", ("● live", "ok"), "14:03:22", width, UNICODE),
        scene.head(long, "memory", ("", ""), "14:03:22", width, UNICODE),
        scene.totals(None, width, UNICODE),
        scene.totals(None, width, ASCII),
        scene.tabs(2, [("/mail", "accent")], width, UNICODE),
        scene.crumbs(["Queues", long, long], [("1 … 50 of 1,204", "dim")], width, UNICODE),
        scene.keys([("?", "help"), ("Enter", "messages"), ("q", "quit")], width, UNICODE),
    ]

    assert {line_width(line) for line in found} == {width}
    assert "…" in texts([found[5]])[0]


def test_an_id_of_ours_is_known_by_its_middle() -> None:
    assert cells.short_id("01a224a9-9fc2-72cc-bafe-ab643ff8fc58") == "9fc2-72cc"
    assert cells.short_id("invoice-7\x1b") == "invoice-7\\x1b"
