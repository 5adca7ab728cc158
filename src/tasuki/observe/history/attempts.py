"""Hour: limits the records of failed attempts that a process writes to a store in an hour, and their lifetime."""

from __future__ import annotations

PER_HOUR = 10_000
"""Records of an hour, of all consumers of the process: they must not fill the store."""
EACH = 1_000
"""Records of an hour that each consumer has, whatever the others have written."""
_HOUR = 3600.0


class Hour:
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
