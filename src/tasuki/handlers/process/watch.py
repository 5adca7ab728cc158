"""Watch: kills a child that uses more processor time than its calls may.

A child that waits uses none. Each step of a script ends with some frame, and so does each call; so a child which has
sent nothing for longer than the limit of one call, in processor time, is stuck in one step. One that sends, and yet
uses more than all its calls together may, is lying.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasuki.handlers.process.process import ChildProcess

_GRACE = 0.25
"""Seconds beyond the limit: the script's own limit comes first where it can, and says the line."""
_BOOT = 30.0
"""Seconds of processor time for imports, beside the limit of the script's top level."""


class Watch:
    """Looks at a process now and then while calls are under way; ``proven`` is set whenever a frame arrives."""

    def __init__(self, process: ChildProcess, seconds: float | None, on_late: Callable[[], None]) -> None:
        self.proven = False
        self._process = process
        self._limit = None if seconds is None else seconds + _GRACE
        self._every = 1.0 if seconds is None else min(max((seconds + _GRACE) / 8, 0.05), 1.0)
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[
            int, tuple[float, int]
        ] = {}  # by number: time used when it began, calls begun before it ended
        self._begun = 0
        self._since = 0.0

    def begin(self, number: int) -> None:
        """A call begins."""
        if self._limit is None:
            return
        used = self._process.processor_time()
        self._calls[number] = (used, self._begun - len(self._calls))
        self._begun += 1
        if self._timer is None:
            self._since = used
            self._look_later()

    def end(self, number: int) -> None:
        """A call has ended."""
        self._calls.pop(number, None)

    @contextmanager
    def boot(self) -> Iterator[None]:
        """The child boots within the block."""
        if self._limit is None:
            yield
            return
        self._limit += _BOOT
        self.begin(0)
        try:
            yield
        finally:
            self._limit -= _BOOT
            self.end(0)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._calls or self._limit is None:
            return
        used = self._process.processor_time()
        if self.proven:
            self.proven, self._since = False, used
        began, before = next(iter(self._calls.values()))
        if used - self._since > self._limit or used - began > self._limit * (self._begun - before):
            self._on_late()
        else:
            self._look_later()

    def stop(self) -> None:
        """The process is gone."""
        self._calls.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
