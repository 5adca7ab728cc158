"""Means: what pages, operations of the API, tools and views of a terminal read and act through."""

from __future__ import annotations

from tasuki.clock import Clock
from tasuki.desk.acts.acts import Acts
from tasuki.desk.dead.board import Board
from tasuki.desk.dead.library import Library
from tasuki.desk.reading.causes import Asked
from tasuki.desk.reading.listed.finding import Finder
from tasuki.desk.reading.observed.held import HeldMessages
from tasuki.desk.reading.sampler import Sampler
from tasuki.desk.site import Site
from tasuki.desk.watched import Watched, WatchedApp


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
