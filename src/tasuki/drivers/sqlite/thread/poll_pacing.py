"""When the writer looks for what other processes committed, and when it may sleep until one of them rings.

No I/O and no clock: the writer tells what it did and when, by its monotonic clock, and asks how long to wait.
"""

from __future__ import annotations

from typing import NamedTuple

LONGEST, SHORTEST = 0.04, 0.001
"""Seconds between checks: the least while messages flow, the most after a second without any."""
QUIET = 0.02
"""Seconds without a message after which watching for wake-ups is worth its system calls; before, polling is."""
AHEAD = 0.2
"""Seconds by which answers to rings may be ahead of the pace of looks: opening, declaring, publishing all ring."""
MISSES = 2
"""So often in a row may a message come without a ring. Once proves nothing: its publisher may just be about to ring."""


class Pause(NamedTuple):
    """How long to wait for a request; a deep pause ends with a ring too."""

    seconds: float
    is_deep: bool


class Looks:
    """When checks and wake-ups found messages, while receives wait."""

    def __init__(self) -> None:
        self.is_deaf = False
        """Whether wake-ups cannot be relied on: then the thread polls."""
        self._news_at = 0.0
        self._checked_at = 0.0
        self._answered_until = 0.0
        """Until when looks without rings would have cost as much as the answers to rings did."""
        self._is_rung = False
        self._is_clear = False
        """Whether a check has covered all earlier wake-ups; only then the next one is new, and another process's."""
        self._misses = 0

    def pause(self, now: float, until: float) -> Pause:
        """The wait, not beyond ``until``. However many rings there are, it looks hardly more often than without."""
        if self._is_clear and not self.is_deaf and now - self._news_at >= QUIET:
            return Pause(max(until - now, 0.0), is_deep=True)
        # A ring is answered at once, but for a crowd of them.
        due = self._answered_until - AHEAD if self._is_rung else self._checked_at + self._pace(now)
        return Pause(max(min(due, until) - now, 0.0), is_deep=False)

    def rang(self) -> None:
        """A deep pause ended with a ring."""
        self._is_clear = False
        self._is_rung = True
        self._misses = 0

    def worked(self, now: float, *, has_rung: bool, has_taken: bool) -> None:
        """A transaction of this driver is over; it saw all that others had committed before."""
        self._checked_at = now
        self._is_rung = False
        if has_taken:
            self._news_at = now
        if has_rung:
            self._is_clear = False

    def looked(self, now: float, *, has_heard: bool, has_found: bool) -> bool:
        """It looked, after it forgot the rings so far; ``has_heard``: there were some. False: do not rely on rings."""
        has_missed = has_found and self._is_clear and not has_heard and not self.is_deaf
        if has_found and has_heard:
            self._misses = 0
        self._misses += has_missed
        if self._is_rung:
            self._answered_until, self._is_rung = max(self._answered_until, now) + self._pace(now), False
        self._checked_at = now
        self._is_clear = not has_found
        return not has_missed or self._misses < MISSES

    def _pace(self, now: float) -> float:
        return min(max((now - self._news_at) * LONGEST, SHORTEST), LONGEST)
