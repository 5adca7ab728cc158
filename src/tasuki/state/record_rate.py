"""How many failed attempts are recorded: by one run of a consumer, and by a process in an hour."""

from __future__ import annotations

PER_HOUR = 10_000
"""Records of an hour, of all consumers of the process: they must not fill the store."""

EACH = 1_000
"""Records of an hour that each consumer has, whatever the others have written."""

_HOUR = 3600.0


class HourlyRecords:
    """The hour of one process and store. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._ends = float("-inf")
        self._before = 0
        self._by_consumer: dict[str, int] = {}
        self._count = 0

    def take(self, consumer: str, now: float) -> bool:
        """For one record of a consumer; whether there is room."""
        if now >= self._ends:
            self._before = self._count if now < self._ends + _HOUR else 0
            self._ends, self._count, self._by_consumer = now + _HOUR, 0, {}
        own = self._by_consumer.get(consumer, 0)
        if self._count >= PER_HOUR and own >= EACH:
            return False
        self._count += 1
        self._by_consumer[consumer] = own + 1
        return True

    def longest(self) -> float:
        """Most seconds for which a record of now may be kept: the more there are, the fewer; an hour or more."""
        return max(PER_HOUR / max(self._count, self._before, 1), 1.0) * _HOUR


AT_ONCE = 1000
"""Records of failures that come together."""

PER_SECOND = 300
"""Records a second, after a burst of this many: at whatever rate messages fail, they cost a fiftieth of a processor."""


class Allowance:
    """The allowance of one run of a consumer; ``hour``: shared by the consumers of a process and store."""

    def __init__(self, consumer: str, hour: HourlyRecords) -> None:
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
