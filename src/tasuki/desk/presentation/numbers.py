"""Numbers, durations, rates, sizes and times as the pages show them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = {
    "en": (" ms", " s", " m", " h", " d", " "),
    "ja": ("ミリ秒", "秒", "分", "時間", "日", ""),
}
NONE = "\u2013"
"""What stands for a number that is not known."""
_LAST = 253370764800.0


def number(value: float | None) -> str:
    """``1,204``; a dash for an unknown one."""
    return NONE if value is None else f"{value:,.0f}"


def plain(value: float) -> str:
    """``1,204`` and ``0.5``: a number that a handler gave, without digits that it has not."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def rate(value: float | None) -> str:
    """A second; see ``a_second``."""
    return NONE if value is None else f"{a_second(value)}/s"


def a_second(value: float) -> str:
    """``1,204.5``, ``0.02``: one decimal, two for a slow queue, whose rate is not shown as none."""
    return f"{value:,.1f}" if value == 0 or value >= 0.1 else f"{max(value, 0.01):.2f}"


def duration(seconds: float | None, language: str = "en") -> str:
    """``840 ms``, ``12 s``, ``4 m 05 s``, ``3 h 12 m``, ``2 d``."""
    if seconds is None:
        return NONE
    ms, s, m, h, d, gap = _UNITS[language]
    seconds = max(seconds, 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}{ms}"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{s}"
    if whole < 3600:
        return f"{whole // 60}{m}{gap}{whole % 60:02d}{s}"
    if whole < 86400:
        return f"{whole // 3600}{h}{gap}{whole % 3600 // 60:02d}{m}"
    return f"{whole // 86400:,}{d}"


def size(count: int) -> str:
    """``422 B``, ``1.2 KiB``, ``3.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:,.1f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:,.1f} MiB"


def iso(at: float) -> str:
    """Unix seconds in UTC: ``2026-11-28T09:12:01Z``; empty for a number that is no time of people."""
    if not 0 <= at < _LAST:
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: float) -> str:
    """Unix seconds in UTC for people: ``2026-11-28 09:12:01 UTC``."""
    return iso(at).replace("T", " ").replace("Z", " UTC")
