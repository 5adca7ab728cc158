"""Resting: deliveries that stay unsettled until their delay is over, as their copies could not keep their place.

A delivery of a lane of keys goes back to its lane then: it is redelivered at once, before all others of the lane, and
the broker restarts its ``consumer_timeout``. A long delay is spent in slices for the same reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from tasuki.drivers.amqp.receiving.inbox import Delivery

SLICE = 600.0
"""Seconds after which a delivery of a lane of keys is renewed."""


class Resting:
    """``requeue`` hands a delivery back to its lane; ``on_over`` gets one whose delay is over."""

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
