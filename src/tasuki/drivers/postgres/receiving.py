"""Receiving: takes messages or waits for them, ends deliveries, and reads the occupancy of queues in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Occupancy, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.session import RECEIVE, SETTLE, SETTLE_WITH_ERRORS, Session
from tasuki.drivers.toolkit.guard import KnownQueues
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


MAX_CLAIM_BYTES = 64 * 2**20
"""A receive stops after this many bytes of bodies, so that memory stays bounded."""

_SHORT = 1.0
"""A receive that waits for less asks in any case: a wake-up may still be on its way."""


class Receiving:
    """One receive."""

    def __init__(self, session: Session, queue: str, limit: int, known: KnownQueues[QueueSpec]) -> None:
        self._session = session
        self._queue = queue
        self._limit = limit
        self._known = known
        self._spec = known.get(queue)

    async def receive(self, wait: float, clock: Clock) -> list[Received]:
        """Up to ``limit`` messages, as soon as there is one; none after ``wait`` seconds, or when the session ends."""
        session, queue = self._session, self._queue
        ends_at = clock.monotonic() + wait
        woken = wait < _SHORT or not session.waiting.is_quiet(queue)
        while True:
            if woken:
                left = ends_at - clock.monotonic()
                taken, has_news = await self._ask(waits=left > 0)
                if session.is_closing:
                    return []  # the messages have been released
                if taken or left <= 0 or queue not in self._known:
                    return taken
                if has_news:
                    continue
            woken = await session.waiting.wait(queue, ends_at - clock.monotonic())
            if not woken or session.is_closing or queue not in self._known:
                return []  # messages that a close releases are for other processes

    async def _ask(self, *, waits: bool) -> tuple[list[Received], bool]:
        """Messages, and whether a wake-up came meanwhile; messages pass the wake-up on to another receive."""
        waiting, queue = self._session.waiting, self._queue
        line = waiting.line(queue)
        news = line.news
        line.asking += 1
        try:
            taken = await self._session.tasks.run(self._claim(waits), unwanted=self._release)
        finally:
            line.asking -= 1
        has_news = line.news != news
        if taken and has_news:
            waiting.wake(queue)
        if taken:
            waiting.took(queue, is_full=len(taken) >= self._limit)
        return taken, has_news

    async def _claim(self, waits: bool) -> list[Received]:
        session, queue = self._session, self._queue
        line = session.waiting.line(queue)
        leaves = line.is_noted and not line.receives and line.asking < 2
        found = await session.fetch(
            queue,
            RECEIVE,
            queue,
            self._limit,
            MAX_CLAIM_BYTES,
            session.holder,
            waits,
            leaves,
            session.hears,
            session.pace,
        )
        if found and found[0][0] is None:
            if waits:
                session.waiting.noted(queue, found[0][7], found[0][8])
            return []
        if leaves:
            line.is_noted = False
        taken = rows.received(found)
        session.held.hold(queue, self._spec, [delivery.receipt for delivery in taken])
        return taken

    def _release(self, taken: list[Received]) -> None:
        """Release the messages of a cancelled receive."""
        if taken and not self._session.is_closing:
            back = [Release(delivery.receipt) for delivery in taken]
            self._session.tasks.start(settle(self._session, self._queue, back, frees_others=False))


async def settle(session: Session, queue: str, batch: Sequence[Settlement], *, frees_others: bool) -> list[Receipt]:
    """End deliveries; returns the stale receipts. For a caller that is never cancelled."""
    columns, wanted = rows.settling(batch)
    if columns[2] is not None and (errors := rows.errors(wanted)):
        places = (await session.fetch(queue, SETTLE_WITH_ERRORS, queue, *columns, errors))[0][0]
    else:
        places = (await session.fetch(queue, SETTLE, queue, *columns))[0][0]
    session.held.forget(queue, wanted)
    if columns[2] is not None or frees_others:
        session.stored(queue)  # something came back, stands in front now, or has a place
    return rows.stale(batch, wanted, places)
