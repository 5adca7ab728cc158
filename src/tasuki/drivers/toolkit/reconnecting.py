"""Reconnecting: one connection, made when a caller needs it, and made again after it was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from tasuki.backoff import UNTIL_BACK, Backoff
from tasuki.drivers.toolkit.attempts import Attempts


class Connection(Protocol):
    """A driver's connection. It is alive when it is made; after a loss it is never alive again."""

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""

    def abort(self) -> None:
        """End it at once, without a word to the broker."""

    async def close(self) -> None:
        """Take leave of the broker, and end it; also after a loss."""


C = TypeVar("C", bound=Connection)


class Reconnecting(Generic[C]):
    """The connection of one event loop; see :class:`Attempts` for failures, cancelled callers and child processes.

    Args:
        connect: makes a connection that is ready for use, and ends what it has made if it fails or is cancelled.
        wait: the usual ``wait`` of ``get``.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        name: str,
        closed: Callable[[], Exception],
        *,
        wait: float | None = None,
        backoff: Backoff = UNTIL_BACK,
        least_pause: Callable[[Exception], float] = lambda _: 0.0,
    ) -> None:
        self.attempts: Attempts[C] = Attempts(name, closed, backoff=backoff, least_pause=least_pause)
        self._connect = connect
        self._closed = closed
        self._wait = wait
        self._connection: C | None = None

    @property
    def connection(self) -> C | None:
        """The connection, if there is a live one."""
        connection = self._connection
        return connection if connection is not None and connection.is_alive and not self.attempts.is_inherited else None

    async def get(self, wait: float | None = None) -> C:
        """A live connection. ``wait``: see :meth:`Attempts.share`. Raises the error of the last attempt."""
        return self.connection or await self.attempts.share(self._make, self._wait if wait is None else wait)

    def open(self) -> None:
        """Allow connections again, after a close or in a child process; earlier failures are forgotten."""
        if self.attempts.is_inherited:
            self._connection = None  # the parent uses it
        self.attempts.open()

    def abort(self) -> None:
        """End the connection at once, and an attempt under way; until ``open`` there are no more."""
        is_ours = not self.attempts.is_inherited
        self.attempts.abort()
        if self._connection is not None and is_ours:
            self._connection.abort()

    async def close(self) -> None:
        """End the connection, and an attempt under way; until ``open`` there are no more."""
        await self.attempts.close()
        connection, self._connection = self._connection, None
        if connection is not None and not self.attempts.is_inherited:
            await connection.close()

    async def _make(self) -> C:
        connection = await self._connect()
        if self.attempts.is_closed:  # it came although the attempt was cancelled
            connection.abort()
            raise self._closed()
        self._connection = connection
        return connection
