"""KnownQueues: the queues that a driver has declared or inspected in this process, and how many consumers each has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from tasuki.drivers.toolkit.guard import not_declared
from tasuki.system import forks
from tasuki.system.on_failure import OnFailure

T = TypeVar("T")


class _Known(NamedTuple, Generic[T]):
    value: T
    is_declared: bool


class Forgotten(NamedTuple, Generic[T]):
    """A queue that is known no more."""

    value: T
    is_declared: bool
    consumers: int


class KnownQueues(Generic[T]):
    """Of one driver, from its making on: they outlive a close, and a forked child has them too, but not the consumers.

    A declared queue may be made by the driver, also again where it is gone; an inspected one is only used (clause 30).
    ``T``: what the driver keeps of a queue: its spec, or more. The event loop writes, other threads may read: the
    entry of a queue changes in one step, and is read in one.
    """

    def __init__(self, driver: str) -> None:
        self._driver = driver
        self._queues: dict[str, _Known[T]] = {}
        self._consumers: dict[str, int] = {}
        self._forks = forks.count

    @property
    def consumers(self) -> dict[str, int]:
        """The consumers of this process at each queue; none, no item. Changed by ``attach``."""
        if self._forks != forks.count:  # a forked child begins without any: its parent's do not receive here
            self._forks, self._consumers = forks.count, {}
        return self._consumers

    def __contains__(self, queue: object) -> bool:
        return queue in self._queues

    def declare(self, queue: str, value: T) -> None:
        """Know a queue that the driver may make; its consumers stay."""
        self._queues[queue] = _Known(value, True)

    def inspect(self, queue: str, value: T) -> None:
        """Know a queue that the driver must not make. A declared one stays as it was declared."""
        if not self.is_declared(queue):
            self._queues[queue] = _Known(value, False)

    def is_declared(self, queue: str) -> bool:
        """Whether the driver may make it."""
        known = self._queues.get(queue)
        return known is not None and known.is_declared

    def find(self, queue: str) -> T | None:
        """What the driver keeps of the queue; None: it is not known."""
        known = self._queues.get(queue)
        return None if known is None else known.value

    def get(self, queue: str) -> T:
        """The same. Raises QueueNotFoundError."""
        try:
            return self._queues[queue].value
        except KeyError:
            raise not_declared(self._driver, queue) from None

    def all(self) -> list[T]:
        """What the driver keeps of each queue."""
        return [known.value for known in list(self._queues.values())]

    def declared(self) -> list[T]:
        """What the driver keeps of each declared queue."""
        return [known.value for known in list(self._queues.values()) if known.is_declared]

    def attach(self, queue: str, consumers: int) -> None:
        """Note how many consumers this process has; of a queue that is not known nothing is noted."""
        if consumers and queue in self._queues:
            self.consumers[queue] = consumers
        else:
            self.consumers.pop(queue, None)

    def forget(self, queue: str) -> Forgotten[T] | None:
        """Know it no more. Returns its last state; None: it was not known."""
        consumers = self.consumers.pop(queue, 0)
        known = self._queues.pop(queue, None)
        return None if known is None else Forgotten(*known, consumers)

    @contextmanager
    def forgetting(self, queue: str) -> Iterator[None]:
        """Know it no more, so that no other call makes it again; if the block fails, it is known as before.

        Unless it was declared or inspected meanwhile.
        """
        forgotten = self.forget(queue)
        with OnFailure(lambda: self._put_back(queue, forgotten)):
            yield

    def _put_back(self, queue: str, forgotten: Forgotten[T] | None) -> None:
        if forgotten is None or queue in self._queues:
            return
        self._queues[queue] = _Known(forgotten.value, forgotten.is_declared)
        self.attach(queue, forgotten.consumers)
