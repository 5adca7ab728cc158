"""Off the clock: excludes Tasuki's own work around a handler from its handler_timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from tasuki.consumers.handling.pool import Pool, Worker


class Timed(Protocol):
    """The workers of a run."""

    pool: Pool


class OffClock:
    """The clock of one run. ``now``: monotonic time, as the pool's."""

    def __init__(self, run: Timed, now: Callable[[], float]) -> None:
        self._run = run
        self._now = now

    def __call__(self) -> _Block:
        """A block whose time does not count for the worker whose task this is; it gives that worker, or None."""
        return _Block(self._run.pool, self._now)


class _Block:
    __slots__ = ("_now", "_pool", "_used", "_worker")

    def __init__(self, pool: Pool, now: Callable[[], float]) -> None:
        self._pool = pool
        self._now = now
        self._worker: Worker | None = None
        self._used = 0.0

    def __enter__(self) -> Worker | None:
        task = asyncio.current_task()
        for worker in self._pool.workers:
            if worker.task is task:
                self._worker = worker
                self._used = self._now() - worker.started
                worker.started = float("inf")
                break
        return self._worker

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.started = self._now() - self._used
