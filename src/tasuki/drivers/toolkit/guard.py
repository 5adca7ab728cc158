"""What an open driver has in its process: the session, the queues, their open deliveries; and errors without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from tasuki.contracts.driver import Receipt
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tasuki.system import signals
from tasuki.system.tasks import OnFailure

S = TypeVar("S")


_inherited: list[object] = []
"""A parent process's, in a forked child: never used, and never freed, as that would close what both processes share."""


class Guard(Generic[S]):
    """Holds what the verbs of an open driver work with: a session, a thread, a connection.

    A forked child finds the driver closed, whatever its parent holds, until it opens it itself.
    """

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self._held: S | None = None
        self._forks = -1
        self._changing: asyncio.Lock | None = None
        self._changes_on: tuple[asyncio.AbstractEventLoop, int] | None = None

    @property
    def is_here(self) -> bool:
        """Whether this process opened the driver last."""
        return self._forks == signals.fork_count

    @property
    def current(self) -> S | None:
        """What this process holds; None: the driver is not open here."""
        return self._held if self.is_here else None

    def get(self, queue: str = "") -> S:
        """The same. Raises BrokerUnavailableError where the driver is not open, or a parent process opened it."""
        held = self._held
        if held is None or self._forks != signals.fork_count:
            raise self.refusal(queue)
        return held

    def check(self, held: S, queue: str = "") -> None:
        """Raises BrokerUnavailableError if the driver was closed since ``get`` gave this, also if it is open again.

        For verbs that have awaited something: what they begin after that, no close would find and end.
        """
        if self._held is not held or self._forks != signals.fork_count:
            raise not_open(self.driver, queue) if self.current is not None else self.refusal(queue)

    def changing(self) -> asyncio.Lock:
        """The lock of an open: of two at the same time the second finds what the first one has opened.

        Of the running loop and this process: loops come and go, and a parent may have held its lock at the fork.
        """
        here = asyncio.get_running_loop(), signals.fork_count
        if self._changing is None or self._changes_on != here:
            self._changing, self._changes_on = asyncio.Lock(), here
        return self._changing

    def opened(self, held: S) -> None:
        """This process has opened the driver."""
        self._let_go_of_parent()
        self._held, self._forks = held, signals.fork_count

    def closed(self, held: S | None = None) -> None:
        """The driver is closed in this process; not if it holds something else than ``held`` by now."""
        self._let_go_of_parent()
        if held is None or self._held is held:
            self._held = None

    def _let_go_of_parent(self) -> None:
        if self._held is not None and not self.is_here:
            _inherited.append(self._held)
            self._held = None

    def refusal(self, queue: str = "") -> BrokerUnavailableError:
        """The error of a verb on a driver that is not open."""
        if self._held is None:
            return not_open(self.driver, queue)
        problem = f"driver {self.driver!r} was opened by the parent process; open it in this one"
        return BrokerUnavailableError(problem, driver=self.driver, queue=queue)


def not_open(driver: str, queue: str = "") -> BrokerUnavailableError:
    """The error of a verb before an open, or after a close."""
    return BrokerUnavailableError(f"driver {driver!r} is not open; open it first", driver=driver, queue=queue)


def not_declared(driver: str, queue: str) -> QueueNotFoundError:
    """The error of a verb on a queue that the driver was not given."""
    problem = f"queue {queue!r} was never declared on driver {driver!r}; declare it first"
    return QueueNotFoundError(problem, driver=driver, queue=queue)


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
        self._queues[queue] = _Known(value, True, signals.fork_count)

    def inspect(self, queue: str, value: T) -> None:
        """Know a queue that the driver must not make. A declared one stays as it was declared."""
        if not self.is_declared(queue):
            self._queues[queue] = _Known(value, False, signals.fork_count)

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
        return known is not None and known.is_declared and known.forks == signals.fork_count

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
