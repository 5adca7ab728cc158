"""Timing: the ticks of a schedule, the moments at which it fires, in whole UTC seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import lru_cache
from itertools import islice

from tasuki.schedules.cron import Cron
from tasuki.schedules.wall_time import count_moments, find_zone, moments, moments_back
from tasuki.units import format_duration, parse_duration

_LAST = 221_845_392_000
"""The year 9000, in UTC seconds: calendars of Python end soon after."""


@dataclass(frozen=True, slots=True)
class Every:
    """A tick every this many seconds, counted from 1970-01-01 00:00 UTC: a restart does not shift them."""

    seconds: int

    def ticks(self, start: int, end: int) -> Iterator[int]:
        """From ``start`` to just before ``end``, ascending."""
        return iter(range(-(-start // self.seconds) * self.seconds, end, self.seconds))

    def ticks_back(self, start: int, end: int) -> Iterator[int]:
        """The same, descending."""
        return iter(range((end - 1) // self.seconds * self.seconds, start - 1, -self.seconds))

    def count(self, start: int, end: int) -> int:
        """How many these are."""
        return max((end - 1) // self.seconds - (start - 1) // self.seconds, 0)


@dataclass(frozen=True, slots=True)
class InZone:
    """A cron expression by the clocks of a time zone."""

    cron: Cron
    zone_name: str
    zone: tzinfo = field(compare=False, repr=False)

    def ticks(self, start: int, end: int) -> Iterator[int]:
        """From ``start`` to just before ``end``, ascending."""
        return moments(self.cron, self.zone, start, end)

    def ticks_back(self, start: int, end: int) -> Iterator[int]:
        """The same, descending."""
        return moments_back(self.cron, self.zone, start, end)

    def count(self, start: int, end: int) -> int:
        """How many these are."""
        return count_moments(self.cron, self.zone, start, end)


Timing = Every | InZone
"""When a schedule fires; schedules with equal timings have the same ticks."""


@lru_cache(maxsize=16_384)
def cron_timing(cron: str, timezone: str = "UTC") -> InZone:
    """The timing of a cron expression, or a word such as ``@daily``, in an IANA time zone. Equal texts are parsed once.

    Raises:
        ValueError: not a cron expression, or no such zone; the message names the field and the remedy.
    """
    return InZone(Cron(cron), timezone, find_zone(timezone))


def every_timing(every: object) -> Every:
    """The timing of an interval, a duration of whole seconds.

    Raises:
        ValueError: not a duration, none of whole seconds, or less than one.
    """
    seconds = parse_duration(every)
    if seconds < 1 or not seconds.is_integer():
        raise ValueError(f"every {format_duration(seconds)} is not 1 or more whole seconds; write it like 30s or 1h30m")
    return Every(int(seconds))


def ticks(timing: Timing, after: int, until: int) -> Iterator[int]:
    """The ticks later than ``after``, and not later than ``until``; ascending; found while they are read.

    Ticks are never before 1970, nor after the year 9000.
    """
    return timing.ticks(*_bounds(after, until))


def ticks_back(timing: Timing, until: int, after: int = -1) -> Iterator[int]:
    """The same ticks, descending."""
    return timing.ticks_back(*_bounds(after, until))


def next_tick(timing: Timing, after: int) -> int | None:
    """The first tick later than ``after``; None if there is none within 50 years."""
    return next(ticks(timing, after, _LAST), None)


def last_tick(timing: Timing, until: int) -> int | None:
    """The last tick that is not later than ``until``; None if there is none since 1970."""
    return next(ticks_back(timing, until), None)


def nth_last_tick(timing: Timing, number: int, after: int, until: int) -> int | None:
    """Of the ticks from ``after`` to ``until`` the one with ``number - 1`` behind it; None if there are fewer."""
    return next(islice(ticks_back(timing, until, after), number - 1, None), None)


def count_ticks(timing: Timing, after: int, until: int) -> int:
    """How many ticks are later than ``after`` and not later than ``until``; visits days and changes, not ticks."""
    return timing.count(*_bounds(after, until))


def _bounds(after: int, until: int) -> tuple[int, int]:
    """The first second, and the one after the last."""
    return max(after + 1, 0), min(until, _LAST) + 1
