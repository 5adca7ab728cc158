"""Trash: the deleted letters of a queue, until their time is over."""

from __future__ import annotations

from contextlib import suppress

from tasuki.errors import QueueNotFoundError
from tasuki.message import EXPIRES_AT, Message
from tasuki.workbench.batches.ways.places import Places
from tasuki.workbench.batches.ways.walk import Walk


async def empty(places: Places, now: float) -> int:
    """Remove the letters whose time is over, from the oldest on; returns how many. Raises DriverError."""
    removed = 0
    with suppress(QueueNotFoundError):
        await places.declare_trash()
        while ids := [
            message.id for message in await Walk(places.driver, places.trash).page() if is_over(message, now)
        ]:
            count = await places.driver.remove(places.trash, ids)
            if not count:
                break
            removed += count
    return removed


def is_over(message: Message, now: float) -> bool:
    """Whether the letter can no longer be brought back."""
    at = message.headers.get(EXPIRES_AT)
    return isinstance(at, int | float) and at <= now
