"""KnownQueues: the queues that a driver has declared or inspected in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from tasuki.drivers.toolkit.guard import not_declared
from tasuki.system import forks
from tasuki.system.tasks import OnFailure

T = TypeVar("T")


class _Known(NamedTuple, Generic[T]):
    value: T
    is_declared: bool
    forks: int
    """How many forks lie behind the process that declared it."""


class KnownQueues(Generic[T]):
    """Of one driver, from its making on: they outlive a close, and a forked child has them too, but keeps none alive.

    A declared queue may be made by the driver, also again where it is gone; an inspected one is only used (clause 30).
    ``T``: what the driver keeps of a queue: its spec, or more. The event loop writes, other threads may read: the
    entry of a queue changes in one step, and is read in one.
    """

    def __init__(self, driver: str) -> None:
        self._driver = driver
        self._queues: dict[str, _Known[T]] = {}

    def __contains__(self, queue: object) -> bool:
        return queue in self._queues

    def declare(self, queue: str, value: T) -> None:
        """Know a queue that the driver may make."""
        self._queues[queue] = _Known(value, True, forks.count)

    def inspect(self, queue: str, value: T) -> None:
        """Know a queue that the driver must not make. A declared one stays as it was declared."""
        if not self.is_declared(queue):
            self._queues[queue] = _Known(value, False, forks.count)

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

    def is_kept(self, queue: str) -> bool:
        """Whether this process declared it itself, not its parent before a fork: it keeps a temporary queue alive."""
        known = self._queues.get(queue)
        return known is not None and known.is_declared and known.forks == forks.count

    def forget(self, queue: str) -> T | None:
        """Know it no more. Returns what the driver kept of it; None: it was not known."""
        known = self._queues.pop(queue, None)
        return None if known is None else known.value

    @contextmanager
    def forgetting(self, queue: str) -> Iterator[None]:
        """Know it no more, so that no other call makes it again; if the block fails, it is known as before.

        Unless it was declared or inspected meanwhile.
        """
        known = self._queues.pop(queue, None)
        with OnFailure(lambda: self._put_back(queue, known)):
            yield

    def _put_back(self, queue: str, known: _Known[T] | None) -> None:
        if known is not None:
            self._queues.setdefault(queue, known)
