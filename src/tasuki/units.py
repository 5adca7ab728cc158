"""Durations, times and sizes as people write them: ``"1h30m"`` ⇄ float seconds, ``"256KiB"`` ⇄ int bytes."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

Duration = float | str | timedelta
"""What a duration may be given as: seconds, Go-style text (``500ms``, ``1h30m``), or a ``timedelta``."""
When = Duration | datetime
"""A duration from now, or the time itself, with its time zone."""
Size = int | str
"""What a size may be given as: bytes, or text (``256KiB``)."""

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_LONGEST = 100 * 365 * 86400.0
"""Seconds: a mistake in unit or sign is longer, and every broker can count so far."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


def parse_duration(value: object) -> float:
    """Seconds of a Go-style text (``500ms``, ``1h30m``), of a plain number of seconds, or of a ``timedelta``.

    Raises:
        ValueError: not a duration, negative, or longer than 100 years; the message names the value and an example.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | timedelta):
        raise ValueError(f"{value!r} is not a duration; write it like 500ms, 30s or 1h30m")
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
    elif value == "0":
        seconds = 0.0
    else:
        seconds = _sum_of_parts(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a duration of zero or more seconds")
    if seconds > _LONGEST:
        raise ValueError(f"{value!r} is longer than 100 years")
    return seconds


def is_duration(value: object) -> bool:
    """Whether a value is a duration of :func:`parse_duration`."""
    try:
        parse_duration(value)
    except ValueError:
        return False
    return True


def check_time(at: object, name: str = "at") -> datetime:
    """A time that means the same moment everywhere; ``name``: of the argument, for the error.

    Raises:
        ValueError: not a ``datetime``, or one without a time zone; the message shows how to write it.
    """
    if isinstance(at, datetime) and at.utcoffset() is not None:
        return at
    raise ValueError(
        f"{name} must be a datetime with a time zone, not {at!r:.80}; "
        "write datetime(…, tzinfo=ZoneInfo('Asia/Tokyo')) or datetime.now(UTC) + timedelta(hours=1)"
    )


def one_of(name: str, delay: Duration | None, at: datetime | None, time: str = "at") -> When | None:
    """The one of a delay and a time that is given; ``name`` of the delay and ``time`` of the other, for the error.

    Raises:
        ValueError: both are given, or the time has no time zone.
    """
    if at is None:
        return delay
    if delay is not None:
        raise ValueError(f"give either {name} or {time}, not both")
    return check_time(at, time)


def needed(what: str, due: When | None) -> When:
    """The same where one must be given. Raises ValueError that names ``what``."""
    if due is None:
        raise ValueError(f"{what} needs a time: write {what}('5m') or {what}(at=datetime(…, tzinfo=…))")
    return due


def plain_duration(value: Any) -> Any:
    """A duration as a number or text, for another process; anything else as it is."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def _sum_of_parts(text: str) -> float:
    seconds, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        seconds += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError(f"{text!r} is not a duration; write it like 500ms, 30s or 1h30m")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest Go-style text of a duration, exact to the millisecond: ``1h30m``, ``1.5s``, ``250ms``, ``0s``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.6g}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{rest:.6g}s" if rest else ""]
    return "".join(parts) or "0s"


def parse_rate(value: object) -> float:
    """How many a second, of a text (``10/s``, ``100/m``, ``5/h``, ``1/30s``) or of a plain number a second.

    Raises:
        ValueError: not a rate, or one that is 0 or less; the message names the value and an example.
    """
    if isinstance(value, str):
        count, slash, per = value.replace(" ", "").partition("/")
        try:
            seconds = parse_duration(per if per[:1].isdigit() else f"1{per}") if slash else 1.0
            rate = float(count) / seconds
        except (ValueError, ZeroDivisionError):
            rate = math.nan
    else:
        rate = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"{value!r} is not a rate above 0; write it like 10/s, 100/m or 5/h")
    return rate


def format_rate(rate: float) -> str:
    """The text of a rate in the shortest unit with 1 or more: ``10/s``, ``1.5/m``; a day is the longest."""
    unit = next((unit for unit in ("s", "m", "h") if rate * _SECONDS[unit] >= 1), "d")
    return f"{rate * _SECONDS[unit]:.6g}/{unit}"


def parse_size(value: object) -> int:
    """Bytes of a text (``256KiB``, ``1MB``) or of a plain whole number of bytes.

    Raises:
        ValueError: not a size, negative, or a fraction of a byte.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{value!r} is not a size; write it like 65536, 256KiB or 1MiB")
    size = Fraction(match[1]) * factor  # a float would lose digits
    if size.denominator != 1:
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """The shortest exact text of a size: ``256KiB``, ``1000B``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"
