"""Amounts: numbers, durations, times and ids in few cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from tasuki.desk.looks import numbers
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
    return f"{value:.1f}" if value < 999.95 else count(value)


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
