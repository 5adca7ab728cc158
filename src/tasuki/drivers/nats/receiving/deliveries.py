"""Deliveries: received messages with their records, and the open deliveries of this process; no I/O.

The server knows a delivery by its reply subject, the receipt:
``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>``; newer servers and
domains put ``<domain>.<account>`` before the stream (ADR-15 of the NATS architecture records).
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import msgspec

from tasuki.contracts.driver import SILENCE
from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.records.side_records import LastError, Note

_PLAIN = 9


class ReplyParts(NamedTuple):
    """What a reply subject says."""

    stream: str
    consumer: str
    delivered: int
    """How often the message was delivered, this time included."""
    sequence: int
    """Its number in the stream."""
    published_at: float
    """When the server stored it, by the server's clock."""


def read(reply: str) -> ReplyParts | None:
    """The parts of a reply subject; None if it is not one of a delivery."""
    parts = reply.split(".")
    if len(parts) < _PLAIN or parts[:2] != ["$JS", "ACK"]:
        return None
    start = 2 if len(parts) == _PLAIN else 4
    try:
        stream, consumer, delivered, sequence, _, nanoseconds = parts[start : start + 6]
        return ReplyParts(stream, consumer, int(delivered), int(sequence), int(nanoseconds) / 1e9)
    except ValueError:
        return None


class Arrival(NamedTuple):
    """A message as it came in; ``at``: when (loop time)."""

    receipt: str
    parts: ReplyParts
    data: bytes
    at: float
    rank: int


class ParsedDelivery:
    """A received message, with its record once ``learn`` was called."""

    __slots__ = ("arrival", "body", "delivered", "failures", "has_lapsed", "head", "is_suspect", "note")

    def __init__(self, arrival: Arrival) -> None:
        parts = arrival.parts
        self.arrival = arrival
        self.head, self.body = unpack(arrival.data, f"{parts.stream}-{parts.sequence}")
        self.note: Note | None = None
        self.failures = 0
        """How many of its deliveries failed so far."""
        self.delivered = parts.delivered
        """How often it was delivered; the server may have forgotten some of them when it died."""
        self.has_lapsed = self.is_suspect = parts.delivered > 1
        """Whether a delivery ended without a settlement that the records do not have yet; and whether one ended so
        since the last failure."""

    def learn(self, note: Note | None) -> None:
        """Its entry in the records."""
        self.note = note
        if note is not None:
            self.failures = note.failures
            self.delivered = max(self.arrival.parts.delivered, note.delivered + 1)
            self.has_lapsed = self.delivered > note.delivered + 1
            self.is_suspect = self.has_lapsed or note.is_suspect

    @property
    def due(self) -> float:
        """When its time comes: as it was published, or as it was last put off if the server has forgotten that.

        A server that remembers has waited by its own clock; comparing the clocks of two machines is less exact.
        """
        note = self.note
        is_forgotten = note is not None and note.delivered >= self.arrival.parts.delivered
        return max(self.head.due, note.due) if note is not None and is_forgotten else self.head.due

    @property
    def last_error(self) -> LastError | None:
        """Why it failed last."""
        return None if self.note is None else self.note.last_error

    def returned(self, due: float = 0.0) -> tuple[Note, str]:
        """The note for a delivery that goes back unseen, and does not count."""
        return self._noted(due, self.delivered, is_suspect=self.is_suspect)

    def lapsed(self) -> tuple[Note, str]:
        """The note for a delivery that is handed over, and says that all before it are over."""
        return self._noted(0.0, self.delivered - 1, is_suspect=True)

    def _noted(self, due: float, ended: int, *, is_suspect: bool) -> tuple[Note, str]:
        parts = self.arrival.parts
        note = Note(parts.sequence, parts.consumer, due, self.failures, ended, is_suspect, self.last_error)
        return note.after(self.note), self.arrival.receipt

    def sign(self, content: bytes) -> tuple[str, str, bytes]:
        """What ``confirmed`` sends for it."""
        return self.arrival.parts.consumer, self.arrival.receipt, content


MARGIN = 0.05
"""Share of a lease in whose last part a return may come too late."""
_SWEEP = 1000


