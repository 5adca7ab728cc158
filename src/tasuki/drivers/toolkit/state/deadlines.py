"""Deadlines: when the keys of a watch expire, by the clock of this process; no I/O."""

from __future__ import annotations

import heapq
from math import inf

_STALE = 64
"""Times of other deadlines that may be left, beside one for each key."""


class Deadlines:
    """At most one deadline for each key. The clock here only decides when to ask the store, whose clock decides."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._ends)

    def set(self, key: str, at: float | None) -> None:
        """The key expires at this time; None: it does not, or it is gone."""
        if at is None:
            self._ends.pop(key, None)
            return
        self._ends[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._ends) + _STALE:
            self._heap = [(at, key) for key, at in self._ends.items()]
            heapq.heapify(self._heap)

    def at(self, key: str) -> float | None:
        """When the key expires; None: not known, or never."""
        return self._ends.get(key)

    @property
    def next(self) -> float:
        """The next deadline; infinity if there is none."""
        heap = self._heap
        while heap and self._ends.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else inf

    def due(self, now: float) -> list[str]:
        """Take out the keys whose deadline has come."""
        keys = []
        while self.next <= now:
            _, key = heapq.heappop(self._heap)
            del self._ends[key]
            keys.append(key)
        return keys
