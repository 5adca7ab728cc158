"""Trash: the deleted letters of a queue, until their time is over."""

from __future__ import annotations

from contextlib import suppress

from tasuki.dead.moving.places import Places, removed
from tasuki.dead.walk import Walk
from tasuki.errors import QueueNotFoundError
from tasuki.message import BATCH, EXPIRES_AT, Message

_LOST = 7 * 86_400.0
"""Seconds after which letters go whose own batch has not taken them: its record is gone by then."""


async def empty(places: Places, batch: str, now: float) -> int:
    """Remove the letters of a batch, and those that no batch takes any more; returns how many. Raises DriverError."""
    count = 0
    with suppress(QueueNotFoundError):
        await places.declare_trash()
        walk = Walk(places.driver, places.trash)
        while page := await walk.page():
            over: list[Message] = []
            for message in page:
                if is_over(message, batch, now):
                    over.append(message)
                else:
                    walk.stays(message)
            if over:
                count += await removed(places.driver, places.trash, over)
    return count


def is_over(message: Message, batch: str, now: float) -> bool:
    """Whether the letter goes when this batch, which can no longer be undone, is emptied.

    Letters of other batches stay: these may be undone for a quarter of an hour after their own end.
    """
    at = message.headers.get(EXPIRES_AT)
    if not isinstance(at, int | float):
        return False
    return at <= now and (message.headers.get(BATCH) == batch or at + _LOST <= now)
