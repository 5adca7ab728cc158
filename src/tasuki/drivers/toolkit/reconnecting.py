"""Reconnecting: one connection or a pool of them, made when a caller needs it, and made again after it was lost.

One attempt to connect runs at a time; after a failure the next attempt waits, longer each time, with jitter.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from tasuki.backoff import UNTIL_BACK, Backoff
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import BrokerUnavailableError
from tasuki.system.tasks import OnFailure

T = TypeVar("T")


class Attempts(Generic[T]):
    """Callers that come during an attempt share its result; a cancelled caller does not end it for the others.

    Works in the process that made it. A child process gets the error of ``closed`` until it calls ``open``.

    Args:
        name: the name of the attempt's task.
        closed: makes the error that callers get after ``close``.
        backoff: the pauses after failures.
        least_pause: returns the seconds to wait at least after this error.
    """

    def __init__(
        self,
        name: str,
        closed: Callable[[], Exception],
        *,
        backoff: Backoff = UNTIL_BACK,
        least_pause: Callable[[Exception], float] = lambda _: 0.0,
    ) -> None:
        self.backoff = backoff
        self._name = name
        self._closed = closed
        self._least_pause = least_pause
        self._task: asyncio.Task[T] | None = None
        self._pid = os.getpid()
        self._is_closed = False
        self.open()

    @property
    def is_inherited(self) -> bool:
        """Whether a parent process made it: its tasks and connections are not this process's."""
        return self._pid != os.getpid()

    @property
    def is_closed(self) -> bool:
        """Whether no attempt may begin."""
        return self._is_closed or self.is_inherited

    @property
    def is_running(self) -> bool:
        """Whether an attempt is under way; its pause counts."""
        return self._task is not None

    def open(self) -> None:
        """Allow attempts; earlier failures are forgotten."""
        if self.is_closed:
            self._task = None  # it was aborted, or is the parent's
        self._pid = os.getpid()
        self._is_closed = False
        self._failures = 0
        self._failure: Exception | None = None
        self._not_before = 0.0

    async def share(self, connect: Callable[[], Awaitable[T]], wait: float | None = None) -> T:
        """The result of the attempt under way, or of a new one.

        ``wait``: seconds within which an attempt may begin; attempts are made until one succeeds or the next one would
        begin later. None: the result of one attempt, however long its pause is.

        Raises the error of the last attempt, or ``closed``'s.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait if wait is not None else None
        while True:
            if until is not None and self._failure is not None and self._not_before > until and not self.is_closed:
                raise self._failure
            attempt = self.begin(connect)
            await asyncio.wait((attempt,))
            if attempt.cancelled():
                raise self._closed()
            error = attempt.exception()
            if error is None:
                return attempt.result()
            if until is None or self.is_closed:
                raise error

    def begin(self, connect: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """The attempt under way, or a new one. Raises the error of ``closed``."""
        if self.is_closed:
            raise self._closed()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._attempt(connect), name=self._name)
            self._task.add_done_callback(self._ended)
        return self._task

    def abort(self) -> None:
        """Cancel the attempt under way, whose callers get the error of ``closed``; until ``open`` there are no more."""
        self._is_closed = True
        if self._task is not None and not self.is_inherited:
            self._task.cancel()

    async def close(self) -> None:
        """Abort, and wait until the attempt has ended."""
        self.abort()
        if self._task is not None and not self.is_inherited:
            # Not gather: for an attempt that has just ended it returns before `_ended` is called, from Python 3.12 on.
            await asyncio.wait((self._task,))

    async def _attempt(self, connect: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        if self._failures:
            await asyncio.sleep(max(self._not_before - loop.time(), 0.0))
        try:
            result = await connect()
        except Exception as error:
            self._failures += 1
            self._failure = error
            pause = max(self.backoff.delay(self._failures), self._least_pause(error))
            self._not_before = loop.time() + pause
            raise
        self._failures, self._failure = 0, None
        return result

    def _ended(self, attempt: asyncio.Task[T]) -> None:
        if self._task is attempt:
            self._task = None
        if not attempt.cancelled():
            attempt.exception()  # every caller has it; all of them may have been cancelled


class Connection(Protocol):
    """A driver's connection. It is alive when it is made; after a loss it is never alive again."""

    @property
    def is_alive(self) -> bool:
        """Whether it can be used. False also once the other side has ended it while it was not in use."""

    def abort(self) -> None:
        """End it at once, without a word to the broker."""

    async def close(self) -> None:
        """Unregister at the broker, and end the connection; also after a loss."""


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


