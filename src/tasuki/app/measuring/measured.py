"""Measured: the part of an App that gives its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.app.history.writing import History
    from tasuki.app.measuring.depths import Reading
    from tasuki.app.measuring.meter import Meter


class Measured:
    """Its metrics, from any thread."""

    _meter: Meter | None = None
    _history: History | None = None

    def metrics(self) -> dict[str, Any]:
        """The metrics of this process as plain data; see :mod:`tasuki.observe.exposition.snapshots`.

        Safe from any thread, and never asks a broker. The first call begins to count waits, and to read the depths of
        the queues every 5 s: without a call neither costs anything. ``tasuki.observe.exposition.text.respond`` makes
        of it what Prometheus reads.
        """
        return self._made_meter().snapshot()

    def begin_measuring(self, assembly: Assembly) -> None:
        """The app has opened, or has a new version. Raises UnsupportedError: OpenTelemetry is not installed."""
        from tasuki.app.history.writing import History
        from tasuki.kinds.entries.telemetry import MetricsConfig

        if self._history is None:
            self._history = History(cast("App", self))
        self._history.begin(assembly)
        if self._meter is not None or assembly.project.of(MetricsConfig):
            self._made_meter().begin(assembly)

    def _made_meter(self) -> Meter:
        if self._meter is None:
            from tasuki.app.measuring.meter import Meter

            self._meter = Meter(cast("App", self))
        return self._meter

    def known_depths(self) -> dict[str, Reading]:
        """What this process has last read of its queues, by their ids; nothing unless metrics were asked for."""
        return {} if self._meter is None else self._meter.depths.known()

    def recent_history(self) -> History | None:
        """What its queues did in the last hour; None: it was not open yet."""
        return self._history

    async def _stop_measuring(self) -> None:
        if self._history is not None:
            await self._history.stop()
        if self._meter is not None:
            await self._meter.stop()
