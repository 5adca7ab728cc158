"""Means: what pages, operations of the API, tools and views of a terminal read and act through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tasuki.app.health.report import Report
from tasuki.clock import Clock
from tasuki.desk.acts.acts import Acts
from tasuki.desk.dead.board import Board
from tasuki.desk.dead.library import Library
from tasuki.desk.reading.asking import Asked, HeldMessages
from tasuki.desk.reading.listed.finding import Finder
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.site import Site
from tasuki.observe.exposition.snapshots import Snapshot

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

    async def snapshot(self) -> Snapshot:
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

    async def snapshot(self) -> Snapshot:
        """See :class:`Watched`."""
        return self._app.metrics.snapshot()

    def version(self) -> object:
        """See :class:`Watched`."""
        return self._app._runtime.assembly
