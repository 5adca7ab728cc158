"""Cancel handlers that run too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.pool import Worker
from tasuki.consumers.handling.tasks import Tasks
from tasuki.contracts.handler import Handler
from tasuki.observe.events import TIMEOUT, EventRing
from tasuki.units import format_duration

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
