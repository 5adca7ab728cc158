"""Cells: texts cut, padded and wrapped to the cells of a terminal, where some characters are two wide and some none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.cells import cell_len, split_graphemes

Span = tuple[str, str]
"""A text, and the name of its style (see :mod:`tasuki.top.frame.styles`)."""
Line = Sequence[Span]

Keep = Literal["start", "end"]

_MOST_OF_CELL = 8
"""Characters that are looked at for one cell: a line must not cost as much as all of a long text. A few marks on a
letter, and people joined to a family, are fewer."""


def width_of(text: str) -> int:
    """Cells of a text."""
    return len(text) if text.isascii() else cell_len(text)


def line_width(line: Line) -> int:
    """Cells of a line."""
    return sum(width_of(text) for text, _ in line)


def cut(text: str, width: int, *, keep: Keep = "start", more: str = "…") -> str:
    """The text in at most ``width`` cells: whole, or its start, or its end, with ``more`` for the rest."""
    if width <= 0:
        return ""
    if width_of(text) <= width:
        return text
    left = width - width_of(more)
    if left <= 0:
        return more if not left else ""
    return _start(text, left) + more if keep == "start" else more + _end(text, left)


def fit(text: str, width: int, *, is_right: bool = False, keep: Keep = "start", more: str = "…") -> str:
    """The text in exactly ``width`` cells."""
    shown = cut(text, width, keep=keep, more=more)
    blank = " " * max(width - width_of(shown), 0)
    return blank + shown if is_right else shown + blank


def fit_line(line: Line, width: int, more: str = "…") -> list[Span]:
    """A line in exactly ``width`` cells."""
    found: list[Span] = []
    left = width
    for text, style in line:
        shown = cut(text, left, more=more)
        if shown:
            found.append((shown, style))
        left -= width_of(shown)
        if shown != text:
            break
    return [*found, (" " * left, "")] if left > 0 else found


def between(left: Line, right: Line, width: int, more: str = "…") -> list[Span]:
    """``left`` at the start and ``right`` at the end of a line; where both have no room ``left`` is cut."""
    room = width - line_width(right) - 1
    if room < width // 3:
        return fit_line(left, width, more)
    return [*fit_line(left, room, more), (" ", ""), *right]


def wrap(line: Line, width: int, indent: int = 0) -> list[Line]:
    """A line in as many as it needs; those after the first begin with ``indent`` blanks. Short words stay whole."""
    width = max(width, 2)
    indent = indent if indent < width // 2 else 0
    found: list[list[Span]] = [[]]
    left = width
    for text, style in line:
        at = 0
        while at < len(text):
            part = _to_word(_start(text[at:], left), text, at)
            if part:
                found[-1].append((part, style))
            at += len(part)
            left -= width_of(part)
            if at < len(text):
                found.append([(" " * indent, "")] if indent else [])
                left = width - indent
    return [*found]


def _to_word(part: str, text: str, at: int) -> str:
    """A part of a text without a word that goes on behind it, unless that is long."""
    end = at + len(part)
    if end >= len(text) or text[end] == " ":
        return part
    blank = part.rfind(" ")
    return part[: blank + 1] if blank > len(part) // 2 else part


def _start(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    end = used = 0
    for _, stop, cells in _graphemes(text[: width * _MOST_OF_CELL]):
        if used + cells > width:
            break
        end, used = stop, used + cells
    return text[:end]


def _end(text: str, width: int) -> str:
    if text.isascii():
        return text[-width:]
    text = text[-width * _MOST_OF_CELL :]
    begin, used = len(text), 0
    for start, _, cells in reversed([*_graphemes(text)]):
        if used + cells > width:
            break
        begin, used = start, used + cells
    return text[begin:]


def _graphemes(text: str) -> Iterator[tuple[int, int, int]]:
    yield from split_graphemes(text)[0]
