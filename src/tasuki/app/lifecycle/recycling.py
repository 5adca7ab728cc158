"""Recycling: a process that has done enough, grown too large or become too old ends in order; another one follows."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasuki.system.memory import resident_bytes
from tasuki.units import format_duration, format_size

if TYPE_CHECKING:
    from tasuki.app.app import App

_log = logging.getLogger("tasuki.app")

PERIOD = 0.5
"""Seconds between checks."""
_SPREAD = 0.1
"""Share of the age by which processes that started together differ, so that they do not all end together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Handled messages, resident bytes and seconds after which a process ends; None: no limit."""

    messages: int | None = None
    memory: int | None = None
    age: float | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return (self.messages, self.memory, self.age) != (None, None, None)

    def reached(self, messages: int, memory: Callable[[], int], age: float) -> str:
        """Which limit is reached, in words; empty if none is. ``memory`` is called only where it matters."""
        if self.messages is not None and messages >= self.messages:
            return f"it has handled {messages} messages (at most {self.messages})"
        if self.age is not None and age >= self.age:
            return f"it has run for {format_duration(round(age))} (at most about {format_duration(self.age)})"
        if self.memory is not None and (held := memory()) >= self.memory:
            return f"it holds {held // 2**20} MiB of memory (at most {format_size(self.memory)})"
        return ""

    def spread(self, share: float) -> Limits:
        """The limits of one process, whose age is up to a tenth shorter; ``share`` is from 0 to 1."""
        return self if self.age is None else replace(self, age=self.age * (1 - _SPREAD * share))


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
    """Messages that the handlers of a process have handled, also those of consumers that a reload has replaced."""

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
