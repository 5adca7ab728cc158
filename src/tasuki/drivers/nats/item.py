"""Item: a message that came in, with what the book says of it: which delivery it is, and whether its time has come."""

from __future__ import annotations

from tasuki.drivers.nats.book import Note
from tasuki.drivers.nats.envelope import unpack
from tasuki.drivers.nats.intake import Arrival


class Item:
    """A message that came in, and what the book says of it."""

    __slots__ = ("arrival", "body", "head", "note")

    def __init__(self, arrival: Arrival) -> None:
        parts = arrival.parts
        self.arrival = arrival
        self.head, self.body = unpack(arrival.data, f"{parts.stream}-{parts.sequence}")
        self.note: Note | None = None

    @property
    def refunds(self) -> int:
        """How many of its deliveries did not count."""
        return max(self.note.refunds, 0) if self.note is not None else 0

    @property
    def delivered(self) -> int:
        """How often it was delivered; the server may have forgotten some of them when it died."""
        known = self.arrival.parts.delivered
        return known if self.note is None or self.note.refunds < 0 else max(known, self.note.delivered + 1)

    @property
    def due(self) -> float:
        """When its time comes: as it was published, or as it was last put off if the server has forgotten that.

        A server that remembers has waited by its own clock, which is better than to compare those of two machines.
        """
        note = self.note
        is_forgotten = note is not None and note.delivered >= self.arrival.parts.delivered
        return max(self.head.due, note.due) if note is not None and is_forgotten else self.head.due

    def returned(self, due: float = 0.0) -> tuple[Note, str]:
        """The note for a delivery that does not count."""
        note = Note(self.arrival.parts.sequence, due, self.refunds + 1, self.delivered)
        return note, self.arrival.receipt

    def sign(self, content: bytes) -> tuple[str, str, bytes]:
        """What ``confirmed`` sends for it."""
        return self.arrival.parts.consumer, self.arrival.receipt, content
