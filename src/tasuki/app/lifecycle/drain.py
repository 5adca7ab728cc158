"""Drain: wait until the queues of an application's consumers are empty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from tasuki.app.assembly import Assembly
from tasuki.consumers.consumer import Consumer
from tasuki.errors import DriverError

_log = logging.getLogger("tasuki.app")


async def until_empty(
    assembly: Callable[[], Assembly | None],
    is_consuming: Callable[[str], bool] = lambda id: True,
    pause: float = 0.05,
) -> None:
    """Return when no queue of the consumers that ``is_consuming`` holds a message, delayed and held ones included.

    An unavailable broker may hold messages, so it is polled until it answers. A queue that is paused until it is
    resumed is not waited for; a pause with an end is.
    """
    while (live := assembly()) is not None:
        consumers = [consumer for id, consumer in live.consumers.items() if is_consuming(id)]
        before = _progress(live)
        try:
            moving = {consumer.queue for consumer in consumers if not _is_paused(consumer)}
            found = [await queue.occupancy() for queue in moving]
        except DriverError as error:
            if not error.retryable:
                raise
        else:
            empty = not any(occupancy.ready or occupancy.hidden for occupancy in found)
            # A handler may have published between two answers: only a round without any progress is proof.
            if empty and before == _progress(live) and not any(consumer.now.held for consumer in consumers):
                await _tell_of_paused([consumer for consumer in consumers if consumer.queue not in moving])
                return
        await asyncio.sleep(pause)


def _is_paused(consumer: Consumer) -> bool:
    return (pause := consumer.now.pause) is not None and pause.until is None


async def _tell_of_paused(consumers: list[Consumer]) -> None:
    for queue, pause in {consumer.queue: consumer.now.pause for consumer in consumers}.items():
        with suppress(DriverError):
            if (info := await queue.info())["message_count"]:
                _log.warning("queue %s keeps %d messages: it is paused %s", queue.id, info["message_count"], pause)


def _progress(assembly: Assembly) -> int:
    """A number that rises with every delivery and every publish."""
    delivered = sum(consumer.metrics.delivered for consumer in assembly.consumers.values())
    return delivered + sum(queue.metrics.published for queue in assembly.queues.values())
