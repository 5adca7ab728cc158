"""Reading: the eyes and hands of ``tasuki top``, on a thread with an event loop and connections of its own.

Neither a broker that is slow nor a driver that blocks its event loop keeps the terminal from answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tasuki.clock import Clock
from tasuki.desk.acts.acts import Acts, Done, Order
from tasuki.desk.dead.board import Board
from tasuki.desk.dead.library import Library
from tasuki.desk.reading.causes import Asked
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.desk.security.session import Session
from tasuki.desk.site import AwayError, Site
from tasuki.system.identity import user_and_host
from tasuki.system.loop_thread import LoopThread

T = TypeVar("T")

_GRACE = 1.0
"""Seconds in which connections are closed at the end; the process does not wait longer for a broker."""


class Reading:
    """Reads and acts through a site, which it opens and closes.

    Args:
        site: not open yet.
        actor: who acts, for policies and the log; empty: the user of this process and its host.
        clock: the machine's.
    """

    def __init__(self, site: Site, actor: str, clock: Clock) -> None:
        self.site, self.clock = site, clock
        self.actor = actor or user_and_host()
        self.letters = Library(site, clock)
        self.asked = Asked(site, clock)
        self.board = Board(site, clock)
        self.acts = Acts(site, self.letters, self.board)
        self.session = Session("top", self.actor, "", "terminal")
        self._sampler = Sampler(site, clock)
        self._thread = LoopThread("tasuki-top")
        self._opening = asyncio.Lock()
        self._is_open = False

    async def ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of work on the reading thread, for a caller on any event loop."""
        return await self._thread.call(work)

    async def snapshot(self, *, now: bool = False) -> Snapshot:
        """The counts, workers and pauses, on the reading thread; see :meth:`Sampler.latest`."""
        await self._open()
        return await self._sampler.latest(now=now)

    async def _open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self.site.open()
                self._is_open = True

    async def carry_out(self, order: Order) -> Done:
        """One act, with the actor's rights, and logged; on the reading thread. Raises as ``Acts.carry_out``."""
        return await self.acts.carry_out(order, self.session)

    def may(self, act: str, id: str) -> bool:
        """Whether the actor may do this; from any thread, as it asks the project's policies alone."""
        try:
            return self.acts.rights().may(self.actor, act, id)
        except AwayError:
            return False

    def keeps(self, queue: str) -> bool:
        """Whether deleted letters of this queue can be brought back. Raises AwayError, KeyError."""
        can = self.site.live.queues[queue].driver.capabilities
        return can.transfer and can.find and can.peek

    async def close(self) -> None:
        """Close the connections and end the thread, within a second: nothing is lost where that is not enough."""
        try:
            async with asyncio.timeout(_GRACE):
                await self._thread.call(self._close)
        except (TimeoutError, RuntimeError):
            pass
        self._thread.stop()

    async def _close(self) -> None:
        await self._sampler.close()
        await self.letters.close()
        await self.asked.close()
        if self._is_open:
            await self.site.close()
