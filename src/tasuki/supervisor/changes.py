"""Changes of state, told to listeners and to tasks that wait for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tasuki.supervisor.state import Change

Listener = Callable[[Change], None]

_log = logging.getLogger("tasuki.supervisor")


class Changes:
    """Hands each change to every listener at once, and wakes every waiting task."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._waiters: list[asyncio.Future[None]] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns how to take it away, which may be done twice."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def publish(self, change: Change) -> None:
        """Tell the listeners, and wake who waits; a listener that raises is logged."""
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:
                _log.exception("listener for changes of state failed")
        self.wake()

    def wake(self) -> None:
        """Wake all waiting tasks, so that they look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def next(self) -> None:
        """Return at the next change."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
