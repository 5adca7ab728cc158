"""Catch-up: the ticks to publish late, after a time without a worker.

All ticks until the mark are published. Of the ticks between the mark and now, ``skip`` publishes the last 60 seconds,
``one`` the latest tick, ``all`` the latest 1,000. So every choice has a moment: it drops the ticks before.
"""

from __future__ import annotations

from tasuki.schedules.schedule import CatchUp
from tasuki.schedules.times.timing import Timing, count_ticks, last_tick, nth_last_tick

LATE = 60
"""Seconds: an older tick is dropped by ``skip``."""
MOST = 1000
"""Ticks that ``all`` publishes of one schedule."""


def begin(timing: Timing, catch_up: CatchUp, mark: int, now: int) -> int:
    """The moment, never before the mark, after which the ticks until now are published; in UTC seconds."""
    if catch_up == "skip":
        return max(mark, now - LATE - 1)
    first = last_tick(timing, now) if catch_up == "one" else nth_last_tick(timing, MOST, mark, now)
    return mark if first is None else max(mark, first - 1)


def dropped(timing: Timing, catch_up: CatchUp, mark: int, now: int) -> int:
    """How many ticks between mark and now are not published."""
    return count_ticks(timing, mark, begin(timing, catch_up, mark, now))
