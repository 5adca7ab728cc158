"""Recycling: a process that has done enough, grown too large or become too old ends in order; another one follows."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasuki.contracts.recycling import Limits
from tasuki.system.process import resident_bytes

if TYPE_CHECKING:
    from tasuki.app.app import App

_log = logging.getLogger("tasuki.app")

PERIOD = 0.5
"""Seconds between checks."""


async def recycle(app: App, limits: Limits, memory: Callable[[], int] = resident_bytes) -> str:
    """Drain the app when a limit is reached; returns which."""
    limits, started, handled = limits.spread(random.random()), app.clock.monotonic(), _Handled(app)  # noqa: S311
    while True:
        await asyncio.sleep(PERIOD)
        if why := limits.reached(handled.count(), memory, app.clock.monotonic() - started):
            _log.info("this process ends in order: %s", why)
            app.drain()
            return why


class _Handled:
    """Messages that the handlers of a process have handled, also by consumers that a reload has replaced."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._last = 0
        self._total = 0

    def count(self) -> int:
        consumers = self._app.assembly.consumers.values() if self._app.assembly else ()
        now = sum(consumer.metrics.handler_seconds.count for consumer in consumers)
        self._total += now - self._last if now >= self._last else now
        self._last = now
        return self._total
