"""Retry one dead letter: it goes back to the queue where it failed, and leaves its own when it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasuki.clock import Clock
from tasuki.dead.redrive import redrive
from tasuki.dead.walk import letter_of
from tasuki.desk.reading.counts import asked
from tasuki.errors import QueueNotFoundError, UnsupportedError
from tasuki.queues.dead.letter import name_of
from tasuki.queues.dead_letter import home_of, homeless

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


async def retry(live: Assembly, dead: str, id: str, clock: Clock) -> str:
    """Redrive the letter; returns the id of the queue that has it now.

    A message that fails again at once is a new letter of the same id, which stays.

    Raises:
        LookupError: there is no such letter. QueueNotFoundError: it is not from a queue whose letters go here.
        UnsupportedError: the driver cannot remove a message by its id. DriverError: a broker refuses.
    """
    source = live.queues[dead]
    if not source.driver.capabilities.has("remove"):
        text = f"queue {dead!r}: its driver cannot take out one message; tasuki redrive {dead} sends all of them back"
        raise UnsupportedError(text, driver=source.driver.name, queue=dead)
    letter = await asked(source, lambda: letter_of(source, id, clock))
    target = home_of(letter, source, live.queues)
    if target is None:
        raise QueueNotFoundError(homeless(letter, source), queue=dead)
    await asked(target, lambda: target.driver.occupancy(target.spec.name))
    done = await redrive(live, source, target, 1, clock=clock, ids=[name_of(letter)], is_permitted=True)
    if not done.moved:
        raise LookupError(f"message {id} is not in {dead} any more, or another process holds it")
    return target.id
