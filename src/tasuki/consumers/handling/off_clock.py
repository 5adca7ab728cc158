"""Off the clock: what Tasuki does around a handler takes time that does not count in its handler_timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tasuki.consumers.handling.pool import Pool, Worker


class Timed(Protocol):
    """What a run has of its workers."""

    pool: Pool


class OffClock:
    """Of one run. ``now``: monotonic time, as the pool's."""

    def __init__(self, run: Timed, now: Callable[[], float]) -> None:
        self._run = run
        self._now = now

    @contextmanager
    def __call__(self) -> Iterator[Worker | None]:
        """The time of the block does not count for the worker whose task this is; None: it is no worker's."""
        task = asyncio.current_task()
        worker = next((each for each in self._run.pool.workers if each.task is task), None)
        if worker is None:
            yield None
            return
        used = self._now() - worker.started
        worker.started = float("inf")
        try:
            yield worker
        finally:
            worker.started = self._now() - used
