"""Columns: what each shows of a row, which of them a terminal has room for, and the lines of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from tasuki.desk.reading.bodies import line
from tasuki.top.frame import cells
from tasuki.top.frame.cells import Keep, Line, Signs, Span, fit

Cell = tuple[str, str]
"""A text, and the name of its style."""
Form = Literal["text", "count", "some", "age", "rate", "bars"]
"""How a value is shown; ``some``: a count, and nothing for 0."""
_TEXTS: Mapping[str, Callable[[Any, int], str]] = {
    "count": lambda value, width: cells.count(value, cells=width),
    "some": lambda value, width: cells.count(value, cells=width) if value else "",
    "age": lambda value, _: "" if value is None else cells.age(value),
    "rate": lambda value, _: "" if value is None else cells.rate(value),
    "text": lambda value, _: "" if value is None else line(value),
}
_MARKS = 2
"""Cells before the first column: a sign and a blank."""
_LEAST = 8
"""Least cells of a column without its own width."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``width`` 0: it takes its ``share`` of what the others leave."""

    name: str
    title: str
    width: int = 0
    form: Form = "text"
    of: str = ""
    """Where its value is in what a row shows; empty: under its name."""
    text: Callable[[Any], str] | None = None
    """The text for what a row shows; None: the value in its form."""
    style: str | Callable[[Any], str] = ""
    at_least: int = 0
    """Width of the terminal from which on it is shown."""
    at_most: int = 10_000
    """Width of the terminal up to which it is shown."""
    keep: Keep = "start"
    share: int = 1

    @property
    def is_right(self) -> bool:
        """Numbers are at the right, and their order begins with the largest."""
        return self.form not in ("text", "bars")

    def value(self, shown: Any) -> Any:
        """By what rows are sorted; an unknown value is the least."""
        found = attrgetter(self.of or self.name)(shown)
        return found if found is not None else 0 if self.is_right else ""

    def cell(self, shown: Any, signs: Signs) -> Cell:
        """The cell of what a row shows."""
        style = self.style if isinstance(self.style, str) else self.style(shown)
        if self.text is not None:
            return self.text(shown), style
        value = attrgetter(self.of or self.name)(shown)
        if self.form == "bars":
            return cells.spark(value, self.width, signs.bars), style
        return _TEXTS[self.form](value, self.width), style


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of rows: by which column; empty: the view's own."""

    column: str = ""
    is_down: bool = False


def shown_in(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that a terminal of this width shows."""
    return [column for column in columns if column.at_least <= width <= column.at_most]


def layout(columns: Sequence[Column], width: int) -> list[tuple[int, Column, int]]:
    """The columns that are shown: the number of each, itself, and its cells."""
    names = {column.name for column in shown_in(columns, width)}
    shown = [(at, column) for at, column in enumerate(columns) if column.name in names]
    left = width - _MARKS - sum(column.width for _, column in shown) - (len(shown) - 1)
    shares = sum(column.share for _, column in shown if not column.width)
    found = []
    for at, column in shown:
        cells = column.width
        if not cells:
            cells = max(left * column.share // shares, _LEAST)
            left, shares = left - cells, shares - column.share
        found.append((at, column, cells))
    return found


def heading(shown: Sequence[tuple[int, Column, int]], sort: Sort, signs: Signs) -> Line:
    """The titles; the one that rows are sorted by has an arrow."""
    line: list[Span] = [("  ", "")]
    for _, column, width in shown:
        is_sorted = column.name == sort.column
        arrow = (signs.down if sort.is_down else signs.up) if is_sorted else ""
        text = arrow + column.title if column.is_right else column.title + arrow
        line += [
            (fit(text, width, is_right=column.is_right, more=signs.more), "bold" if is_sorted else "head"),
            (" ", ""),
        ]
    return line[:-1]


def row_line(
    shown: Sequence[tuple[int, Column, int]], mark: Cell, cells: Sequence[Cell], signs: Signs, *, is_current: bool
) -> Line:
    """One row; ``mark``: the sign before it. Two cells for more columns: the second one has the rest of the line."""
    if len(cells) == 2 and len(shown) > 2:
        width = sum(cells for _, _, cells in shown[1:]) + len(shown) - 2
        shown = [shown[0], (1, Column("rest", ""), width)]
    line: list[Span] = [(mark[0], mark[1]), (" ", "")]
    for at, column, width in shown:
        text, style = cells[at]
        shown_text = fit(signs.text(text), width, is_right=column.is_right, keep=column.keep, more=signs.more)
        line += [(shown_text, style), (" ", "")]
    line.pop()
    return [(text, "cursor") for text, _ in line] if is_current else line
