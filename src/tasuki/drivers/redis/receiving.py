"""Receiving: waits for messages, and answers for what it took until it is settled."""

from __future__ import annotations

import itertools
from contextlib import suppress

from tasuki.clock import Clock
from tasuki.contracts.driver import SILENCE, Received, Release, Settlement
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import MAX_BYTES, Settling, microseconds, received, settled_together
from tasuki.drivers.redis.listening import Listener, News, Waiters
from tasuki.drivers.redis.scripts import Place
from tasuki.drivers.redis.session import Session
from tasuki.drivers.toolkit.wait_list import woken
from tasuki.errors import DriverError
from tasuki.system.tasks import Tasks

_AS_OFTEN = 200
"""Idle queues of a process that are checked every ``claim_interval``; more are checked less often."""
HEARS = "."
"""In a token: its process hears at the server, by which others see that it lives."""
Taken = tuple[list[Received], bool]
"""Deliveries, and whether there is more."""


class Receiver:
    """All receives of one driver. ``claim_interval``: seconds after which a process checks if it alone waits."""

    listener: Listener
    """Of the newest connections."""

    def __init__(self, session: Session, clock: Clock, claim_interval: float) -> None:
        self._session = session
        self.waiters = Waiters(self._pass_on, self.check)
        self._clock = clock
        self._claim_interval = claim_interval
        self._numbers = itertools.count()
        self._tasks = Tasks()
        self._resigning = Tasks()
        self.used: set[str] = set()
        """The queues from which this process receives, now and again."""

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; release the messages of a cancelled caller."""
        if limit <= 0:
            self._session.place(queue)
            return []
        session, where = self._session, self._session.place(queue)
        self.used.add(queue)
        waiters = self.waiters
        ends_at = self._clock.monotonic() + wait
        waiter = waiters.join(queue)
        owed: News | None = None
        has_more = False
        try:
            while session.is_open:  # what a close has just put back is for others
                if wait > 0 and waiters.is_registered(queue):
                    owed = await woken(waiter, ends_at - self._clock.monotonic())
                    if owed is None:
                        return []
                    session.place(queue)
                    waiters.leave(queue, waiter)
                    waiter = waiters.join(queue)
                if wait > 0 and not self.listener.hears(where):
                    with session.translating(queue):
                        await self.listener.listen(where)
                    session.place(queue)
                taken, has_more = await self._take(where, limit, is_waiting=wait > 0)
                owed = None
                if taken or not session.is_open or self._clock.monotonic() >= ends_at:
                    return self._kept(where, taken)
                session.place(queue)  # else it was deleted or undeclared
            return []
        finally:
            not_acted_on = (owed, waiters.leave(queue, waiter))
            if News.MINE in not_acted_on:
                waiters.wake(queue)
            elif has_more or News.ALL in not_acted_on:
                waiters.wake_one(queue)

    def check(self, queues: list[str]) -> None:
        """Ask about queues for which receivers wait; where something may be there, wake one of them."""
        if self._session.is_open:
            self._tasks.start(self._check(queues))

    async def _check(self, queues: list[str]) -> None:
        session, shared = self._session, (self._session.owner, self._interval, microseconds(SILENCE))
        places = [where for queue in queues if (where := session.known.find(queue)) is not None]
        asked = [(where, ()) for where in places]
        answers = await session.run_for_each(session.nodes(""), scripts.CHECK, shared, asked)
        for where, again in zip(places, answers, strict=True):
            is_known = not isinstance(again, DriverError) and again >= 0  # else a receiver has to ask
            self.waiters.checked(where.name, again / 1_000_000 if is_known else None)

    @property
    def _interval(self) -> int:
        """Microseconds; longer for many queues, so that the checks of a process cost no more than for a few queues."""
        return microseconds(self._claim_interval * max(1.0, len(self.waiters) / _AS_OFTEN))

    def _kept(self, where: Place, taken: list[Received]) -> list[Received]:
        """What the caller gets of it: nothing if the driver is being closed, or the queue was undeclared meanwhile."""
        if self._session.is_open and where.name in self._session.known:
            return taken
        self._give_back(where, taken)
        return []

    async def put_back(self) -> None:
        """Wait for running work, and return held messages as deliveries without a settlement."""
        while any(self._tasks):
            await self._tasks.wait()
        for queue in self.listener.queues:  # other processes are woken from now on, not this one
            if (where := self._session.known.find(queue)) is not None:
                await self._session.finish(where, scripts.RESIGN, self._session.owner)
        for _, where, receipts in self._session.held.all():
            for part in settled_together(where.spec, receipts):
                await self._session.finish(where, scripts.LOSE, *part)

    async def _take(self, where: Place, limit: int, *, is_waiting: bool) -> Taken:
        """What can be received now. A cancelled caller does not stop the script, so its answer is dealt with here."""
        work = self._fetch(where, limit, is_waiting=is_waiting)
        return await self._tasks.run(work, unwanted=lambda taken: self._give_back(where, taken[0]))

    async def _fetch(self, where: Place, limit: int, *, is_waiting: bool) -> Taken:
        """``is_waiting``: the caller waits if there is nothing, and so can register the process at the server."""
        session, waiters = self._session, self.waiters
        stood = self.listener.heard_for(where)
        token = f"{session.owner}{'' if stood is None else HEARS}{next(self._numbers):x}"
        mode = (2 if waiters.count(where.name) > 1 else 1) if is_waiting else 0
        wakes = waiters.wakes(where.name)
        silence, stands = (0, 0) if stood is None else (microseconds(SILENCE), int(stood >= SILENCE))
        words = (limit, token, MAX_BYTES, mode, session.owner, self._interval, silence, stands)
        answer = await session.finish(where, scripts.RECEIVE, *words)
        taken: list[Received] = []
        again, has_more = answer, 0
        if isinstance(answer, list):
            *found, has_more, again = answer
            taken = received(found, token)
            session.held.hold(where.name, where, [item.receipt for item in taken])
        if again >= 0 and session.is_open:
            waiters.registered(where.name, wakes, again / 1_000_000)
        return taken, bool(has_more)

    def _give_back(self, where: Place, taken: list[Received]) -> None:
        if taken and self._session.is_open:  # else the close releases them
            self._tasks.start(self._release(where, [Release(item.receipt) for item in taken]))

    async def _release(self, where: Place, backs: list[Settlement]) -> None:
        with suppress(DriverError):  # then their leases end
            for part in settled_together(where.spec, backs):
                await self._session.finish(where, scripts.SETTLE, *Settling(part).words)
        self._session.held.forget(where.name, [back.receipt for back in backs])

    def hear_no_more(self, where: Place) -> None:
        """End the subscription to a queue of which nothing is held, and the receives that wait for it."""
        self.used.discard(where.name)
        if self._session.is_open and (self._session.held.holds(where.name) or self.listener.leave(where)):
            self._resigning.start(self._resign(where))
        self.waiters.wake_all(where.name)

    def _pass_on(self, queue: str) -> None:
        where = self._session.known.find(queue)
        if where is not None and self._session.is_open:
            self._resigning.start(self._resign(where))

    async def _resign(self, where: Place) -> None:
        with suppress(DriverError):  # then another process finds out by itself
            await self._session.finish(where, scripts.RESIGN, self._session.owner)
