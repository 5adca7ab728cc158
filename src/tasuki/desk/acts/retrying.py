"""Retry one dead letter: it goes back to the queue where it failed, and leaves its own when it is there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasuki.clock import Clock
from tasuki.dead.redrive import redrive
from tasuki.dead.selection import Choice
from tasuki.desk.reading.counts import asked
from tasuki.errors import QueueNotFoundError, UnsupportedError
from tasuki.message import Message
from tasuki.queues.dead.home import home_of, homeless
from tasuki.queues.dead.naming import Names, name_of
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_AROUND = 500
"""Letters that are looked at where the driver cannot find one by its id."""


async def retry(live: Assembly, dead: str, id: str, place: int, clock: Clock) -> str:
    """Redrive the letter; returns the id of the queue that has it now.

    A message that fails again at once is a new letter of the same id, which stays. ``place``: its number in the queue,
    as far as it is known.

    Raises:
        LookupError: there is no such letter. QueueNotFoundError: it is not from a queue whose letters go here.
        UnsupportedError: the driver cannot remove a message by its id. DriverError: a broker refuses.
    """
    source = live.queues[dead]
    if not source.driver.capabilities.remove:
        text = f"queue {dead!r}: its driver cannot take out one message; tasuki redrive {dead} sends all of them back"
        raise UnsupportedError(text, driver=source.driver.name, queue=dead)
    letter = await _find(source, id, place)
    if letter is None:
        raise LookupError(f"message {id} is not in {dead} any more")
    target = home_of(letter, source, live.queues)
    if target is None:
        raise QueueNotFoundError(homeless(letter, source), queue=dead)
    await asked(target, lambda: target.driver.occupancy(target.spec.name))
    choice = Choice(ids=[name_of(letter)])
    if not await redrive(live, source, target, 1, clock=clock, choice=choice, is_permitted=True):
        raise LookupError(f"message {id} is not in {dead} any more, or another process holds it")
    return target.id


async def _find(source: Queue, id: str, place: int) -> Message | None:
    driver, name, wanted = source.driver, source.spec.name, Names([id])
    if driver.capabilities.find:
        found = await asked(source, partial(driver.find, name, wanted.ids))
    else:
        found = await asked(source, partial(driver.peek, name, _AROUND, max(place - _AROUND // 2, 0)))
    return next((message for message in found if wanted.of(message)), None)
