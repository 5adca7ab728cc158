"""Allowance: limits how many failed attempts one run of a consumer records."""

from __future__ import annotations

from tasuki.observe.history.attempts import PER_HOUR, Hour

AT_ONCE = 1000
"""Records of failures that come together."""
PER_SECOND = 300
"""Records of a second, once so many have come: at whatever rate messages fail, they cost a fiftieth of a processor."""


class Allowance:
    """The allowance of one run of a consumer; ``hour``: shared by the consumers of a process and store."""

    def __init__(self, consumer: str, hour: Hour) -> None:
        self._consumer, self._hour = consumer, hour
        self._left, self._at = float(AT_ONCE), float("-inf")

    def take(self, now: float) -> str:
        """For a failed attempt; empty, or why it is not recorded. ``now``: seconds of a clock that never goes back."""
        self._left, self._at = min(self._left + (now - self._at) * PER_SECOND, float(AT_ONCE)), now
        if self._left < 1:
            return f"more than {PER_SECOND} fail in a second"
        if not self._hour.take(self._consumer, now):
            return f"more than {PER_HOUR} fail in an hour"
        self._left -= 1
        return ""
