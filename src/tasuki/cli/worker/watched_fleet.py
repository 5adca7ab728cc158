"""What the desk beside ``run --processes`` asks, from its own thread."""

from __future__ import annotations

import asyncio

from tasuki.app.health.report import Report
from tasuki.cli.worker.fleet import Fleet
from tasuki.errors import LifecycleError
from tasuki.observe.exposition.snapshots import Snapshot


class WatchedFleet:
    """All processes together; see :class:`tasuki.desk.viewer.Watched`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def report(self) -> Report:
        """How they are, by the last observation."""
        return self._fleet.health.report()

    async def snapshot(self) -> Snapshot:
        """Their metrics. Raises LifecycleError: they do not run."""
        if (loop := self._fleet.loop) is None or loop.is_closed():
            raise LifecycleError("the processes do not run yet, or no more", service="processes")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._fleet.metrics.snapshot(), loop))

    def version(self) -> object:
        """Another object after each HUP that the processes received."""
        return self._fleet.version
