"""Source: the eyes and hands of ``tasuki mcp``, on a thread with an event loop and connections of its own.

The protocol answers, and calls can be cancelled, while a driver blocks that loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from tasuki.clock import Clock
from tasuki.desk.acts.acts import Acts
from tasuki.desk.api import asked
from tasuki.desk.api.call import Call
from tasuki.desk.dead.board import Board
from tasuki.desk.dead.library import Library
from tasuki.desk.reading.causes import Asked
from tasuki.desk.reading.listed.finding import Finder
from tasuki.desk.reading.observed.held import HeldMessages
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.security.session import Session
from tasuki.desk.site import AwayError, Site
from tasuki.desk.watched import Watched, WatchedApp
from tasuki.mcp.searching import Passages
from tasuki.system.loop_thread import LoopThread

T = TypeVar("T")

_GRACE = 1.0
"""Seconds in which connections are closed at the end; the process does not wait longer for a broker."""


class Source:
    """Reads and acts through a site, which it opens and closes.

    Args:
        site: not open yet.
        actor: who acts, for policies, the log and the audit.
        clock: the machine's.
        check: the command that checks the project, and its arguments.
        passages: what docs_search looks through.
    """

    def __init__(self, site: Site, actor: str, clock: Clock, check: Sequence[str], passages: Passages) -> None:
        self.site, self.actor = site, actor
        self.check, self.passages = check, passages
        self.sampler = Sampler(site, clock)
        self.library = Library(site, clock)
        self.board = Board(site, clock)
        self.acts = Acts(site, self.library, self.board)
        self.asked = Asked(site, clock)
        self.held = HeldMessages(site, clock)
        self.finder = Finder(site, clock)
        self.watched: Watched = WatchedApp(site.reader)
        self._session = Session("mcp", actor, "", "mcp")
        self._thread = LoopThread("tasuki-mcp")
        self._opening: asyncio.Task[None] | None = None

    def call(
        self, names: Mapping[str, str], query: asked.Query | None = None, body: msgspec.Struct | None = None
    ) -> Call:
        """A request of this actor to an operation of the API; ``names``: the names in its path."""
        return Call(self, self._session, names, query or asked.Query(), body or asked.Nothing())

    @property
    def known(self) -> Collection[str]:
        """Ids of the project's entries; none before it was read."""
        try:
            return self.site.project.kinds.keys()
        except AwayError:
            return ()

    async def ask(self, work: Callable[[], Coroutine[Any, Any, T]], *, is_whole: bool = False) -> T:
        """The result of work on the reading thread, for a caller on another event loop.

        ``is_whole``: it goes on to its end, although its caller is cancelled. Raises what the work raises.
        """

        async def opened() -> T:
            await self._open()
            return await work()

        return await self._thread.call(opened, is_whole=is_whole)

    async def _open(self) -> None:
        """Open the site once for all calls: one that is cancelled must not take it from the others."""
        if self._opening is None or (self._opening.done() and not self._is_open):
            self._opening = asyncio.create_task(self.site.open(), name="mcp opens")
        await asyncio.shield(self._opening)

    @property
    def _is_open(self) -> bool:
        task = self._opening
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    async def close(self) -> None:
        """Close the connections and end the thread, within a second: nothing is lost where that is not enough."""
        try:
            async with asyncio.timeout(_GRACE):
                await self._thread.call(self._close)
        except (TimeoutError, RuntimeError):
            pass
        self._thread.stop()

    async def _close(self) -> None:
        await self.sampler.close()
        await self.library.close()
        await self.asked.close()
        await self.held.close()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._is_open:
            await self.site.close()
