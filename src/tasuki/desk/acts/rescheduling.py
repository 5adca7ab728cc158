"""Reschedule delayed messages: let them run now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasuki.desk.reading.counts import asked
from tasuki.errors import UnsupportedError

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


async def reschedule(live: Assembly, queue: str, ids: Sequence[str], seconds: float) -> int:
    """End the delays of messages that wait in a queue, by its id; returns how many.

    Raises:
        UnsupportedError: its driver cannot. LookupError: none of them is delayed any more. DriverError.
    """
    found = live.queues[queue]
    driver, name = found.driver, found.spec.name
    if seconds or not driver.capabilities.expedite:
        raise UnsupportedError(f"queue {queue!r}: its driver cannot end a delay", driver=driver.name, queue=queue)
    count = await asked(found, lambda: driver.expedite(name, ids))
    if not count:
        raise LookupError(f"none of the {len(ids)} is delayed in {queue} any more")
    return count
