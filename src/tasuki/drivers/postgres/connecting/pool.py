"""Pool: a few connections for one event loop, made when they are needed, and made again after they were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tasuki.drivers.postgres.connecting.connections import Link
from tasuki.drivers.toolkit.reconnecting import Attempts
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import BrokerUnavailableError
from tasuki.system.on_failure import OnFailure


class NotConnectedError(Exception):
    """There is no connection, for the reason in ``problem``: nothing was sent."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem
        super().__init__(str(problem))


class Pool:
    """At most ``size`` connections. One attempt to connect at a time; after one that failed the next waits a little."""

    def __init__(self, connect: Callable[[], Awaitable[Link]], size: int, timeout: float) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._idle: list[Link] = []
        self._used: set[Link] = set()
        self._waiting: WaitList[Link] = WaitList()
        self._attempts: Attempts[Link] = Attempts("connect to PostgreSQL", _closed)

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of one statement, on any of the connections; see :meth:`Link.fetch`."""
        link = self._take_idle() or await self._wait()
        try:
            return await link.fetch(sql, *arguments)
        finally:
            self._give_back(link)

    async def use(self, work: Callable[[Link], Awaitable[None]]) -> None:
        """Do several things on one connection, which is dropped if they fail."""
        link = self._take_idle() or await self._wait()
        try:
            with OnFailure(link.terminate):
                await work(link)
        finally:
            self._give_back(link)

    async def close(self) -> None:
        """Drop the connections in use, close the others."""
        await self._attempts.close()
        self._waiting.fail(_closed())
        for link in self._used:
            link.terminate()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(link.close() for link in idle))

    def _take_idle(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            if link.is_open:
                self._used.add(link)
                return link
        return None

    async def _wait(self) -> Link:
        if self._attempts.is_closed:
            raise _closed()
        waiter = self._waiting.add()
        self._open_more()
        link = await self._waiting.wait(waiter, self._timeout, pass_on=self._give_back)
        if link is None:
            raise NotConnectedError(TimeoutError("no connection came free in time"))
        return link

    def _give_back(self, link: Link) -> None:
        self._used.discard(link)
        if not link.is_open:
            self._open_more()
        elif self._attempts.is_closed:
            link.terminate()
        elif self._waiting.wake(link):
            self._used.add(link)
        else:
            self._idle.append(link)

    def _open_more(self) -> None:
        attempts = self._attempts
        if self._waiting and not attempts.is_running and not attempts.is_closed and len(self._used) < self._size:
            attempts.begin(self._connect).add_done_callback(self._opened)

    def _opened(self, attempt: asyncio.Task[Link]) -> None:
        if attempt.cancelled():
            return
        problem = attempt.exception()
        if problem is None:
            self._give_back(attempt.result())
            self._open_more()
        elif not self._used:  # else the connections in use will come free, or fail as well
            self._waiting.fail(NotConnectedError(problem))


def _closed() -> NotConnectedError:
    return NotConnectedError(BrokerUnavailableError("it was closed"))
