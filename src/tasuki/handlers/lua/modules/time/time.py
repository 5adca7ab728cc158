"""time: the clock, durations and waiting. The .lua files of this name and its parts list the functions of scripts.

===============  ==========  ==================================
operation        arguments   returns
===============  ==========  ==================================
``time.sleep``   seconds     nothing, after that time
``os.clock``     -           seconds since this process began (of every script)
``time.now``     -           Unix nanoseconds
``time.zone``    name        its offsets, see ``zone``; NotFound
===============  ==========  ==================================
"""

from __future__ import annotations

import asyncio
import time as stdlib
from datetime import datetime, timedelta
from functools import lru_cache

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.lua.modules.time import timers

NAME = "time"
_STARTED = stdlib.monotonic()
_WEEK = 7 * 24 * 3600
_FIRST, _LAST = -2_750_000_000, 4_110_000_000
PARTS = ("timedurations", "timezones", "timeobjects", "timelayout", "timereaders", "timeparse", "timers")


async def sleep(_: Context, seconds: float) -> None:
    """Wait; zero or less lets the others run once."""
    await asyncio.sleep(max(0.0, seconds))


def now(_: Context) -> int:
    """Unix nanoseconds."""
    return stdlib.time_ns()


def clock(_: Context) -> float:
    """Seconds since this process began to run scripts."""
    return stdlib.monotonic() - _STARTED


def zone(_: Context, name: str) -> list[int | str]:
    """What the clocks of a place show: offset in seconds east and name, then instant, offset and name of each change.

    Changes are looked for once a week from 1883 to 2100; before and after, the first and the last offset hold.
    """
    return list(_changes(name))


@lru_cache(64)
def _changes(name: str) -> tuple[int | str, ...]:
    import zoneinfo

    try:
        place = zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        raise HandlerError(f"unknown time zone {name}", kind="NotFound", retryable=False) from None

    def shown(instant: int) -> tuple[int, str]:
        local = datetime.fromtimestamp(instant, place)
        return int((local.utcoffset() or timedelta()).total_seconds()), local.tzname() or ""

    found: list[int | str] = [*(last := shown(_FIRST))]
    for week in range(_FIRST + _WEEK, _LAST, _WEEK):
        if shown(week) != last:
            low, high = week - _WEEK, week
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if shown(middle) == last else (low, middle)
            last = shown(week)
            found += [high, *last]
    return tuple(found)


OPERATIONS = {"time.sleep": sleep, "time.now": now, "time.zone": zone, **timers.OPERATIONS}
