"""Allowance: how much of a storm of failures is recorded, and for how long."""

from __future__ import annotations

from tasuki.flow.attempts import TTL

AT_ONCE = 1000
"""Records of failures that come together."""
PER_SECOND = 300
"""Records of a second, once so many have come: at whatever rate messages fail, they cost a fiftieth of a processor."""
PER_HOUR = 100_000
"""Records of an hour: a store in memory must not be filled by them."""
_HOUR = 3600.0
_TOO_FAST = f"more than {PER_SECOND} fail in a second"


class Allowance:
    """Of one run of a consumer; it leaves at most about twice ``PER_HOUR`` records in the store, at whatever rate."""

    def __init__(self) -> None:
        self._left, self._at = float(AT_ONCE), float("-inf")
        self._hour_ends = float("-inf")
        self._of_hour = self._of_hour_before = 0

    def take(self, now: float) -> str:
        """For a failed attempt; empty, or why it is not recorded. ``now``: seconds of a clock that never goes back."""
        self._left, self._at = min(self._left + (now - self._at) * PER_SECOND, float(AT_ONCE)), now
        if self._left < 1:
            return _TOO_FAST
        if now >= self._hour_ends:
            self._of_hour_before = self._of_hour if now < self._hour_ends + _HOUR else 0
            self._hour_ends, self._of_hour = now + _HOUR, 0
        if self._of_hour >= PER_HOUR:
            return f"more than {PER_HOUR} fail in an hour"
        self._of_hour += 1
        self._left -= 1
        return ""

    def ttl(self) -> float:
        """Seconds for which records of now are kept: seven days, and down to an hour the more there are."""
        return min(TTL, PER_HOUR / max(self._of_hour, self._of_hour_before, 1) * _HOUR)
