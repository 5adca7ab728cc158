"""The moments of wall times in a time zone, also where its clocks change.

A job with fixed hours and minutes (``30 2 * * *``) fires once for each of its wall times: in a gap at the end of the
gap, where the times of one gap make a single tick, and in an overlap at the first of the two moments. Any other job
(``*/15 2 * * *``, ``30 * * * *``) fires whenever the clocks show one of its times: in a gap not at all, in an overlap
twice.

As in Debian's cron, the first character decides: lists, ranges and steps are fixed too (``0,30 1-3 * * *``,
``0/15 2 * * *``), unless the field of minutes or of hours begins with ``*`` (``30 */2 * * *``). A field that names all
values (``0-59``, ``0-23``) is equal to ``*``.
"""

from __future__ import annotations

import difflib
import math
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from tasuki.schedules.times.cron import Cron

_SECOND = timedelta(seconds=1)

_DAY = 86400

_BLOCK = 366 * _DAY
"""Seconds for which the changes of a zone are found, and remembered, at once."""

_OF_THIS_MACHINE = ("localtime", "posixrules", "posix/", "right/")


class Change(NamedTuple):
    """A moment (UTC seconds) at which the clocks of a zone change; their offsets (seconds east of UTC) around it."""

    at: int
    before: int
    after: int


def find_zone(name: str) -> tzinfo:
    """The time zone of an IANA name, such as ``Asia/Tokyo``; ``UTC`` needs no time zone database.

    Raises:
        ValueError: there is no such zone; the message has the nearest names.
    """
    if name == "UTC":
        return UTC
    if name.startswith(_OF_THIS_MACHINE):
        raise ValueError(f"timezone {name!r} differs between machines; write an area and a city, such as Asia/Tokyo")
    try:
        return zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise _unknown(name) from None


def _unknown(name: str) -> ValueError:
    known = zoneinfo.available_timezones()
    if not known:
        return ValueError(
            f"timezone {name!r} cannot be read, because this machine has no time zone database; "
            "run: pip install tzdata, or install the tzdata package of the system, or write UTC"
        )
    places = {place.rpartition("/")[2].lower(): place for place in sorted(known, reverse=True)}
    places |= {place.lower(): place for place in known}
    is_abbreviation = name.isupper() and "/" not in name  # JST is not nearly EST
    written = name.strip().lower().replace(" ", "_")
    near = [] if is_abbreviation else difflib.get_close_matches(written, places, 3, 0.75)
    names = list(dict.fromkeys(places[match] for match in near))
    hint = f"did you mean {' or '.join(names)}?" if names else "write an area and a city, such as Asia/Tokyo, or UTC"
    return ValueError(f"timezone {name!r} is unknown; {hint}")


