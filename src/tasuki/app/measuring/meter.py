"""Meter: makes the snapshots of an app, and begins what costs something when the first one is asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.app.measuring.depths import DepthReader
from tasuki.app.measuring.snapshot import snapshot_of
from tasuki.app.measuring.telemetry import bind, make_telemetry

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.observe.exposition.snapshots import Snapshot
    from tasuki.observe.exposition.telemetry import Telemetry


class Meter:
    """One per app. ``snapshot`` may be called from any thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._last: Assembly | None = None
        """The assembly of the last snapshot: its counters are read also after the app has closed."""
        self._ended: Assembly | None = None
        """The assembly that is closing: its queues are not read any more."""
        self._reconnects: dict[str, int] = {}
        """By driver, in the last snapshot: it must not fall."""
        self.depths = DepthReader(app)
        self._telemetry: Telemetry | None = None

    def snapshot(self) -> Snapshot:
        """The metrics of this process now; after the app has closed, as they were then."""
        app, assembly = self._app, self._app.assembly
        if assembly is not None:
            self._last = assembly
            for consumer in list(assembly.consumers.values()):
                consumer.metrics.measure(app.clock)
            if assembly is not self._ended:
                self._read_depths()
        found = snapshot_of(self._last, app.supervisor.states(), self.depths.known(), app.clock.time())
        for id, driver in found["drivers"].items():  # the most of a consumer: it may be one that is gone
            driver["reconnects"] = self._reconnects[id] = max(self._reconnects.get(id, 0), driver["reconnects"])
        return found

    def _read_depths(self) -> None:
        loop = self._app.loop
        if loop is not None and not self.depths.is_running:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self.depths.start)

    def begin(self, assembly: Assembly) -> None:
        """The app has opened, or has a new version: give its metrics away, if it asks for that.

        Raises:
            UnsupportedError: OpenTelemetry is not installed.
        """
        if self._telemetry is None:
            self._telemetry = make_telemetry(self._app, assembly)
        if self._telemetry is not None:
            for consumer in assembly.consumers.values():
                consumer.metrics.measure(self._app.clock)
            bind(self._telemetry, assembly)

    async def stop(self) -> None:
        """Read no queue any more: the drivers are about to close."""
        self._ended = self._app.assembly
        await self.depths.stop()
