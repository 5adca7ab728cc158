"""Meter: makes the snapshots of an app, and begins what costs something when the first one is asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.app.measuring.depths import DepthReader
from tasuki.app.measuring.snapshot import snapshot_of
from tasuki.app.measuring.telemetry import bind, make_telemetry
from tasuki.observe.exposition.text import respond

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.runtime import Runtime
    from tasuki.observe.exposition.snapshots import Snapshot
    from tasuki.observe.exposition.telemetry import Telemetry


class Meter:
    """``app.metrics``: the metrics of this process; one per app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last: Assembly | None = None
        """The assembly of the last snapshot: its counters are read also after the app has closed."""
        self._ended: Assembly | None = None
        """The assembly that is closing: its queues are not read any more."""
        self._reconnects: dict[str, int] = {}
        """By driver, in the last snapshot: it must not fall."""
        self.depths = DepthReader(runtime)
        self._telemetry: Telemetry | None = None

    def snapshot(self) -> Snapshot:
        """The metrics of this process as plain data; see :mod:`tasuki.observe.exposition.snapshots`.

        Safe from any thread, and never asks a broker; after the app has closed, as they were then. The first call
        begins to count waits, and to read the depths of the queues every 5 s: without a call neither costs anything.
        """
        runtime, assembly = self._runtime, self._runtime.assembly
        if assembly is not None:
            self._last = assembly
            for consumer in list(assembly.consumers.values()):
                consumer.metrics.measure(runtime.clock)
            if assembly is not self._ended:
                self._read_depths()
        found = snapshot_of(self._last, runtime.supervisor.states(), self.depths.known(), runtime.clock.time())
        for id, driver in found["drivers"].items():  # the most of a consumer: it may be one that is gone
            driver["reconnects"] = self._reconnects[id] = max(self._reconnects.get(id, 0), driver["reconnects"])
        return found

    def response(self, accept: str = "", query: str = "") -> tuple[str, bytes]:
        """The answer to a scrape of Prometheus: content type and body.

        Args:
            accept: the header ``Accept`` of the request; OpenMetrics where it asks for that.
            query: of the request: ``queues=a*`` (a pattern for ids, may be repeated) and ``histograms=0``.
        """
        return respond(self.snapshot(), accept, query)

    def to_opentelemetry(self, provider: object = None, /) -> str:
        """Give metrics to OpenTelemetry's meters; returns the id of the entry, a ``metrics.config``.

        ``provider``: the MeterProvider; None: the application's global one.
        """
        declared = self._runtime.source.declared
        return declared.add("metrics", "metrics.config", {"opentelemetry": True}, target=provider).id

    def _read_depths(self) -> None:
        loop = self._runtime.loop
        if loop is not None and not self.depths.is_running:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self.depths.start)

    def begin(self, assembly: Assembly) -> None:
        """The app has opened, or has a new version: give its metrics away, if it asks for that.

        Raises:
            UnsupportedError: OpenTelemetry is not installed.
        """
        if self._telemetry is None:
            self._telemetry = make_telemetry(self._runtime, assembly)
        if self._telemetry is not None:
            for consumer in assembly.consumers.values():
                consumer.metrics.measure(self._runtime.clock)
            bind(self._telemetry, assembly)

    async def stop(self) -> None:
        """Read no queue any more: the drivers are about to close."""
        self._ended = self._runtime.assembly
        await self.depths.stop()
