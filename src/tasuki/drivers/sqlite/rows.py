"""What the store handles: a message to insert, a queue's counters, and a message on its way."""

from __future__ import annotations

from dataclasses import dataclass

Row = tuple[str, bytes, bytes, int, str | None, float]
"""A message to insert: id, body, headers, rank, key, published_at."""


@dataclass(slots=True)
class Tally:
    """A queue's row during a transaction; written back at its end."""

    queue: int
    lease: float
    max_length: int | None
    by_key: bool
    dedup_window: float | None
    total: int
    held: int
    delayed: int

    @property
    def ready(self) -> int:
        """Messages that are neither held nor delayed."""
        return self.total - self.held - self.delayed


@dataclass(slots=True)
class Place:
    """A message on its way into ``ready``, ``delayed`` or ``lines``."""

    seq: int
    queue: int
    rank: int
    attempts: int
    key: str | None
    ready_at: float = 0.0
