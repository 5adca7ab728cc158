"""Inbox: what the broker has pushed and nobody has taken yet, in the order in which it is to be handed out."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from tasuki.contracts.driver import Received

Place = tuple[int, int, int]


@dataclass(slots=True, eq=False)
class Delivery:
    """One unsettled delivery on a channel."""

    place: Place
    """Higher priorities first, then what came back unused, then by arrival."""
    tag: int
    consumer: bytes
    received: Received
    """As it is handed out; its receipt is set when it is."""
    properties: bytes = field(repr=False)
    priority: int = 0
    is_moved: bool = False
    """Whether a copy is safe elsewhere, so that this one needs only an ack."""


class Inbox:
    """Sorted by place; what arrives is nearly always last."""

    def __init__(self) -> None:
        self._waiting: list[Delivery] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting) - self._next

    def put(self, delivery: Delivery) -> None:
        """Add a delivery at its place."""
        waiting = self._waiting
        if len(waiting) == self._next or waiting[-1].place < delivery.place:
            waiting.append(delivery)
        else:
            insort(waiting, delivery, lo=self._next, key=_place)

    def take(self, limit: int) -> list[Delivery]:
        """The first ones, at most ``limit``."""
        taken = self._waiting[self._next : self._next + limit]
        self._next += len(taken)
        if self._next > len(self._waiting) // 2:
            del self._waiting[: self._next]
            self._next = 0
        return taken

    def clear(self) -> None:
        """Forget all: the channel is gone, and the broker has them."""
        self._waiting, self._next = [], 0


def _place(delivery: Delivery) -> Place:
    return delivery.place
