"""Metrics as plain numbers: counted on the hot path without labels or locks, exported only on request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds."""


class Histogram:
    """Counts of observed seconds per bucket; ``counts`` has one more item than ``bounds``, for greater values."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds) if seconds > self.bounds[0] else 0] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


class QueueMetrics:
    """Counts of the publishing side of one queue, since the process started."""

    __slots__ = ("driver", "late_replies", "published", "queue", "rejected", "unknown")

    def __init__(self, *, queue: str, driver: str) -> None:
        self.queue = queue
        self.driver = driver
        self.published = 0
        self.rejected = 0
        self.unknown = 0
        self.late_replies = 0
        """Replies to requests here that came after their requests had timed out."""


class ConsumerMetrics:
    """Counts of the deliveries of one consumer, since the process started."""

    __slots__ = (
        "acked",
        "consumer",
        "dead_lettered",
        "delivered",
        "driver",
        "dropped",
        "failed",
        "handler_seconds",
        "lease_lost",
        "nacked",
        "queue",
        "redelivered",
        "released",
        "replied",
        "requesters_gone",
        "result_errors",
        "stale",
        "timed_out",
    )

    def __init__(self, *, consumer: str, queue: str, driver: str) -> None:
        self.consumer = consumer
        self.queue = queue
        self.driver = driver
        self.handler_seconds = Histogram()
        self.delivered = 0
        self.redelivered = 0
        self.acked = 0
        self.nacked = 0
        self.released = 0
        self.replied = 0
        self.requesters_gone = 0
        self.result_errors = 0
        self.dead_lettered = 0
        self.dropped = 0
        self.failed = 0
        self.timed_out = 0
        self.stale = 0
        self.lease_lost = 0

    def as_dict(self) -> dict[str, int | float | str]:
        """All counters by name, with the histogram as ``handler_count`` and ``handler_seconds``."""
        counters = {name: getattr(self, name) for name in self.__slots__ if name != "handler_seconds"}
        return {**counters, "handler_count": self.handler_seconds.count, "handler_seconds": self.handler_seconds.sum}
