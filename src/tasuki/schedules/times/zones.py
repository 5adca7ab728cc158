"""Time zones: by their names, and the moments at which their clocks change."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

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
