"""Arrival: a message as it came in."""

from __future__ import annotations

from typing import NamedTuple

from tasuki.drivers.nats.protocol.receipts import Receipt


class Arrival(NamedTuple):
    """A message as it came in; ``at``: when (loop time)."""

    receipt: str
    parts: Receipt
    data: bytes
    at: float
    rank: int
