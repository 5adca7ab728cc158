"""When the writer polls for commits of other processes, and when it may sleep until one of them wakes it.

No I/O and no clock: the writer reports its work with the time of its monotonic clock, and asks how long to wait.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST, SHORTEST = 0.04, 0.001
"""Seconds between checks: the least while messages flow, the most after a second without any."""
QUIET = 0.02
"""Seconds without a message after which watching for wake-ups is worth its system calls; before, polling is."""
AHEAD = 0.2
"""Seconds by which answers to wake-ups may be ahead of the pace of polling: opening, declaring, publishing all wake."""
MISSES = 2
"""Missed wake-ups in a row before they are distrusted; a single one may still be on its way."""


class Pause(NamedTuple):
    """How long to wait for a request; a deep pause ends with a wake-up too."""

    seconds: float
    is_deep: bool


class PollPacing:
    """When checks and wake-ups found messages, while receives wait."""

    def __init__(self) -> None:
        self.must_poll = False
        """Whether wake-ups cannot be relied on: then the thread polls."""
        self._news_at = 0.0
        self._checked_at = 0.0
        self._answered_until = 0.0
        """Until when polling would have cost as much as the answers to wake-ups did."""
        self._is_woken = False
        self._is_clear = False
        """Whether a check has covered all earlier wake-ups; only then the next one is new, and another process's."""
        self._misses = 0

    def pause(self, now: float, until: float) -> Pause:
        """The wait, not beyond ``until``. Any number of wake-ups causes hardly more checks than polling."""
        if self._is_clear and not self.must_poll and now - self._news_at >= QUIET:
            return Pause(max(until - now, 0.0), is_deep=True)
        # Act on a wake-up at once; throttle a burst.
        due = self._answered_until - AHEAD if self._is_woken else self._checked_at + self._pace(now)
        return Pause(max(min(due, until) - now, 0.0), is_deep=False)

    def woke(self) -> None:
        """A deep pause ended with a wake-up."""
        self._is_clear = False
        self._is_woken = True
        self._misses = 0

    def worked(self, now: float, *, has_notified: bool, has_taken: bool) -> None:
        """A transaction of this driver is over; it saw all that others had committed before."""
        self._checked_at = now
        self._is_woken = False
        if has_taken:
            self._news_at = now
        if has_notified:
            self._is_clear = False

    def checked(self, now: float, *, was_woken: bool, has_found: bool) -> bool:
        """A check is over; ``was_woken``: a wake-up came before it. Returns False if wake-ups cannot be relied on."""
        has_missed = has_found and self._is_clear and not was_woken and not self.must_poll
        if has_found and was_woken:
            self._misses = 0
        self._misses += has_missed
        if self._is_woken:
            self._answered_until, self._is_woken = max(self._answered_until, now) + self._pace(now), False
        self._checked_at = now
        self._is_clear = not has_found
        return not has_missed or self._misses < MISSES

    def _pace(self, now: float) -> float:
        return min(max((now - self._news_at) * LONGEST, SHORTEST), LONGEST)
