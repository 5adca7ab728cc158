"""Idle timer: notices that no receive has asked for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls ``on_idle`` when ``wanted`` was not called for ``idle()`` seconds; then it stops until the next call."""

    def __init__(self, idle: Callable[[], float], on_idle: Callable[[], None]) -> None:
        self._idle = idle
        self._on_idle = on_idle
        self._timer: asyncio.TimerHandle | None = None
        self._wanted_at = 0.0
        self._is_over = False

    @property
    def is_on(self) -> bool:
        """Whether it watches."""
        return self._timer is not None

    def wanted(self) -> None:
        """A receive asks. This costs nearly nothing: the timer is not moved, it checks the time when it is due."""
        loop = asyncio.get_running_loop()
        self._wanted_at = loop.time()
        if self._timer is None and not self._is_over:
            self._timer = loop.call_later(self._idle(), self._check)

    def end(self) -> None:
        """Watch no more."""
        self._is_over = True
        self.pause()

    def pause(self) -> None:
        """Watch again from the next receive on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        left = self._wanted_at + self._idle() - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._check)
        else:
            self._on_idle()
