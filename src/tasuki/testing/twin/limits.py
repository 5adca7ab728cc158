"""Limits: ``handler_timeout`` in the time of the event loop, as a twin's clock stands still while handlers run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasuki.consumers.consumer import Consumer
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import Worker


class Limits:
    """Interrupts overdue handlers; a handler counts from when it is first seen running."""

    def __init__(self) -> None:
        self._ends: dict[Worker, tuple[Delivery, float]] = {}
        """The running deliveries that have a limit, and when they end, in the loop's time."""

    def left(self, consumers: Sequence[Consumer]) -> float | None:
        """Seconds until the next handler is overdue; None: none has a limit."""
        now = asyncio.get_running_loop().time()
        known, self._ends = self._ends, {}
        for worker, delivery, limit in _running(consumers):
            seen = known.get(worker)
            is_known = seen is not None and seen[0] is delivery
            self._ends[worker] = seen if seen is not None and is_known else (delivery, now + limit)
        return max(min(end for _, end in self._ends.values()) - now, 0.0) if self._ends else None

    def interrupt(self) -> None:
        """Interrupt the overdue handlers."""
        now = asyncio.get_running_loop().time()
        for worker, (delivery, end) in self._ends.items():
            if end <= now and worker.delivery is delivery:
                worker.interrupt("timeout")


def _running(consumers: Sequence[Consumer]) -> Iterator[tuple[Worker, Delivery, float]]:
    """The running handlers that have a limit: their consumer's, or their task's."""
    for consumer in consumers:
        for worker in consumer.now.workers:
            if worker.delivery is not None and worker.cause is None and worker.limit is not None:
                yield worker, worker.delivery, worker.limit