class NotConnectedError(Exception):
    """There is no connection, for the reason in ``problem``: nothing was sent."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem
        super().__init__(str(problem))


def late() -> TimeoutError:
    """The problem of work that waited for a connection: all were busy, or none could be made in time."""
    return TimeoutError("no connection came free in time")


class Pool(Generic[C]):
    """At most ``size`` connections. One attempt to connect at a time; after one that failed the next waits a little.

    Args:
        driver: its name, for the error of a closed pool.
        connect: makes a connection that is ready for use, and ends what it has made if it fails or is cancelled.
        size: most connections.
        timeout: seconds within which a connection must come free.
    """

    def __init__(self, driver: str, connect: Callable[[], Awaitable[C]], size: int, timeout: float) -> None:
        self._driver = driver
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._idle: list[C] = []
        self._used: set[C] = set()
        self._waiting: WaitList[C] = WaitList()
        self._attempts: Attempts[C] = Attempts("connect to the database", self._closed)

    async def run(self, work: Callable[[C], Awaitable[T]]) -> T:
        """The result of work on one connection, which no other work has meanwhile; a connection that lives stays.

        Raises NotConnectedError, and what ``work`` raises.
        """
        link = self._take_idle() or await self._wait()
        try:
            return await work(link)
        finally:
            self._give_back(link)

    async def use(self, work: Callable[[C], Awaitable[T]]) -> T:
        """The same for work of several steps: if they fail, the connection is dropped."""

        async def use(link: C) -> T:
            with OnFailure(link.abort):
                return await work(link)

        return await self.run(use)

    async def close(self) -> None:
        """Drop the connections in use, close the others. Idempotent."""
        await self._attempts.close()
        self._waiting.fail(self._closed())
        for link in self._used:
            link.abort()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(link.close() for link in idle))

    def _take_idle(self) -> C | None:
        while self._idle:
            link = self._idle.pop()
            if link.is_alive:
                self._used.add(link)
                return link
            link.abort()  # the other side has ended it; its socket is still here
        return None

    async def _wait(self) -> C:
        if self._attempts.is_closed:
            raise self._closed()
        waiter = self._waiting.add()
        self._open_more()
        link = await self._waiting.wait(waiter, self._timeout, pass_on=self._give_back)
        if link is None:
            raise NotConnectedError(late())
        return link

    def _give_back(self, link: C) -> None:
        self._used.discard(link)
        if not link.is_alive:
            link.abort()
            self._open_more()
        elif self._attempts.is_closed:
            link.abort()
        elif self._waiting.wake(link):
            self._used.add(link)
        else:
            self._idle.append(link)

    def _open_more(self) -> None:
        attempts = self._attempts
        if self._waiting and not attempts.is_running and not attempts.is_closed and len(self._used) < self._size:
            attempts.begin(self._connect).add_done_callback(self._opened)

    def _opened(self, attempt: asyncio.Task[C]) -> None:
        if attempt.cancelled():
            return
        problem = attempt.exception()
        if problem is None:
            self._give_back(attempt.result())
            self._open_more()
        elif not self._used:  # else the connections in use will come free, or fail as well
            self._waiting.fail(NotConnectedError(problem))

    def _closed(self) -> NotConnectedError:
        text = f"driver {self._driver!r} was closed meanwhile"
        return NotConnectedError(BrokerUnavailableError(text, driver=self._driver))
