"""LeaseThread: work that must go on while the application's loop is blocked, as renewing leases, on a thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from tasuki.errors import BrokerUnavailableError, Outcome
from tasuki.system.loop_thread import LoopThread


class Closable(Protocol):
    """What its own thread has, to reach the broker."""

    async def close(self) -> None:
        """Disconnect."""


C = TypeVar("C", bound=Closable)
T = TypeVar("T")


class LeaseThread(Generic[C]):
    """A thread with a loop and its own connection; the first work starts it, and makes the connection.

    If its loop fails, the next one has a new connection. ``make`` is called on the thread.
    """

    def __init__(self, driver: str, make: Callable[[], C]) -> None:
        self._driver = driver
        self._make = make
        self._connection: C | None = None
        self.open()

    def open(self) -> None:
        """Accept work, after a close too; what a forked child inherits is left alone."""
        self._connection = None
        self._thread = LoopThread(f"tasuki leases of {self._driver}", self._error, let_go=self._disconnect)

    async def run(self, work: Callable[[C], Coroutine[Any, Any, T]]) -> T:
        """The result of ``work`` with the connection, on the thread; from any loop.

        Raises:
            BrokerUnavailableError: it is closed; the thread cannot start, or failed.
            Exception: what ``work`` raises.
        """
        return await self._thread.call(lambda: work(self._connected()))

    async def close(self) -> None:
        """Disconnect, and end the thread; what runs there is cancelled. Idempotent."""
        await self._thread.close(self._disconnect)

    def _connected(self) -> C:
        if self._connection is None:
            self._connection = self._make()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _error(self, problem: str, is_begun: bool) -> BrokerUnavailableError:
        outcome: Outcome = "unknown" if is_begun else "rejected"
        return BrokerUnavailableError(problem, driver=self._driver, outcome=outcome)
