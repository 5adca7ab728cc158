"""The records of the store: messages as rows to insert, a queue's counters, and a message on its way. No I/O."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from tasuki.contracts.driver import Outgoing, Unique
from tasuki.errors import DriverError, MessageTooLargeError, UnsupportedError

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


_encode_headers = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Encoded:
    """A batch for the store: ``refused`` by the index of the message, all else by the index of the row.

    ``delays`` are seconds, ``always`` are the messages that are stored even if their ids are known, ``lanes`` the
    lanes that are not ''.
    """

    rows: list[Row] = field(default_factory=list)
    delays: dict[int, float] = field(default_factory=dict)
    always: set[int] = field(default_factory=set)
    uniques: dict[int, Unique] = field(default_factory=dict)
    lanes: dict[int, str] = field(default_factory=dict)
    refused: dict[int, DriverError] = field(default_factory=dict)


def encoded(batch: Sequence[Outgoing], *, driver: str, queue: str, now: float, most: int) -> Encoded:
    """Encode a batch, and refuse what cannot be kept; ``most``: bytes of the largest message."""
    work = Encoded()
    for index, message in enumerate(batch):
        try:
            headers = _encode_headers(message.headers)
        except (TypeError, ValueError, OverflowError) as problem:
            why = f"its headers cannot be kept: {problem}"
            work.refused[index] = _refusal(UnsupportedError, driver, queue, message, why)
            continue
        if len(message.body) > most:
            why = f"it is larger than {most} bytes"
            work.refused[index] = _refusal(MessageTooLargeError, driver, queue, message, why)
            continue
        if message.delay > 0:
            work.delays[len(work.rows)] = message.delay
        if not message.deduplicate:
            work.always.add(len(work.rows))
        if message.unique is not None:
            work.uniques[len(work.rows)] = message.unique
        if message.lane:
            work.lanes[len(work.rows)] = message.lane
        work.rows.append((message.id, message.body, headers, 9 - message.priority, message.key, now))
    return work


def _refusal(kind: type[DriverError], driver: str, queue: str, message: Outgoing, why: str) -> DriverError:
    return kind(f"message {message.id!r} was not stored: {why}", driver=driver, queue=queue)
