"""Pool: a few connections for one event loop, made when they are needed and made anew when they were lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.postgres.connecting.connections import Link
from tasuki.errors import BrokerUnavailableError


class NotConnectedError(Exception):
    """There is no connection, for the reason in ``problem``: nothing was sent."""

    def __init__(self, problem: Exception) -> None:
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
        self._waiting: deque[asyncio.Future[Link]] = deque()
        self._opener: asyncio.Task[None] | None = None
        self._failures = 0
        self._closed = False

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
        is_done = False
        try:
            await work(link)
            is_done = True
        finally:
            if not is_done:
                link.terminate()
            self._give_back(link)

    async def close(self) -> None:
        """Drop what is in use, close the others."""
        self._closed = True
        if self._opener is not None:
            self._opener.cancel()
            await asyncio.gather(self._opener, return_exceptions=True)
        self._fail(_closed())
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
        if self._closed:
            raise NotConnectedError(_closed())
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._open_more()
        is_taken = False
        try:
            async with asyncio.timeout(self._timeout):
                link = await waiter
            is_taken = True
            return link
        except TimeoutError as problem:
            raise NotConnectedError(TimeoutError("no connection came free in time")) from problem
        finally:
            if not is_taken and waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())  # it came together with the end of the wait

    def _give_back(self, link: Link) -> None:
        self._used.discard(link)
        if not link.is_open:
            self._open_more()
        elif self._closed:
            link.terminate()
        elif not self._hand_over(link):
            self._idle.append(link)

    def _hand_over(self, link: Link) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._used.add(link)
                waiter.set_result(link)
                return True
        return False

    def _open_more(self) -> None:
        if self._waiting and self._opener is None and not self._closed and len(self._used) < self._size:
            self._opener = asyncio.get_running_loop().create_task(self._open(), name="connect to PostgreSQL")

    async def _open(self) -> None:
        try:
            if self._failures:
                await asyncio.sleep(UNTIL_BACK.delay(self._failures))
            link = await self._connect()
        except Exception as problem:
            self._opener = None
            self._failures += 1
            if not self._used:  # else those that are in use will come free, or fail as well
                self._fail(problem)
            return
        self._opener = None
        self._failures = 0
        self._give_back(link)
        self._open_more()

    def _fail(self, problem: Exception) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(NotConnectedError(problem))


def _closed() -> BrokerUnavailableError:
    return BrokerUnavailableError("it was closed")
