"""Source: one declared queue, and its open deliveries.

SQS does not tell whether a receipt handle still holds its message (deleting with an old one succeeds), so this decides:
a delivery is open until it is settled, its lease has passed, or the message has arrived here again.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import msgspec

from tasuki.contracts.driver import QueueSpec, Receipt
from tasuki.drivers.sqs.envelope import LARGEST, Attributes, Envelope

_PRUNE_AT = 1000


class Held(msgspec.Struct, eq=False):
    """One delivery, and its receipt; with the message as it came, because a release may have to send it again."""

    url: str
    """The queue."""
    handle: str
    """SQS's receipt handle."""
    message_id: str
    body: str
    attributes: Attributes
    envelope: Envelope
    group: str | None
    attempt: int
    received_at: float
    """``boottime`` when it arrived."""
    lease_until: float
    """``boottime``; set by the keeper's thread too."""
    is_over: bool = False
    """Settled, delivered to another process, or lost with its driver."""
    is_extending: bool = False
    """The keeper's thread has a request under way that would undo a nack's delay."""
    is_suspect: bool = False
    """Its last delivery ended without a settlement."""
    is_moving: bool = False
    """It is on its way to the queue of suspects, and gets another handle."""
    is_copied: bool = False
    """It was sent again, and only its original is left to delete."""
    is_settled: bool = False
    """Settled in a batch that failed in another part: to be answered with success when that batch comes again."""

    def __repr__(self) -> str:
        """Without the message."""
        return f"<{self.message_id} {self.handle[-8:]}>"


class Source:
    """A queue at SQS."""

    def __init__(
        self, spec: QueueSpec, url: str, *, is_fifo: bool, largest: int = LARGEST, kept_for: float = inf
    ) -> None:
        self.spec = spec
        self.url = url
        self.is_fifo = is_fifo
        self.largest = largest
        """Bytes of a message, body and attributes."""
        self.kept_for = kept_for
        """Seconds after which SQS deletes a message."""
        self.suspects_url: str | None = None
        """Where its suspects are while they are handled; None: not made or not found yet."""
        self._open: dict[str, Held] = {}
        self._prune_at = _PRUNE_AT

    @property
    def is_keyed(self) -> bool:
        """Whether keys order its messages."""
        return self.spec.ordering == "key"

    def add(self, held: Held, now: float) -> None:
        """A delivery begins; an earlier one of the same message is over."""
        old = self._open.get(held.message_id)
        if old is not None:
            old.is_over = True
        if len(self._open) >= self._prune_at:
            self._prune(now)
        self._open[held.message_id] = held

    def find(self, receipt: Receipt, now: float) -> Held | None:
        """The open delivery of a receipt; None if there is none (any more)."""
        if not isinstance(receipt, Held) or receipt.url not in (self.url, self.suspects_url) or receipt.is_over:
            return None
        return receipt if receipt.is_settled or receipt.lease_until > now else None

    def take(self, receipt: Receipt, now: float) -> Held | None:
        """Like ``find``, and no later call finds it."""
        held = self.find(receipt, now)
        if held is not None:
            held.is_over = True
            self._forget(held)
        return held

    def replace(self, held: Held, found: Held) -> None:
        """The open delivery of a message that was moved: the same receipt, with what SQS now knows it by."""
        self._forget(held)
        held.url, held.handle, held.message_id = found.url, found.handle, found.message_id
        held.body, held.attributes, held.envelope, held.group = (
            found.body,
            found.attributes,
            found.envelope,
            found.group,
        )
        held.attempt, held.received_at, held.lease_until = found.attempt, found.received_at, found.lease_until
        held.is_copied = False
        self._open[held.message_id] = held

    def holds_started(self, now: float) -> bool:
        """Whether a message of the queue of suspects is in our hands."""
        mine = (held for held in self._open.values() if held.url == self.suspects_url)
        return any(held.lease_until > now and not held.is_over for held in mine)

    @property
    def is_idle(self) -> bool:
        """Whether no delivery is open."""
        return not self._open

    def holds_suspect_since(self, moment: float) -> bool:
        """Whether a suspect that arrived after a ``boottime`` is in our hands."""
        return any(held.is_suspect and held.received_at > moment for held in self._open.values() if not held.is_over)

    def put_back(self, held: Held) -> None:
        """It could not be settled, or its batch could not: another try finds it."""
        if self._open.setdefault(held.message_id, held) is held:
            held.is_over = False

    def take_all(self) -> list[Held]:
        """Every delivery that is not settled; none is open afterwards."""
        taken, self._open = list(self._open.values()), {}
        held = [held for held in taken if not held.is_over and not held.is_settled]
        for delivery in taken:
            delivery.is_over = True
        return held

    def _forget(self, held: Held) -> None:
        if self._open.get(held.message_id) is held:
            del self._open[held.message_id]

    def _prune(self, now: float) -> None:
        """Forget unsettled deliveries that must have gone to another process."""
        for held in list(self._open.values()):
            if held.lease_until <= now:
                self._forget(held)
        self._prune_at = max(_PRUNE_AT, 2 * len(self._open))


Parameters = Mapping[str, Any]
