"""Find one dead letter by its id: by looking, or, where the broker shows none, by receiving and releasing."""

from __future__ import annotations

from tasuki.clock import Clock
from tasuki.dead.held import Held
from tasuki.errors import QueueNotFoundError
from tasuki.message import Message
from tasuki.queues.dead.letter import Names
from tasuki.queues.queue import Queue

_WAIT = 2.0
"""Seconds to wait for the next message: a broker that pushes may need some round trips before the first."""


async def letter_of(source: Queue, id: str, clock: Clock) -> Message:
    """The waiting message of an id, the oldest, or of a name. Raises LookupError: there is none; DriverError."""
    can_peek, name = source.driver.capabilities.has("peek"), Names([id])
    try:
        found = await (_seen(source, name) if can_peek else _borrowed(source, name, clock))
    except QueueNotFoundError:  # no worker has made it yet
        found = None
    if found is None:
        raise LookupError(f"no message {id!r} waits in {source.id}: it was sent back, deleted, or a process holds it")
    return found


async def _seen(source: Queue, name: Names) -> Message | None:
    if source.driver.capabilities.has("find"):
        return next((each for each in await source.driver.find(source.spec.name, name.ids) if name.of(each)), None)
    page, seen = source.driver.capabilities.max_batch, 0
    while more := await source.driver.peek(source.spec.name, page, seen):
        for message in more:
            if name.of(message):
                return message
        seen += len(more)
    return None


async def _borrowed(source: Queue, wanted: Names, clock: Clock) -> Message | None:
    """Receive until it comes, and release all of them."""
    name, page = source.spec.name, source.driver.capabilities.max_batch
    left = (await source.driver.depth(name)).ready
    held = Held(source, clock)
    try:
        while left > 0 and (batch := await source.driver.receive(name, min(left, page), _WAIT)):
            held.receipts += [received.receipt for received in batch]
            left -= len(batch)
            for received in batch:
                if wanted.of(received):
                    return Message(received.id, received.body, dict(received.headers))
            await held.renew()  # else the first ones come again before the last ones have
        return None
    finally:
        await held.release()
