"""Occupancies: whether queues hold messages; the calls of one moment share a statement."""

from __future__ import annotations

import asyncio

from tasuki.contracts.driver import Occupancy
from tasuki.drivers.postgres.session import Session
from tasuki.errors import DriverError

ASK = "SELECT name, ready, hidden FROM {}.occupancies($1)"
EXISTS = "SELECT ready FROM {}.count_messages($1)"


class Occupancies:
    """For one session. Health asks about all consumers at once, every few seconds."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._asked: dict[str, asyncio.Future[Occupancy]] = {}

    async def of(self, queue: str) -> Occupancy:
        """Whether the queue holds messages. Raises DriverError."""
        future = self._asked.get(queue)
        if future is None:
            loop = self.session.loop
            future = self._asked[queue] = loop.create_future()
            if len(self._asked) == 1:
                loop.call_soon(self._begin)
        return await asyncio.shield(future)

    def _begin(self) -> None:
        asked, self._asked = self._asked, {}
        self.session.tasks.start(self._answer(asked))

    async def _answer(self, asked: dict[str, asyncio.Future[Occupancy]]) -> None:
        found: dict[str, tuple[bool | None, bool | None]] = {}
        try:
            for name, ready, hidden in await self.session.fetch("", ASK, list(asked)):
                found[name] = ready, hidden
        except DriverError as error:
            for future in asked.values():
                _fail(future, error)
            return
        for queue, future in asked.items():
            ready, hidden = found[queue]
            try:
                if ready is None or hidden is None:
                    await self.session.fetch(queue, EXISTS, queue)  # which makes it again, or raises
            except DriverError as error:
                _fail(future, error)
            else:
                _resolve(future, Occupancy(bool(ready), bool(hidden)))


def _resolve(future: asyncio.Future[Occupancy], occupancy: Occupancy) -> None:
    if not future.done():
        future.set_result(occupancy)


def _fail(future: asyncio.Future[Occupancy], error: DriverError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # its caller may have been cancelled
