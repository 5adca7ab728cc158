"""Cells: texts cut, padded and wrapped to the cells of a terminal, where some characters are two wide and some none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal

from rich.cells import cell_len, split_graphemes
from rich.style import Style

from tasuki.desk.presentation import numbers
from tasuki.desk.reading.bodies import line

_OURS = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-[0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{12}")
"""An id of ours: a time, a number within it, and an end that all messages of a process share."""

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None, *, cells: int = 7, is_estimate: bool = False) -> str:
    """``1,204``, or in few cells ``310k``, ``1.25M``; an estimate has a ``~``, and an unknown number is a dash."""
    if value is None:
        return numbers.NONE
    text, sign = numbers.number(value), "~" if is_estimate else ""
    if len(sign + text) > cells:
        size, unit = next((step for step in _STEPS if value >= step[0]), (1, ""))
        part = value / size
        text = f"{part:.2f}{unit}" if part < 10 else f"{part:.0f}{unit}"
    return sign + text


def things(number: int, noun: str) -> str:
    """``1 letter``, ``1,204 letters``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def rate(value: float | None) -> str:
    """Messages a second; a dash for an unknown rate."""
    if value is None:
        return numbers.NONE
    return numbers.a_second(value) if value < 999.95 else count(value)


def age(seconds: float | None) -> str:
    """``840ms``, ``12s``, ``4m05s``, ``3h12m``, ``2d``."""
    return numbers.duration(seconds).replace(" ", "")


def at(unix: float | None) -> str:
    """A time in the zone of this terminal."""
    if unix is None or not numbers.iso(unix):
        return numbers.NONE
    return datetime.fromtimestamp(unix).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def moment(unix: float) -> str:
    """A time of day in the zone of this terminal, with milliseconds."""
    return datetime.fromtimestamp(unix).strftime("%H:%M:%S.%f")[:-3] if numbers.iso(unix) else numbers.NONE


def spark(values: Sequence[float], width: int, bars: str) -> str:
    """The newest values as bars of one cell, the highest of them as the highest bar; no bar for a zero."""
    newest = values[-width:]
    most = max(newest, default=0)
    if most <= 0:
        return ""
    return "".join(bars[min(int(value / most * len(bars)), len(bars) - 1)] if value else " " for value in newest)


def short_id(id: str) -> str:
    """What tells an id from those around it: of ours the middle; others are cut where they are shown."""
    found = _OURS.fullmatch(id)
    return found[1] if found else line(id, 60)


_STYLES = {
    "": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "head": Style(bold=True, dim=True),
    "accent": Style(color="cyan", bold=True),
    "tab": Style(bold=True, underline=True),
    "bars": Style(color="cyan"),
    "fall": Style(color="red"),
    "ok": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "ask": Style(color="yellow", bold=True),
    "cursor": Style(reverse=True),
}


@cache
def style_of(name: str) -> Style:
    """The style of a name."""
    return _STYLES[name]


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters with a meaning, all of one cell; ``bars`` from the least to the most."""

    more: str = "…"
    dot: str = "●"
    selected: str = "●"
    problem: str = "!"
    paused: str = "‖"
    absent: str = "·"
    down: str = "▾"
    up: str = "▴"
    into: str = "\u203a"
    none: str = "\u2013"
    bars: str = "▁▂▃▄▅▆▇█"
    caret: str = "▏"
    is_ascii: bool = False

    def text(self, text: str) -> str:
        r"""A text as the terminal can show it: in ASCII ``\u65e5`` for other characters."""
        if not self.is_ascii or text.isascii():
            return text
        return text.translate(_PLAIN).encode("ascii", "backslashreplace").decode()


UNICODE = Signs()
ASCII = Signs("~", "*", "*", "!", "=", ".", "v", "^", ">", "-", "_.:-=+*#", "_", is_ascii=True)
_PLAIN = str.maketrans(
    {"…": "~", "\u2013": "-", "·": ".", "\u203a": ">", "“": '"', "”": '"', "●": "*", "‖": "=", "→": ">"}
)


Span = tuple[str, str]
"""A text, and the name of its style (see :mod:`tasuki.top.frame.cells`)."""

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
