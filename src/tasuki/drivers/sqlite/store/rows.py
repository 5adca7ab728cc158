"""What the store handles: a message to insert, a queue's counters, and a message on its way."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

Row = tuple[str, bytes, bytes, int, str | None, float]
"""A message to insert: id, body, headers, rank, key, published_at."""
NO_LANES: Mapping[int, str] = MappingProxyType({})
"""A batch whose messages all have the lane ''."""

_encode = msgspec.json.Encoder().encode


def first_delivery() -> int:
    """Where a connection begins to number what it hands out; these numbers are its receipts.

    It is random, so that no receipt comes again, also after the file was put back to an earlier state. Older versions
    count on from it: half of the numbers are left to them.
    """
    return 2**61 + secrets.randbelow(2**61)


def numbers_text(numbers: Collection[object]) -> str:
    """Numbers as the JSON list that ``json_each`` reads: one parameter, however many there are."""
    return _encode(list(numbers)).decode()


def names_text(names: Collection[str]) -> str:
    """The same for texts."""
    return _encode(list(names)).decode()


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
    newest: int
    """The highest number that a message of the queue ever had: the next one is higher, so that none is used again."""
    is_limited: bool
    """Whether it has a limit or lanes."""

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """The counters, in the order of their columns."""
        return self.total, self.held, self.delayed, self.newest

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
