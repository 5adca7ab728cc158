"""Timeouts of handlers: cancel those that run too long; Tasuki's own work around a handler does not count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.pool import Pool, Worker
from tasuki.consumers.handling.tasks import Tasks
from tasuki.contracts.handler import Handler
from tasuki.observe.events import TIMEOUT, EventRing
from tasuki.units import format_duration


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


_log = logging.getLogger("tasuki.consumer")


PERIOD = 0.1
"""Seconds between two sweeps, whatever the limits are: a handler is interrupted that much late at most."""


def shortest_limit(options: ConsumerOptions, handler: Handler) -> float | None:
    """The shortest ``handler_timeout`` of a consumer and of its tasks, in seconds; None: none has one."""
    tasks = handler.tasks.values() if isinstance(handler, Tasks) else ()
    limits = (options.handler_timeout, *(task.handler_timeout for task in tasks))
    return min((limit for limit in limits if limit is not None), default=None)


class Timeouts:
    """Cancels handlers that run too long: one sweep over the workers instead of a timer per message.

    ``start`` starts the sweeps, once there is a limit.
    """

    def __init__(
        self,
        overdue: Callable[[], Iterable[Worker]],
        events: EventRing,
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._overdue = overdue
        self._events = events
        self._start = start
        self._is_sweeping = False

    def keep(self, limit: float | None) -> None:
        """Keep a ``handler_timeout`` from now on, in seconds; None: there is none."""
        if limit is not None and not self._is_sweeping:
            self._is_sweeping = True
            self._start(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            for worker in self._overdue():
                if worker.delivery is not None and worker.interrupt("timeout"):
                    received = worker.delivery.received
                    self._events.add(TIMEOUT, received.id, received.attempt)
                    _log.warning(
                        "handler %s has run for handler_timeout (%s): interrupted; its message is kept until it ends",
                        worker.delivery.function,
                        format_duration(worker.most or 0.0),
                        extra=worker.delivery.log_fields(),
                    )
