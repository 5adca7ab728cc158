"""Handlers that run too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.pool import Worker
from tasuki.consumers.handling.tasks import Tasks
from tasuki.contracts.handler import Handler
from tasuki.observe.events import TIMEOUT, EventRing
from tasuki.units import format_duration

_log = logging.getLogger("tasuki.consumer")


def shortest_limit(options: ConsumerOptions, handler: Handler) -> float | None:
    """The shortest ``handler_timeout`` of a consumer and of its tasks, in seconds; None: none has one."""
    tasks = handler.tasks.values() if isinstance(handler, Tasks) else ()
    limits = (options.handler_timeout, *(task.handler_timeout for task in tasks))
    return min((limit for limit in limits if limit is not None), default=None)


async def interrupt_overdue(overdue: Callable[[], Iterable[Worker]], shortest: float, events: EventRing) -> None:
    """Cancel handlers that run too long: one sweep over the workers instead of a timer per message.

    ``shortest``: the shortest ``handler_timeout``, in seconds.
    """
    while True:
        await asyncio.sleep(min(max(shortest / 10, 0.01), 0.1))
        for worker in overdue():
            if worker.delivery is not None and worker.interrupt("timeout"):
                received = worker.delivery.received
                events.add(TIMEOUT, received.id, received.attempt)
                _log.warning(
                    "handler %s has run for handler_timeout (%s): interrupted; its message is kept until it ends",
                    worker.delivery.function,
                    format_duration(worker.limit or 0.0),
                    extra=worker.delivery.log_fields(),
                )