class Held(msgspec.Struct, gc=False):
    """One open delivery."""

    receipt: str
    lane: str
    sequence: int
    delivered: int
    since: float
    """When its lease began (monotonic)."""
    sure_at: float = 0.0
    """When its message was last known to be the stream's (loop time)."""
    failures: int = 0
    """How many deliveries of its message failed before this one."""
    is_suspect: bool = False
    last_error: LastError | None = None
    is_started: bool = False
    """Whether its start is recorded."""
    note: Note | None = None
    """The last note on its message, as far as it was read."""
    is_delayed: bool = False
    """Whether its publisher may have noted a delay."""
    is_ending: bool = False
    """Whether a settlement is under way."""
    is_unanswered: bool = False
    """Whether the server left its last settlement without an answer."""
    is_gone: bool = False
    """Whether its message was no longer in the stream after a reconnect: an ack is done, another settlement stale."""
    is_done: bool = False
    """Whether its message is known to be gone, though not all that was settled with it."""

    def failed(self, due: float, error: LastError | None) -> tuple[Note, str]:
        """The note for a delivery that failed."""
        return self._noted(due, self.failures + 1, self.delivered, error or self.last_error)

    def released(self, due: float = 0.0) -> tuple[Note, str]:
        """The note for a delivery that goes back as it came."""
        return self._noted(due, self.failures, self.delivered, self.last_error, is_suspect=self.is_suspect)

    def started(self) -> tuple[Note, str]:
        """The note for a delivery whose handler begins: a failure, unless another note says how it ended."""
        return self._noted(0.0, self.failures + 1, self.delivered - 1, self.last_error, is_suspect=True)

    def _noted(
        self, due: float, failures: int, ended: int, error: LastError | None, *, is_suspect: bool = False
    ) -> tuple[Note, str]:
        note = Note(self.sequence, self.lane, due, failures, ended, is_suspect, error)
        return note.after(self.note), self.receipt

    def left(self) -> tuple[Note, str]:
        """The note for a delivery that ends with the process."""
        return self.started() if self.is_started else self.released()


class Table:
    """The open deliveries of one queue, and until when they are ours; ``lease`` is what its consumers have now.

    The server takes the acknowledgement of any delivery of a message, also of one that has ended, and would remove a
    message that another process holds. So nothing is sent for a delivery whose message was delivered to us again. A
    delivery that was not renewed in time by our own clock is settled only after the records say that no other process
    has its message.
    """

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self.doubted_at = 0.0
        """When something said last that the stream may be another one (loop time)."""
        self._by_receipt: dict[str, Held] = {}
        self._by_sequence: dict[int, Held] = {}
        self._next_sweep = _SWEEP
        self._sure_since = -inf
        """No open delivery was last known to be the stream's before this moment (loop time)."""

    def __len__(self) -> int:
        return len(self._by_receipt)

    def add(self, held: Held) -> None:
        """A delivery that begins; an earlier one of the same message ends."""
        older = self._by_sequence.get(held.sequence)
        if older is not None:
            self._by_receipt.pop(older.receipt, None)
        self._by_sequence[held.sequence] = held
        self._by_receipt[held.receipt] = held
        self._sure_since = min(self._sure_since, held.sure_at)
        if len(self._by_receipt) > self._next_sweep:
            self._sweep(held.since)

    def find(self, receipt: object) -> Held | None:
        """The delivery, unless it was settled, or its message was delivered to us again."""
        return self._by_receipt.get(receipt) if isinstance(receipt, str) else None

    @property
    def silence(self) -> float:
        """Seconds without a renewal after which the server delivers a message again; others ask us first."""
        return min(self.lease, SILENCE)

    def is_silent(self, held: Held, now: float) -> bool:
        """Whether another process may have it already, which has written a note then."""
        return held.since + self.silence <= now

    def has(self, sequence: int, now: float) -> bool:
        """Whether a message is held, and its lease has not ended."""
        held = self._by_sequence.get(sequence)
        return held is not None and not held.is_gone and not self.is_over(held, now)

    def is_over(self, held: Held, now: float) -> bool:
        """Whether its lease has ended."""
        return held.since + self.lease <= now

    def remove(self, held: Held) -> None:
        """A delivery that has ended."""
        if self._by_receipt.pop(held.receipt, None) is not None:
            self._by_sequence.pop(held.sequence, None)

    def doubtful(self, since: float) -> list[Held]:
        """All whose message was last known to be the stream's before a moment, or before the last doubt (loop time)."""
        since = max(since, self.doubted_at)
        if since <= self._sure_since:  # as at nearly all settlements, which must not cost more the more there is open
            return []
        self._sure_since = since  # before we look: another thread may add one meanwhile
        found = [held for held in list(self._by_receipt.values()) if held.sure_at < since and not held.is_done]
        if found:
            self._sure_since = -inf
        return found

    def living(self, now: float) -> list[Held]:
        """All whose lease holds."""
        return [held for held in list(self._by_receipt.values()) if not self.is_over(held, now)]

    def clear(self) -> None:
        """All have ended."""
        self._by_receipt.clear()
        self._by_sequence.clear()

    def _sweep(self, now: float) -> None:
        """Forget messages that were not settled in time."""
        for held in list(self._by_receipt.values()):
            if held.since + self.lease * 2 < now:
                self.remove(held)
        self._next_sweep = len(self._by_receipt) * 2 + _SWEEP
