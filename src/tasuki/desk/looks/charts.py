"""Charts: lines of numbers as paths of SVG; no I/O. Their colours are in the style sheet, their texts in the pages."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tasuki.desk.reading.observed.past import QueuePast


class Chart(NamedTuple):
    """Paths in a box of ``width`` by ``height``; ``most``: the number at its upper edge."""

    width: int
    height: int
    most: int
    paths: Sequence[tuple[str, str]]
    """Name and ``d``; a line of zeros has none."""


def chart(lines: Sequence[tuple[str, Sequence[int]]], width: int, height: int) -> Chart:
    """Lines of equal length over one scale."""
    most = max((max(numbers, default=0) for _, numbers in lines), default=0)
    drawn = [(name, path(numbers, most, width, height)) for name, numbers in lines if any(numbers)]
    return Chart(width, height, most, drawn)


def path(numbers: Sequence[int], most: int, width: int, height: int) -> str:
    """A line through the numbers; runs of equal height are one stroke."""
    step = width // max(len(numbers) - 1, 1)
    heights = [height - 1 - round(number * (height - 2) / most) for number in numbers]
    parts = [f"M0 {heights[0]}"]
    run = 0
    for before, here in itertools.pairwise(heights):
        if before == here:
            run += step
            continue
        if run:
            parts.append(f"h{run}")
            run = 0
        parts.append(f"l{step} {here - before}")
    if run:
        parts.append(f"h{run}")
    return "".join(parts)


@lru_cache(maxsize=2000)
def spark(past: QueuePast) -> Chart:
    """The hour of a queue in a cell: done and failed messages."""
    return chart([(name, past.lines[name]) for name in ("done", "failed")], 118, 22)


def chart_of(lines: Mapping[str, Sequence[int]]) -> Chart:
    """An hour, or five minutes, across a page."""
    return chart([(name, lines[name]) for name in ("published", "done", "failed")], 590, 110)
