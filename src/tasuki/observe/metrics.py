"""Metrics as plain numbers: counted on the hot path without labels or locks, exported only on request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(slots=True, eq=False, kw_only=True)
class QueueMetrics:
    """Counts of the publishing side of one queue, since the process started."""

    queue: str
    driver: str
    published: int = 0
    rejected: int = 0
    unknown: int = 0
    late_replies: int = 0
    """Replies to requests here that came after their requests had timed out."""


@dataclass(slots=True, eq=False, kw_only=True)
class ConsumerMetrics:
    """Counts of the deliveries of one consumer, since the process started."""

    consumer: str
    queue: str
    driver: str
    handler_seconds: Histogram = field(default_factory=Histogram)
    delivered: int = 0
    redelivered: int = 0
    acked: int = 0
    nacked: int = 0
    released: int = 0
    replied: int = 0
    requesters_gone: int = 0
    result_errors: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    cancelled: int = 0
    failed: int = 0
    timed_out: int = 0
    stale: int = 0
    lease_lost: int = 0

    def as_dict(self) -> dict[str, int | float | str]:
        """All counters by name, sorted, with the histogram as ``handler_count`` and ``handler_seconds``."""
        counters = {name: getattr(self, name) for name in sorted(self.__slots__) if name != "handler_seconds"}
        return {**counters, "handler_count": self.handler_seconds.count, "handler_seconds": self.handler_seconds.sum}
