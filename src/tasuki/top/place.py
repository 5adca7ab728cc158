"""Place: a view with all that its reader has chosen there: row, order, filter, selection; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tasuki.top.frame.columns import Column, Sort
from tasuki.top.views.view import Content, Row, Table, Text, View


@dataclass(slots=True, eq=False)
class ViewPlace:
    """One step of the path that Esc goes back."""

    view: View
    content: Content | None = None
    """None: it was not read yet."""
    cursor: int = 0
    top: int = 0
    """The first row, or line, on the screen."""
    sort: Sort = field(default_factory=Sort)
    word: str = ""
    """The filter."""
    only_problems: bool = False
    chosen: set[str] = field(default_factory=set)
    """Keys of the selected rows."""
    anchor: str = ""
    """The key of the row where a range began; empty: there is none."""
    arrives: Literal["", "first", "last"] = ""
    """On which row of the next page the cursor arrives; empty: it stays on its row."""
    length: int = 0
    """Lines of a text at the width of the screen."""
    _rows: list[Row] | None = None

    def show(self, content: Content) -> None:
        """Take what a refresh has found; the cursor stays on its row, and what has gone is not selected any more."""
        current = self.current
        self.content, self._rows = content, None
        keys = [row.key for row in self.rows]
        self.chosen &= set(keys)
        if self.anchor not in keys:
            self.anchor = ""
        if self.arrives:
            self.cursor, self.arrives = (0 if self.arrives == "first" else len(keys) - 1), ""
        elif current is not None and current.key in keys and keys[self.cursor : self.cursor + 1] != [current.key]:
            self.cursor = keys.index(current.key)
        self.cursor = max(min(self.cursor, len(keys) - 1), 0)

    @property
    def all_rows(self) -> Sequence[Row]:
        """The rows before the filter."""
        return self.content.rows if isinstance(self.content, Table) else ()

    @property
    def rows(self) -> list[Row]:
        """The rows that the filter lets through, in order."""
        if self._rows is None:
            self._rows = self._arranged()
        return self._rows

    def _arranged(self) -> list[Row]:
        word = self.word.casefold()
        found = [
            row
            for row in self.all_rows
            if (not word or word in row.find.casefold()) and (row.is_problem or not self.only_problems)
        ]
        if column := self.sort.column:
            found.sort(key=lambda row: row.find)
            found.sort(key=lambda row: self.view.sorted_by(column, row), reverse=self.sort.is_down)
        elif self.sort.is_down:
            found.reverse()
        return found

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        rows = self.rows
        return rows[self.cursor] if self.cursor < len(rows) else None

    @property
    def selected(self) -> list[Row]:
        """The selected rows, with an open range; without any the one under the cursor."""
        keys = self.chosen | self.ranged
        found = [row for row in self.rows if row.key in keys]
        current = self.current
        return found or ([current] if current is not None else [])

    @property
    def ranged(self) -> set[str]:
        """Keys from the row where the range began to the cursor."""
        if not self.anchor:
            return set()
        keys = [row.key for row in self.rows]
        first, last = sorted((keys.index(self.anchor), self.cursor))
        return set(keys[first : last + 1])

    def filter(self, word: str) -> None:
        """Show the rows with this word; the selection goes with what it was made in."""
        if word != self.word:
            self.word = word
            self._again()

    def toggle_problems(self) -> None:
        """Show only what needs attention, or all."""
        self.only_problems = not self.only_problems
        self._again()

    def _again(self) -> None:
        current = self.current
        self._rows, self.anchor = None, ""
        keys = [row.key for row in self.rows]
        self.chosen &= set(keys)
        self.cursor = keys.index(current.key) if current is not None and current.key in keys else 0
        self.top = 0

    def next_sort(self, columns: Sequence[Column]) -> None:
        """Sort by the next of these columns, after the last one as the view does; numbers begin with the largest."""
        names = ["", *(column.name for column in columns)]
        at = names.index(self.sort.column) if self.sort.column in names else 0
        name = names[(at + 1) % len(names)]
        is_number = any(column.is_right for column in columns if column.name == name)
        self.sort = Sort(name, is_number)
        self._again()

    def reverse(self) -> None:
        """Turn the order round."""
        self.sort = Sort(self.sort.column, not self.sort.is_down)
        self._again()

    def move(self, by: int, height: int) -> bool:
        """Move the cursor, or a text, by some lines; False: there is nothing further."""
        if isinstance(self.content, Text):
            target = max(min(self.top + by, self.length - height), 0)
            is_moved, self.top = target != self.top, target
            return is_moved
        target = max(min(self.cursor + by, len(self.rows) - 1), 0)
        is_moved = target != self.cursor
        self.cursor = target
        return is_moved

    def choose(self) -> None:
        """Select the row under the cursor, or not any more; an open range becomes part of the selection."""
        if self.anchor:
            self.end_range()
        elif (row := self.current) is not None:
            self.chosen ^= {row.key}

    def begin_range(self) -> None:
        """Begin a range at the cursor, or end the one that is open."""
        if self.anchor:
            self.end_range()
        elif (row := self.current) is not None:
            self.anchor = row.key

    def end_range(self) -> None:
        """Keep the rows of the open range selected."""
        self.chosen |= self.ranged
        self.anchor = ""

    def choose_all(self) -> None:
        """Select all rows that the filter lets through; if they are, none."""
        keys = {row.key for row in self.rows}
        self.anchor = ""
        self.chosen = set() if keys <= self.chosen else self.chosen | keys

    def clear_choice(self) -> None:
        """Select nothing."""
        self.anchor, self.chosen = "", set()

    def clear(self) -> bool:
        """Take back the last choice: range, then selection, then filter; False: there was none."""
        if self.anchor or self.chosen:
            self.clear_choice()
        elif self.word or self.only_problems:
            self.word, self.only_problems = "", False
            self._again()
        else:
            return False
        return True
