"""Guard: what a driver has while it is open, for the process that opened it; and the errors of one that is not."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tasuki.system import forks

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
        return self._forks == forks.count

    @property
    def current(self) -> S | None:
        """What this process holds; None: the driver is not open here."""
        return self._held if self.is_here else None

    def get(self, queue: str = "") -> S:
        """The same. Raises BrokerUnavailableError where the driver is not open, or a parent process opened it."""
        held = self._held
        if held is None or self._forks != forks.count:
            raise self.refusal(queue)
        return held

    def check(self, held: S, queue: str = "") -> None:
        """Raises BrokerUnavailableError if the driver was closed since ``get`` gave this, also if it is open again.

        For verbs that have awaited something: what they begin after that, no close would find and end.
        """
        if self.current is not held:
            raise not_open(self.driver, queue) if self.current is not None else self.refusal(queue)

    def changing(self) -> asyncio.Lock:
        """The lock of an open: of two at the same time the second finds what the first one has opened.

        Of the running loop and this process: loops come and go, and a parent may have held its lock at the fork.
        """
        here = asyncio.get_running_loop(), forks.count
        if self._changing is None or self._changes_on != here:
            self._changing, self._changes_on = asyncio.Lock(), here
        return self._changing

    def opened(self, held: S) -> None:
        """This process has opened the driver."""
        self._let_go_of_parent()
        self._held, self._forks = held, forks.count

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
