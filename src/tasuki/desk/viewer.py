"""Viewer: runs reads and acts for ``tasuki top`` and ``tasuki mcp``, on a thread with its own event loop.

Neither a slow broker nor a driver that blocks that loop keeps the terminal or the protocol from answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tasuki.app.health.report import Report
from tasuki.clock import Clock
from tasuki.desk.acts.acts import ActResult, Acts, Order
from tasuki.desk.dead.library import Board, Library
from tasuki.desk.reading.asking import Asked, HeldMessages
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.reading.search import Finder
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import AwayError, Site
from tasuki.observe.exposition.snapshots import Snapshot as MetricsSnapshot
from tasuki.system.loop_thread import LoopThread

if TYPE_CHECKING:
    from tasuki.app.app import App


class Means:
    """Made once for a site; belongs to one event loop.

    ``watched``: what the probes and the metrics are about; by default the app that works here.
    """

    def __init__(self, site: Site, clock: Clock, watched: Watched | None = None) -> None:
        self.site, self.clock = site, clock
        self.watched: Watched = watched or WatchedApp(site.own or site.reader)
        self.sampler = Sampler(site, clock)
        self.library, self.board = Library(site, clock), Board(site, clock)
        self.acts = Acts(site, self.library, self.board)
        self.asked, self.held, self.finder = Asked(site, clock), HeldMessages(site, clock), Finder(site, clock)

    async def end(self) -> None:
        """End the reads under way."""
        for each in (self.sampler, self.library, self.asked, self.held):
            await each.close()


class Watched(Protocol):
    """What the probes are about: an app, or the processes of ``run --processes``."""

    def report(self) -> Report:
        """How it is; from any thread, without waiting."""
        ...

    async def snapshot(self) -> MetricsSnapshot:
        """Its metrics, on the event loop of the desk."""
        ...

    def version(self) -> object:
        """Another object after each reload; from any thread."""
        ...


class WatchedApp:
    """An app in this process."""

    def __init__(self, app: App) -> None:
        self._app = app

    def report(self) -> Report:
        """See :class:`Watched`."""
        return self._app.health.report()

    async def snapshot(self) -> MetricsSnapshot:
        """See :class:`Watched`."""
        return self._app.metrics.snapshot()

    def version(self) -> object:
        """See :class:`Watched`."""
        return self._app._runtime.assembly


T = TypeVar("T")


_GRACE = 1.0
"""Seconds in which connections are closed at the end; the process does not wait longer for a broker."""


class Viewer(Means):
    """Reads and acts through a site, which it opens and closes.

    Args:
        site: not open yet.
        session: who acts, for policies, the log and the audit.
        clock: the machine's.
    """

    def __init__(self, site: Site, session: ActorSession, clock: Clock) -> None:
        super().__init__(site, clock)
        self.session = session
        self._thread = LoopThread(f"tasuki-{session.id}")
        self._opening: asyncio.Task[None] | None = None

    async def ask(self, work: Callable[[], Coroutine[Any, Any, T]], *, is_whole: bool = False) -> T:
        """The result of work on the reading thread, for a caller on another event loop.

        ``is_whole``: it goes on to its end, although its caller is cancelled. Raises what the work raises.
        """

        async def opened() -> T:
            await self._open()
            return await work()

        return await self._thread.call(opened, is_whole=is_whole)

    async def _open(self) -> None:
        """Open the site once for all callers: one that is cancelled must not take it from the others."""
        if self._opening is None or (self._opening.done() and not self._is_open):
            self._opening = asyncio.create_task(self.site.open(), name=f"{self.session.id} opens")
        await asyncio.shield(self._opening)

    @property
    def _is_open(self) -> bool:
        task = self._opening
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    async def snapshot(self, *, now: bool = False) -> Snapshot:
        """The counts, workers and pauses, on the reading thread; see :meth:`Sampler.latest`."""
        return await self.sampler.latest(now=now)

    async def carry_out(self, order: Order) -> ActResult:
        """One act, with the actor's rights, and logged; on the reading thread. Raises as ``Acts.carry_out``."""
        return await self.acts.carry_out(order, self.session)

    def may(self, act: str, id: str) -> bool:
        """Whether the actor may do this; from any thread, as it asks the project's policies alone."""
        try:
            return self.acts.rights().may(self.session.actor, act, id)
        except AwayError:
            return False

    def keeps(self, queue: str) -> bool:
        """Whether deleted letters of this queue can be brought back. Raises AwayError, KeyError."""
        can = self.site.live.queues[queue].driver.capabilities
        return can.has("transfer") and can.has("find") and can.has("peek")

    async def close(self) -> None:
        """Close the connections and end the thread, within a second: nothing is lost where that is not enough."""
        try:
            async with asyncio.timeout(_GRACE):
                await self._thread.call(self._close)
        except (TimeoutError, RuntimeError):
            pass
        self._thread.stop()

    async def _close(self) -> None:
        await self.end()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._is_open:
            await self.site.close()
