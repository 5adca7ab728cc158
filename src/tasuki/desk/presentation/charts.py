"""Charts: numbers as paths and places of SVG, which templates draw; ``None`` is unknown and leaves a gap; no I/O.

Paths are in boxes that are as wide as the chart has slots (minutes, or steps of 5 s) and ``HEIGHT`` high; places of
grid lines and labels are percentages, so that a browser stretches paths and not text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import log2, log10
from typing import NamedTuple

from tasuki.desk.reading.recent import QueuePast
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.observe.history import MINUTE, MINUTES
from tasuki.observe.metrics import BUCKETS

HEIGHT = 100
_TOP, _BASE, _LOW_TOP, _LOW = 4, 68, 78, 90
"""Upper and lower edge of the two storeys of a plot: messages in and out, and failures."""
_TICKS = 6
_LEAST = 0.05
"""The scale of the failures is at least this share of the other one, so that a trickle is not a flood."""

Line = Sequence[int | None]


class GridLine(NamedTuple):
    """A grid line in percent of the width or height, with what it stands for."""

    at: float
    value: float


class Plot(NamedTuple):
    """Messages in, out and failed of each slot, a second."""

    slots: int
    paths: Sequence[tuple[str, str]]
    """Class and ``d``."""
    xs: Sequence[GridLine]
    """Unix seconds."""
    ys: Sequence[GridLine]
    """Messages a second."""
    fails: GridLine
    """The upper edge of the failures."""
    known: int
    """Slots that are known: the rest, up to now, is not written yet."""
    rows: Sequence[tuple[float, Sequence[float | None]]]
    """Unix seconds, and the three numbers a second."""


def plot_of(
    lines: Mapping[str, Line], start: float, seconds: float = MINUTE, unknown: int = 0, *, is_log: bool = False
) -> Plot:
    """The lines ``published``, ``done`` and ``failed`` of slots of these seconds; ``unknown``: how many follow."""
    into, out, failed = ([*lines[name], *[None] * unknown] for name in ("published", "done", "failed"))
    rates = [[None if each is None else each / seconds for each in line] for line in (into, out, failed)]
    most = _nice(rates[:2])
    worst = max(_nice(rates[2:]), most * _LEAST)

    def place(rate: float) -> float:
        share = log10(1 + rate * 60) / log10(1 + most * 60) if is_log else rate / most
        return _BASE - share * (_BASE - _TOP)

    ends = [[None if each is None else place(each) for each in line] for line in rates[:2]]
    bars = "".join(
        f"M{at + 0.15:g} {_LOW}v-{max(each / worst * (_LOW - _LOW_TOP), 1):.1f}h.7V{_LOW}z"
        for at, each in enumerate(rates[2])
        if each
    )
    area = "".join(f"{part}V{_BASE}H{first + 0.5}z" for first, part in _runs(ends[1]))
    paths = [("area", area), ("published", _joined(ends[0])), ("done", _joined(ends[1])), ("failed", bars)]
    powers = [10.0**power / MINUTE for power in range(7)]
    marks = [0.0, *(each for each in powers if each < most), most] if is_log else [0.0, most / 2, most]
    return Plot(
        len(into),
        [(name, d) for name, d in paths if d],
        ticks_of(start, len(into), seconds),
        [GridLine(place(each), each) for each in marks],
        GridLine(_LOW_TOP, worst),
        len(into) - unknown,
        [(start + at * seconds, each) for at, each in enumerate(zip(*rates, strict=True))],
    )


def hour_of(lines: Mapping[str, Line], ends: float | None, now: float, *, is_log: bool = False) -> Plot | None:
    """The hour up to ``ends`` and the unknown minutes since; None: it is not known, or nothing happened."""
    if ends is None or not any(map(any, lines.values())):
        return None
    return plot_of(lines, ends - MINUTES * MINUTE, MINUTE, min(max(int((now - ends) // MINUTE), 0), 9), is_log=is_log)


def ticks_of(start: float, slots: int, seconds: float) -> list[GridLine]:
    """About six round times."""
    step = seconds * 10 if slots > 30 else seconds * 5
    first = -(-start // step) * step
    found = [first + number * step for number in range(int((start + slots * seconds - first) // step) + 1)]
    return [GridLine(round((each - start) / (slots * seconds) * 100, 2), each) for each in found]


def _runs(places: Sequence[float | None]) -> Iterator[tuple[int, str]]:
    """The known parts of a line, each with its first slot."""
    for is_known, part in groupby(enumerate(places), key=lambda pair: pair[1] is not None):
        if is_known:
            points = [f"{at + 0.5} {place:.1f}" for at, place in part if place is not None]
            yield int(float(points[0].partition(" ")[0])), f"M{'L'.join(points)}"


def _joined(places: Sequence[float | None]) -> str:
    return "".join(part for _, part in _runs(places))


def _nice(lines: Sequence[Line | Sequence[float | None]]) -> float:
    """A round number, not below the most of them, nor below one message a minute."""
    most = max((each for line in lines for each in line if each), default=0.0)
    most = max(most, 1 / MINUTE)
    power = 10.0 ** (len(str(int(most))) - 1) if most >= 1 else 0.1 if most > 0.1 else 0.01
    return next(each * power for each in (1, 2, 3, 4, 6, 8, 10) if each * power >= most * 0.999)


class Heat(NamedTuple):
    """How many messages took how long, minute by minute: paths of five levels, and the 95th percentile over them."""

    slots: int
    levels: Sequence[tuple[int, str]]
    p95: str
    height: int
    """Rows of buckets."""
    xs: Sequence[GridLine]
    ys: Sequence[GridLine]
    """Seconds."""
    rows: Sequence[tuple[float, int, float | None]]
    """Unix seconds, count, and the percentile in seconds."""


def heat_of(past: QueuePast, name: str) -> Heat | None:
    """Of the waits or runs (``wait``, ``run``) of the hour of a queue; None: there was none."""
    counts, high = past.hour.counts(name, past.newest), past.p95(name)
    used = [bucket for minute in counts for bucket, count in enumerate(minute) if count]
    if not used:
        return None
    first, last = max(min(used) - 1, 0), max(used) + 2
    last = max(last, first + 8)

    def place(seconds: float) -> float:
        above = min(bisect_left(BUCKETS, seconds), len(BUCKETS) - 1)
        below = BUCKETS[above - 1] if above else BUCKETS[0] / 2
        return last - above - max(log2(seconds / below) / log2(BUCKETS[above] / below), 0)

    starts = (past.newest - len(counts) + 1) * MINUTE
    lines = [None if each is None else place(max(each, BUCKETS[0] / 2)) for each in high]
    step = max((last - first) // _TICKS, 1)
    marks = range(first, min(last, len(BUCKETS)), step)
    return Heat(
        len(counts),
        _levels(counts, first, last),
        _joined(lines),
        last - first,
        ticks_of(starts, len(counts), MINUTE),
        [GridLine(round((last - each - 1) / (last - first) * 100, 2), BUCKETS[each]) for each in marks],
        [(starts + at * MINUTE, sum(each), high[at]) for at, each in enumerate(counts)],
    )


def _levels(counts: Sequence[Sequence[int]], first: int, last: int) -> list[tuple[int, str]]:
    """Cells of five levels, by the logarithm of their counts; equal neighbours are one."""
    most = log2(1 + max(map(max, counts)))
    levels: dict[int, list[str]] = {}
    for row in range(first, last):
        found = [sum(each[row : row + 1]) for each in counts]
        heats = [int(log2(1 + count) / most * 4.99) + 1 if count else 0 for count in found]
        at = 0
        for heat, part in groupby(heats):
            wide = len(list(part))
            if heat:
                levels.setdefault(heat, []).append(f"M{at} {last - row - 1}h{wide}v1h-{wide}z")
            at += wide
    return [(level, "".join(parts)) for level, parts in sorted(levels.items())]


@lru_cache(maxsize=2000)
def spark(past: QueuePast, most: int) -> Sequence[tuple[str, str]]:
    """The hour of a queue in a cell: done messages as a line on a scale up to ``most``, and failures as ticks."""
    parts, before, run = list[str](), 20, 0
    for each in past.lines["done"]:
        here = 20 - round(each * 19 / max(most, 1))
        if parts and here == before:
            run += 2
            continue
        parts.append(f"M0 {here}" if not parts else f"{f'h{run}' if run else ''}l2 {here - before}")
        before, run = here, 0
    failed = "".join(f"M{at * 2} 22v-5h1.6v5z" for at, each in enumerate(past.lines["failed"]) if each)
    return [("done", "".join(parts) + (f"h{run}" if run else "")), *([("failed", failed)] if failed else [])]


def most_of(rows: Sequence[QueueRow]) -> int:
    """The scale of the sparklines of some rows: the most messages done in a minute."""
    return max((max(row.past.lines["done"]) for row in rows if row.past is not None), default=0)


_STATES = ("ready", "running", "delayed", "dead")
_THIN = 3.0
"""Percent of a bar that a state has at least, so that three dead letters beside a thousand ready ones are seen."""


def states(row: QueueRow, most: int) -> list[tuple[str, float, float]]:
    """State, place and width in percent: as long as the logarithm of all its messages, on a scale up to ``most``."""
    counts = {name: getattr(row, name) or 0 for name in _STATES}
    total = sum(counts.values())
    if not total:
        return []
    length = max(log10(1 + total) / log10(1 + max(most, total, 9)) * 100, 4 * _THIN)
    wide = {name: max(count / total * length, _THIN) for name, count in counts.items() if count}
    squeezed, at, found = length / sum(wide.values()), 0.0, []
    for name, width in wide.items():
        found.append((name, round(at, 1), round(width * squeezed - 0.4, 1)))
        at += width * squeezed
    return found


def messages_of(rows: Sequence[QueueRow]) -> int:
    """The scale of the bars of some rows: the most messages that one of them has."""
    return max((sum(getattr(row, name) or 0 for name in _STATES) for row in rows), default=0)
