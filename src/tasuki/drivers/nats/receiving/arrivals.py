"""Arrivals: received messages, with what their reply subjects and the records say of them; no I/O.

The server knows a delivery by its reply subject, the receipt:
``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>``; newer servers and
domains put ``<domain>.<account>`` before the stream (ADR-15 of the NATS architecture records).
"""

from __future__ import annotations

from typing import NamedTuple

from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.records.side_records import LastError, Note

_PLAIN = 9


class Receipt(NamedTuple):
    """What a reply subject says."""

    stream: str
    consumer: str
    delivered: int
    """How often the message was delivered, this time included."""
    sequence: int
    """Its number in the stream."""
    published_at: float
    """When the server stored it, by the server's clock."""


def read(reply: str) -> Receipt | None:
    """The parts of a reply subject; None if it is not one of a delivery."""
    parts = reply.split(".")
    if len(parts) < _PLAIN or parts[:2] != ["$JS", "ACK"]:
        return None
    start = 2 if len(parts) == _PLAIN else 4
    try:
        stream, consumer, delivered, sequence, _, nanoseconds = parts[start : start + 6]
        return Receipt(stream, consumer, int(delivered), int(sequence), int(nanoseconds) / 1e9)
    except ValueError:
        return None


class Arrival(NamedTuple):
    """A message as it came in; ``at``: when (loop time)."""

    receipt: str
    parts: Receipt
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
        """What the records say of it."""
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
        sequence, error = self.arrival.parts.sequence, self.last_error
        note = Note(sequence, due, self.failures, self.delivered, self.is_suspect, last_error=error)
        return note, self.arrival.receipt

    def lapsed(self) -> tuple[Note, str]:
        """The note for a delivery that is handed over, and says that all before it are over."""
        sequence, error = self.arrival.parts.sequence, self.last_error
        note = Note(sequence, 0.0, self.failures, self.delivered - 1, is_suspect=True, last_error=error)
        return note, self.arrival.receipt

    def sign(self, content: bytes) -> tuple[str, str, bytes]:
        """What ``confirmed`` sends for it."""
        return self.arrival.parts.consumer, self.arrival.receipt, content
