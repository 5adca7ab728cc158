"""Pool: a few connections for one event loop, made when they are needed, and made again after they were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from tasuki.drivers.toolkit.reconnecting import Attempts, Connection
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import BrokerUnavailableError
from tasuki.system.tasks import OnFailure

C = TypeVar("C", bound=Connection)
T = TypeVar("T")


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
