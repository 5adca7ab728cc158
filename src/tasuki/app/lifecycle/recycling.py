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
    from tasuki.app.runtime import Runtime

_log = logging.getLogger("tasuki.app")

PERIOD = 0.5
"""Seconds between checks."""


async def recycle(runtime: Runtime, limits: Limits, memory: Callable[[], int] = resident_bytes) -> str:
    """Drain the app when a limit is reached; returns which."""
    limits, started, handled = limits.spread(random.random()), runtime.clock.monotonic(), _Handled(runtime)  # noqa: S311
    while True:
        await asyncio.sleep(PERIOD)
        if why := limits.reached(handled.count(), memory, runtime.clock.monotonic() - started):
            _log.info("this process ends in order: %s", why)
            runtime.drain()
            return why


class _Handled:
    """Messages that the handlers of a process have handled, also by consumers that a reload has replaced."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last = 0
        self._total = 0

    def count(self) -> int:
        consumers = self._runtime.assembly.consumers.values() if self._runtime.assembly else ()
        now = sum(consumer.metrics.handler_seconds.count for consumer in consumers)
        self._total += now - self._last if now >= self._last else now
        self._last = now
        return self._total
