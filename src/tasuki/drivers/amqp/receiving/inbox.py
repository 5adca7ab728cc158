"""Inbox: pushed messages that no receive has taken yet, in the order in which they are to be delivered."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp.protocol.envelope import identity

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
    key: str | None = None
    is_partitioned: bool = False
    """Whether it came from a lane that gives the next one only when this one is settled."""
    is_moved: bool = False
    """Whether a copy is safe elsewhere, so that this one needs only an ack."""
    is_counted_here: bool = False
    """Whether a failure of it is known to this process alone, until there is a copy."""
    is_started: bool = False
    """Whether the failure that it becomes if this process dies is recorded."""
    records: frozenset[str] = frozenset()
    """The records of its failures at the broker."""

    @property
    def identity(self) -> bytes:
        """Tells its message from the others of its queue."""
        return identity(self.properties, self.received.id, self.received.body)


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

    def pick(self, limit: int, busy: set[str]) -> list[Delivery]:
        """The same, but no key that is busy, and each key once."""
        picked: list[Delivery] = []
        left: list[Delivery] = []
        for delivery in self._waiting[self._next :]:
            if len(picked) == limit or delivery.key in busy:
                left.append(delivery)
                continue
            picked.append(delivery)
            if delivery.key is not None:
                busy.add(delivery.key)
        self._waiting, self._next = left, 0
        return picked

    def take_where(self, is_wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Some, in their order."""
        waiting = self._waiting[self._next :]
        self._waiting, self._next = [delivery for delivery in waiting if not is_wanted(delivery)], 0
        return [delivery for delivery in waiting if is_wanted(delivery)]

    def clear(self) -> None:
        """Forget all: the channel is gone, and the broker has them."""
        self._waiting, self._next = [], 0


def _place(delivery: Delivery) -> Place:
    return delivery.place
