"""HeldReceipts: the open deliveries of each queue, so that a close releases them."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Generic, TypeVar

from tasuki.contracts.driver import Receipt
from tasuki.drivers.toolkit.known_queues import KnownQueues

T = TypeVar("T")


class HeldReceipts(Generic[T]):
    """Of one open driver. ``T``: what the driver keeps of a queue, as in :class:`KnownQueues`. Safe in any thread."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[T, set[Receipt]]] = {}
        self._lock = Lock()

    def hold(self, queue: str, value: T, receipts: Iterable[Receipt]) -> None:
        """Note deliveries that begin, and what the driver keeps of their queue."""
        with self._lock:
            held = self._of[queue][1] if queue in self._of else set()
            held.update(receipts)
            if held:
                self._of[queue] = value, held

    def forget(self, queue: str, receipts: Iterable[Receipt]) -> bool:
        """Note deliveries that ended; returns whether none of the queue is open any more."""
        with self._lock:
            found = self._of.get(queue)
            if found is not None:
                found[1].difference_update(receipts)
                if not found[1]:
                    del self._of[queue]
            return queue not in self._of

    def forget_queue(self, queue: str) -> None:
        """All deliveries of the queue ended: it was deleted."""
        with self._lock:
            self._of.pop(queue, None)

    def holds(self, queue: str) -> bool:
        """Whether a delivery of the queue is open."""
        return queue in self._of

    def get(self, queue: str, known: KnownQueues[T]) -> T:
        """What the driver keeps of a queue, for the verbs that end or keep deliveries.

        They work on an undeclared queue too, as long as something of it is held (clause 29). Raises QueueNotFoundError.
        """
        value = known.find(queue)
        if value is not None:
            return value
        found = self._of.get(queue)
        return found[0] if found is not None else known.get(queue)

    def all(self) -> list[tuple[str, T, list[Receipt]]]:
        """The queues with open deliveries, what the driver keeps of each, and its receipts."""
        with self._lock:
            return [(queue, value, [*receipts]) for queue, (value, receipts) in self._of.items()]
