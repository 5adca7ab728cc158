"""Deliveries: the messages that the broker has pushed here: not taken yet, held, or resting until a delay is over."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp.protocol.envelope import EMPTY, UNREADABLE, Parsed, decode, identity
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.receiving.consuming import is_of_keys, is_of_returned
from tasuki.message import new_id

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
    """Messages that no receive has taken yet, sorted by place; an arriving message is nearly always the last."""

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


def arrived(deliver: Deliver, properties: bytes, body: bytes, number: int) -> Delivery:
    """A delivery, the ``number``-th of its channel, as the message describes it; ``records.Lookups`` adds the rest."""
    try:
        parsed = decode(properties, deliver.payload)
    except UNREADABLE:
        # Only the body can be read. A copy must count its failures, so it does not repeat these properties.
        parsed, properties = Parsed(new_id(), {}, 0, 0), EMPTY
    is_suspect = parsed.suspect or deliver.redelivered
    return Delivery(
        (-parsed.priority, 0 if is_of_returned(deliver.consumer) else 1, number),
        deliver.tag,
        deliver.consumer,
        Received(parsed.id, body, parsed.headers, attempt=parsed.failures + 1, suspect=is_suspect),
        properties,
        parsed.key,
        is_of_keys(deliver.consumer),
    )


_receipts = count(1)


class Held(dict[int, Delivery]):
    """The deliveries of one subscription by receipt, and beside them those that are being settled."""

    def __init__(self) -> None:
        super().__init__()
        self._settling: set[Delivery] = set()

    @property
    def is_in_use(self) -> bool:
        """Whether deliveries are held, or are being settled."""
        return bool(self or self._settling)

    @property
    def unsettled(self) -> int:
        """How many there are of both."""
        return len(self) + len(self._settling)

    def hand_out(self, deliveries: Iterable[Delivery]) -> list[Received]:
        """They are held from now on, each with its own receipt."""
        return [self._hand_out(delivery) for delivery in deliveries]

    def _hand_out(self, delivery: Delivery) -> Received:
        receipt = next(_receipts)
        self[receipt] = delivery
        old = delivery.received
        return Received(old.id, old.body, dict(old.headers), receipt, old.attempt, old.suspect)

    def take(self, receipt: object) -> Delivery | None:
        """The delivery of a receipt, which is not held any more."""
        return self.pop(receipt, None) if isinstance(receipt, int) else None

    def take_where(self, is_wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Some, which are not held any more."""
        found = [receipt for receipt, delivery in self.items() if is_wanted(delivery)]
        return [self.pop(receipt) for receipt in found]

    @contextmanager
    def settling(self, deliveries: Sequence[Delivery]) -> Iterator[None]:
        """They are not held any more, and no other message of their keys may be handed out yet."""
        self._settling.update(deliveries)
        try:
            yield
        finally:
            self._settling.difference_update(deliveries)

    def busy_keys(self) -> set[str]:
        """Keys of which a delivery is held or is being settled."""
        return {
            delivery.key for each in (self.values(), self._settling) for delivery in each if delivery.key is not None
        }


SLICE = 600.0
"""Seconds after which a delivery of a lane of keys is renewed."""


class Resting:
    """Deliveries that stay unsettled until their delay is over, as their copies could not keep their place.

    A delivery of a lane of keys goes back to its lane then: it is redelivered at once, before all others of the lane,
    and the broker restarts its ``consumer_timeout``. A long delay is spent in slices for the same reason. ``requeue``
    hands a delivery back to its lane; ``on_over`` gets one whose delay is over.
    """

    def __init__(self, requeue: Callable[[Delivery], None], on_over: Callable[[Delivery], None]) -> None:
        self._requeue = requeue
        self._on_over = on_over
        self._timers: dict[Delivery, asyncio.TimerHandle] = {}
        self._renewed: dict[bytes, tuple[Delivery, float]] = {}
        """By the consumer of a lane: the requeued delivery that must come next, and when its delay ends."""

    def __len__(self) -> int:
        return len(self._timers)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._timers)

    def add(self, delivery: Delivery, delay: float) -> None:
        """Let a delivery rest."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        pause = min(delay, SLICE) if delivery.is_partitioned else delay
        self._timers[delivery] = loop.call_later(pause, self._over, delivery, due)

    def resume(self, delivery: Delivery) -> bool:
        """Whether a redelivery is one that rested here; it is handed out, or rests on, as the same."""
        old, due = self._renewed.pop(delivery.consumer, (None, 0.0))
        if old is None or old.identity != delivery.identity:
            return False
        delivery.received.attempt, delivery.received.suspect = old.received.attempt, old.received.suspect
        delivery.records = old.records
        left = due - asyncio.get_running_loop().time()
        if left > 0:
            self.add(delivery, left)
        else:
            self._on_over(delivery)
        return True

    def take(self) -> list[Delivery]:
        """All, which rest no longer."""
        return self.take_where(lambda _: True)

    def take_where(self, is_wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Some, which rest no longer."""
        found = [delivery for delivery in self._timers if is_wanted(delivery)]
        for delivery in found:
            self._timers.pop(delivery).cancel()
        return found

    def _over(self, delivery: Delivery, due: float) -> None:
        del self._timers[delivery]
        if delivery.is_partitioned:
            self._renewed[delivery.consumer] = (delivery, due)
            self._requeue(delivery)
        else:
            self._on_over(delivery)
