"""Drain: wait until the queues of an application's consumers are empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.app.assembly import Assembly
from tasuki.errors import DriverError


async def until_empty(
    assembly: Callable[[], Assembly | None],
    is_consuming: Callable[[str], bool] = lambda id: True,
    pause: float = 0.05,
) -> None:
    """Return when no queue of the consumers that ``is_consuming`` holds a message, delayed and held ones included.

    An unavailable broker may hold messages, so it is polled until it answers.
    """
    while (live := assembly()) is not None:
        consumers = [consumer for id, consumer in live.consumers.items() if is_consuming(id)]
        before = _progress(live)
        try:
            found = [await queue.occupancy() for queue in {consumer.queue for consumer in consumers}]
        except DriverError as error:
            if not error.retryable:
                raise
        else:
            empty = not any(occupancy.ready or occupancy.hidden for occupancy in found)
            # A handler may have published between two answers: only a round without any progress is proof.
            if empty and before == _progress(live) and not any(consumer.held for consumer in consumers):
                return
        await asyncio.sleep(pause)


def _progress(assembly: Assembly) -> int:
    """A number that rises with every delivery and every publish."""
    delivered = sum(consumer.metrics.delivered for consumer in assembly.consumers.values())
    return delivered + sum(queue.metrics.published for queue in assembly.queues.values())
