"""Receipts: the reply subjects by which the server knows a delivery, and what they say.

``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>``; newer servers and
domains put ``<domain>.<account>`` before the stream (ADR-15 of the NATS architecture records).
"""

from __future__ import annotations

from typing import NamedTuple

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
