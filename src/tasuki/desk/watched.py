"""What the probes and the metrics of a desk are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tasuki.app.health.report import Report
from tasuki.observe.exposition.snapshots import Snapshot

if TYPE_CHECKING:
    from tasuki.app.app import App


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
        return self._app.health_watch.report()

    async def snapshot(self) -> Snapshot:
        """See :class:`Watched`."""
        return self._app.metrics()

    def version(self) -> object:
        """See :class:`Watched`."""
        return self._app.assembly
