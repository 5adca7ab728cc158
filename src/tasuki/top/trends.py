"""Trends: how many messages were ready in each queue at the last refreshes; no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tasuki.desk.reading.snapshot import Snapshot

POINTS = 16
"""Refreshes that are remembered."""


class Trends:
    """Belongs to the reading thread; what it gives is a copy."""

    def __init__(self) -> None:
        self._taken = float("-inf")
        self._points: dict[str, deque[int]] = {}

    def note(self, snapshot: Snapshot) -> None:
        """Keep the counts of a snapshot, once."""
        if snapshot.taken <= self._taken:
            return
        self._taken = snapshot.taken
        known = self._points
        self._points = {id: known.get(id) or deque(maxlen=POINTS) for id in snapshot.queues}
        for id, row in snapshot.queues.items():
            if row.depth is not None:
                self._points[id].append(row.ready)

    def of(self, queue: str) -> Sequence[int]:
        """The counts of a queue, the oldest first."""
        return list(self._points.get(queue, ()))
