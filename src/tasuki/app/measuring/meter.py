"""Meter: makes the snapshots of an app, and begins what costs something when the first one is asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.app.measuring.depths import DepthReader
from tasuki.app.measuring.snapshot import snapshot_of

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.observe.exposition.snapshots import Snapshot


class Meter:
    """One per app. ``snapshot`` may be called from any thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._last: Assembly | None = None
        """The assembly of the last snapshot: its counters are read also after the app has closed."""
        self._ended: Assembly | None = None
        """The assembly that is closing: its queues are not read any more."""
        self.depths = DepthReader(app)

    def snapshot(self) -> Snapshot:
        """The metrics of this process now; after the app has closed, as they were then."""
        app, assembly = self._app, self._app.assembly
        if assembly is not None:
            self._last = assembly
            for consumer in list(assembly.consumers.values()):
                consumer.metrics.measure(app.clock)
            if assembly is not self._ended:
                self._read_depths()
        return snapshot_of(self._last, app.supervisor.states(), self.depths.known(), app.clock.time())

    def _read_depths(self) -> None:
        loop = self._app.loop
        if loop is not None and not self.depths.is_running:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self.depths.start)

    async def stop(self) -> None:
        """Read no queue any more: the drivers are about to close."""
        self._ended = self._app.assembly
        await self.depths.stop()
