"""Changes of state, passed to listeners and to waiting tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tasuki.supervisor.state import Change

Listener = Callable[[Change], None]

_log = logging.getLogger("tasuki.supervisor")


class Changes:
    """Passes each change to every listener at once, and wakes every waiting task."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._waiters: list[asyncio.Future[None]] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns a function that removes it and may be called twice."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def publish(self, change: Change) -> None:
        """Call the listeners and wake waiting tasks; the error of a listener is logged."""
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:
                _log.exception("listener for changes of state failed")
        self.wake()

    def wake(self) -> None:
        """Wake all waiting tasks, so that they check again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def next(self) -> None:
        """Return at the next change."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