def offset_at(zone: tzinfo, at: int) -> int:
    """Seconds east of UTC at a moment, in UTC seconds."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return offset // _SECOND if offset else 0


def changes(zone: tzinfo, start: int, end: int) -> Iterator[Change]:
    """The changes after ``start`` and before ``end``, in order."""
    for block in range(start // _BLOCK, end // _BLOCK + 1):
        for change in _changes_in(zone, block):
            if start < change.at < end:
                yield change


def changes_back(zone: tzinfo, start: int, end: int) -> Iterator[Change]:
    """The same, the last one first."""
    for block in range(end // _BLOCK, start // _BLOCK - 1, -1):
        for change in reversed(_changes_in(zone, block)):
            if start < change.at < end:
                yield change


@lru_cache(maxsize=4096)
def _changes_in(zone: tzinfo, block: int) -> tuple[Change, ...]:
    """Compare the offsets of each day and the next: no zone changes its clocks there and back within a day."""
    if zone is UTC:
        return ()
    found = []
    start = block * _BLOCK
    before = offset_at(zone, start)
    for day in range(start, start + _BLOCK, _DAY):
        after = offset_at(zone, day + _DAY)
        if after != before:
            found.append(Change(_first_with(zone, after, day, day + _DAY), before, after))
        before = after
    return tuple(found)


def _first_with(zone: tzinfo, offset: int, low: int, high: int) -> int:
    """The first moment with an offset that ``high`` has and ``low`` has not."""
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == offset:
            high = middle
        else:
            low = middle
    return high


_LONGEST_OVERLAP = 2 * 86400
"""Seconds that a clock may be set back, with a margin: across the date line it is a day."""


_STRETCH = 30 * 86400
"""Seconds that are searched for changes at once: most jobs tick sooner."""


class _Span(NamedTuple):
    """Moments, in UTC seconds, between which the offset of a zone stays the same; ``end`` is not included."""

    start: int
    end: int
    change: Change
    """The last change, if it is recent."""

    def first_wall(self, cron: Cron) -> int:
        """The first wall time of a job that belongs to this span.

        For a job with fixed times they run on across a change: they begin where the last span ended.
        """
        shown = self.start + self.change.after
        if not cron.is_fixed:
            return shown
        seen = self.change.at + self.change.before
        return seen if self.start == self.change.at else max(seen, shown)

    @property
    def end_wall(self) -> int:
        """The wall time at its end."""
        return self.end + self.change.after

    def moment(self, wall: int) -> int:
        """The moment of a wall time; of one in a gap: the end of the gap."""
        return max(wall - self.change.after, self.start)


def moments(cron: Cron, zone: tzinfo, start: int, end: int) -> Iterator[int]:
    """The ticks from ``start`` to just before ``end``, in UTC seconds, ascending, none twice."""
    wall, last = None, None
    searched = math.inf
    """``wall`` is the first wall time from here on."""
    for span in _spans(zone, start, end):
        first = span.first_wall(cron)
        # Known already, unless the clocks were put back, or forward over it.
        if searched > first or (wall is not None and wall < first):
            wall, searched = cron.next_wall(first - 1), first
        if wall is None:
            return
        while wall is not None and wall < span.end_wall:
            moment = span.moment(wall)
            if moment != last:
                yield moment
            last, searched = moment, wall + 1
            wall = cron.next_wall(wall)


def moments_back(cron: Cron, zone: tzinfo, start: int, end: int) -> Iterator[int]:
    """The same ticks, descending."""
    wall, last = None, None
    searched = -math.inf
    """``wall`` is the last wall time before this one."""
    for span in _spans_back(zone, start, end):
        if searched < span.end_wall or (wall is not None and wall >= span.end_wall):
            wall, searched = cron.last_wall(span.end_wall), span.end_wall
        if wall is None:
            return
        while wall is not None and wall >= span.first_wall(cron):
            moment = span.moment(wall)
            if moment != last:
                yield moment
            last, searched = moment, wall
            wall = cron.last_wall(wall)


def count_moments(cron: Cron, zone: tzinfo, start: int, end: int) -> int:
    """How many ticks there are from ``start`` to just before ``end``, without visiting each."""
    count = 0
    for span in _spans(zone, start, end):
        first, shown = span.first_wall(cron), span.start + span.change.after
        if first < shown:  # a gap: its wall times and the one at its end are one tick
            count += cron.count(first, shown + 1) > 0
            first = shown + 1
        count += cron.count(first, span.end_wall)
    return count


def _spans(zone: tzinfo, start: int, end: int) -> Iterator[_Span]:
    while start < end:
        stop = min(end, start + _STRETCH)
        change = _latest(zone, start)
        for following in changes(zone, start, stop):
            yield _Span(start, following.at, change)
            start, change = following.at, following
        yield _Span(start, stop, change)
        start = stop


def _spans_back(zone: tzinfo, start: int, end: int) -> Iterator[_Span]:
    while start < end:
        stop = max(start, end - _STRETCH)
        for change in changes_back(zone, stop, end):
            yield _Span(change.at, end, change)
            end = change.at
        yield _Span(stop, end, _latest(zone, stop))
        end = stop


def _latest(zone: tzinfo, at: int) -> Change:
    """The last change until a moment, if it may matter yet; else one that changes nothing."""
    offset = offset_at(zone, at)
    return next(changes_back(zone, at - _LONGEST_OVERLAP, at + 1), Change(at, offset, offset))
