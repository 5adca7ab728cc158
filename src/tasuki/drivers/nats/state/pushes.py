"""Pushes: a connection for watches, and what the server pushes on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasuki.drivers.nats.protocol.connection import Address, Connection

_PLAIN = 9
"""Parts of a reply subject; newer servers and domains put two before the stream (see ``protocol/receipts``)."""
_SECOND = 1e9


class Push(NamedTuple):
    """An entry that a consumer delivers; ``data`` and ``headers`` are its message."""

    consumer: str
    subject: str
    number: int
    """How many this consumer has delivered with it."""
    sequence: int
    written_at: float
    pending: int
    """How many more the consumer has."""
    headers: bytes | None
    data: bytes


class Beat(NamedTuple):
    """The consumer of this inbox is there, and has delivered so many."""

    inbox: str
    number: int | None
    """None: the server does not say."""
    answer_to: str
    """Where the server waits for a word before it pushes more; empty: it does not."""


class PushConnection(Connection):
    """A connection that gets the deliveries of push consumers, and their signs of life."""

    def __init__(self, address: Address, on_push: Callable[[Push | Beat], None], on_loss: Callable[[], None]) -> None:
        super().__init__(address, on_loss=on_loss)
        self._on_push = on_push
        self._watched = b"%b.w.p" % self._inbox

    def subscribe_to_pushes(self) -> tuple[int, str]:
        """Be ready for the deliveries of a consumer; returns the number of this subscription, and where they come.

        A subscription of its own: NATS 2.10 delivers nothing to a subject that only a wildcard subscribes to.
        """
        number = next(self._subscriptions)
        inbox = b"%b.%d" % (self._watched, number)
        self.send(b"SUB %b %d\r\n" % (inbox, number))
        return number, inbox.decode()

    def _route(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        try:
            if reply.startswith(b"$JS.ACK."):
                self._on_push(read_push(subject, reply, data, headers))
            elif subject.startswith(self._watched):
                self._on_push(read_beat(subject, reply, headers))
            else:
                super()._route(subject, reply, data, headers)
        except (ValueError, IndexError) as error:
            self.drop(f"a message that cannot be read: {error}")


def read_push(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> Push:
    """A delivery. Raises ValueError, IndexError."""
    parts = reply.decode().split(".")
    start = 2 if len(parts) == _PLAIN else 4
    _, consumer, _, sequence, number, time, pending = parts[start : start + 7]
    return Push(
        consumer, subject.decode(), int(number), int(sequence), int(time) / _SECOND, int(pending), headers, data
    )


def read_beat(subject: bytes, reply: bytes, headers: bytes | None) -> Beat:
    """A status of a consumer: idle, or waiting for a word."""
    found = dict(line.partition(b": ")[::2] for line in (headers or b"").split(b"\r\n"))
    last = found.get(b"Nats-Last-Consumer")
    answer_to = reply or found.get(b"Nats-Consumer-Stalled", b"")
    return Beat(subject.decode(), int(last) if last else None, answer_to.decode())
