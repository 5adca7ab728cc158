"""Receiving: claim, and wait where there is nothing; and the end of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Receipt, Received, Release, Settlement
from tasuki.drivers.postgres import rows
from tasuki.drivers.postgres.session import SETTLE, TAKE, Session

MAX_CLAIM_BYTES = 64 * 2**20
"""A receive stops after this many bytes of bodies, so that memory stays bounded."""

_RECHECK = 0.02
"""Seconds after which a queue is looked at again by who has just begun to wait: a publisher may have missed that."""
_SHORTEST = 0.005
_DEAF = 0.25
"""Longest time between two looks at a queue of which nothing is heard."""

Claimed = tuple[list[Received], float, bool]
"""Messages; or none, seconds until something is due, and whether it was noted only now that somebody waits."""


class Receiving:
    """One receive."""

    def __init__(self, session: Session, queue: str, limit: int, is_declared: Callable[[], bool]) -> None:
        self._session = session
        self._queue = queue
        self._limit = limit
        self._is_declared = is_declared

    async def receive(self, wait: float, clock: Clock, poll_interval: float) -> list[Received]:
        """Up to ``limit`` messages, as soon as there is one; none after ``wait`` seconds, or when the session ends."""
        session, queue = self._session, self._queue
        ends_at = clock.monotonic() + wait
        if wait > 0:
            session.listen(queue)
        pause = _RECHECK
        while True:
            count = session.bell.count(queue)
            left = max(ends_at - clock.monotonic(), 0.0)
            # Who hears nothing is not worth a NOTIFY.
            taken, due_in, is_new = await self._claim(left if session.hears(queue) else 0.0)
            if session.is_closing:
                return []  # what was taken has been given back
            left = ends_at - clock.monotonic()
            if taken or left <= 0:
                return taken
            if session.hears(queue):
                idle = _RECHECK if is_new else poll_interval
            else:
                idle, pause = pause, min(pause * 1.5, _DEAF, poll_interval)
            await session.bell.wait(queue, count, min(left, max(min(idle, due_in), _SHORTEST)))
            if session.is_closing or not self._is_declared():
                return []  # what a close gives back is for others
            if clock.monotonic() >= ends_at and session.bell.count(queue) == count:
                return []

    async def _claim(self, wait: float) -> Claimed:
        task = self._session.spawn(self._claim_whole(wait))
        is_taken = False
        try:
            answer = await asyncio.shield(task)
            is_taken = True
        finally:
            if not is_taken:
                task.add_done_callback(self._release)
        return answer

    async def _claim_whole(self, wait: float) -> Claimed:
        session = self._session
        found = await session.fetch(self._queue, TAKE, self._queue, self._limit, MAX_CLAIM_BYTES, session.holder, wait)
        if found and found[0][0] is None:
            due_in, is_new = found[0][7], found[0][8]
            return [], float("inf") if due_in is None else due_in, is_new
        taken = rows.received(found)
        session.hold(self._queue, [delivery.receipt for delivery in taken])
        return taken, 0.0, False

    def _release(self, task: asyncio.Task[Claimed]) -> None:
        """Hand back what came for a receive that was cancelled."""
        if task.cancelled() or task.exception() is not None or self._session.is_closing:
            return
        if taken := task.result()[0]:
            back = [Release(delivery.receipt) for delivery in taken]
            self._session.spawn(settle(self._session, self._queue, back, is_by_key=False))


async def settle(session: Session, queue: str, batch: Sequence[Settlement], *, is_by_key: bool) -> list[Receipt]:
    """End deliveries; returns the stale receipts. For a caller that is never cancelled."""
    columns, wanted = rows.settling(batch)
    places = (await session.fetch(queue, SETTLE, queue, *columns))[0][0]
    session.forget(queue, wanted)
    if columns[2] is not None or is_by_key:
        session.bell.ring(queue)  # something came back, or stands in front now
    return rows.stale(batch, wanted, places)
