"""Bars: the lines above and below the rows."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.cells import Line, Span, between, cut, fit_line, line_width, width_of
from tasuki.top.frame.styles import Signs

TABS = ("Queues", "Dead", "Workers", "Schedules", "Batches")
"""The views that the keys 1 to 5 open."""


def head(project: str, drivers: str, status: Span, clock: str, width: int, signs: Signs) -> Line:
    """Whose queues these are, and whether the picture is fresh."""
    right: list[Span] = [status, ("  ", ""), (clock, "dim")]
    room = width - line_width(right) - width_of(f"tasuki  {project}  ") - 1
    left: list[Span] = [("tasuki", "accent"), ("  ", ""), (signs.text(project), "bold")]
    if room >= width_of(drivers) or room > 20:
        left += [("  ", ""), (cut(signs.text(drivers), room, keep="end", more=signs.more), "dim")]
    return between(left, right, width, signs.more)


def totals(snapshot: Snapshot | None, width: int, signs: Signs) -> Line:
    """The sums over all queues; those with the least room go first."""
    if snapshot is None:
        return fit_line([("reading the queues …" if not signs.is_ascii else "reading the queues ...", "dim")], width)
    sums = snapshot.totals
    more_of = "+" if snapshot.uncounted else ""  # in the queues that could not be read

    def number(value: int | None, more_of: str = more_of) -> str:
        return amounts.count(value) + more_of if value is not None else signs.none

    def rate(value: float | None) -> str:
        return amounts.rate(value) + ("+" if sums.rates_unknown and value is not None else "")

    pairs: list[tuple[str, str, str]] = [
        ("READY", number(sums.ready), ""),
        ("RUN", f"{sums.running}/{sums.places}" if snapshot.knows_counts and sums.running is not None else signs.none,
         "ok" if sums.running else ""),
        ("DELAY", number(sums.delayed, "+" if sums.delayed_unknown else more_of), ""),
        ("DEAD", number(sums.dead), "warn" if sums.dead else ""),
        *([("IN", rate(sums.in_rate), "")] if sums.in_rate is not None else []),
        ("OUT", rate(sums.out_rate), ""),
        ("FAIL", rate(sums.failed_rate), "bad" if sums.failed_rate else ""),
        ("WORKERS", amounts.count(sums.workers), "warn" if sums.workers == 0 else ""),
    ]  # fmt: skip
    line: list[Span] = []
    for label, value, style in pairs:
        more: list[Span] = [
            ("  " if line else "", ""), (label, "dim"), (" ", ""), (signs.text(value), style or "bold")]  # fmt: skip
        if line_width([*line, *more]) > width:
            break
        line += more
    return fit_line(line, width, signs.more)


def tabs(current: int, right: Line, width: int, signs: Signs) -> Line:
    """The views, with the keys that open them; ``current``: the number of the one that is shown, from 0."""
    room = width - line_width(right) - 1
    for most in (9, 4, 0):
        line: list[Span] = []
        for at, name in enumerate(TABS):
            text = f"{at + 1} {name[:most]}".rstrip()
            line += [(" ", ""), (text, "tab" if at == current else "dim"), (" ", "")]
        if line_width(line) <= room:
            break
    return between(line, right, width, signs.more)


def crumbs(names: Sequence[str], right: Line, width: int, signs: Signs) -> Line:
    """The path to this place; of a long one the last name keeps the most room."""
    line: list[Span] = []
    room = width - line_width(right) - 2
    for at, name in enumerate(names):
        is_last = at == len(names) - 1
        line += [(f" {signs.into} ", "dim")] if at else []
        left = room - line_width(line) - (0 if is_last else 12 * (len(names) - 1 - at))
        text = cut(signs.text(name), max(left, 8), keep="end" if at else "start", more=signs.more)
        line.append((text, "bold" if is_last else "dim"))
    return between([(" ", ""), *line], right, width, signs.more)


def keys(pairs: Sequence[tuple[str, str]], width: int, signs: Signs) -> Line:
    """The keys of this place, as many as there is room for; the first ones are the most useful."""
    line: list[Span] = []
    for key, label in pairs:
        more: list[Span] = [("  " if line else " ", ""), (key, "bold"), (" ", ""), (label, "dim")]
        if line_width([*line, *more]) > width:
            break
        line += more
    return fit_line(line, width, signs.more)
