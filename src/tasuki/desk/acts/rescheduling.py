"""Reschedule waiting messages: let them run now, or later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Outgoing
from tasuki.dead.moving.places import transfer
from tasuki.desk.reading.counts import asked
from tasuki.errors import UnsupportedError
from tasuki.message import DUE, LAST_ERROR, PARTITION_KEY, PRIORITY, Message
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.clock import Clock


async def reschedule(live: Assembly, queue: str, ids: Sequence[str], seconds: float, clock: Clock) -> int:
    """Make messages of a queue, by its id, due in so many seconds; returns how many.

    With 0 their delays end, and nothing else of them changes. Otherwise each leaves the queue and is stored in it again
    in one step, with its id, behind the others, and no unique window holds it any more. A message that has failed can
    only run now: stored again it would begin with its first attempt.

    Raises:
        UnsupportedError: the driver cannot. LookupError: none of them waits there any more, or all have failed.
        DriverError.
    """
    found = live.queues[queue]
    able = found.driver.capabilities
    if not (able.transfer and able.find if seconds else able.expedite):
        raise UnsupportedError(
            f"queue {queue!r}: its driver cannot change when a message is due", driver=found.driver.name, queue=queue
        )
    if not seconds:
        count = await asked(found, lambda: found.driver.expedite(found.spec.name, ids))
        if not count:
            raise LookupError(f"none of the {len(ids)} is delayed in {queue} any more")
        return count
    messages = await asked(found, lambda: found.driver.find(found.spec.name, ids))
    fresh = [message for message in messages if LAST_ERROR not in message.headers]
    if not fresh:
        why = "has failed before, and can only run now" if messages else "waits there any more"
        raise LookupError(f"of the {len(ids)} in {queue} {'each' if messages else 'none'} {why}")
    return await _store_again(found, fresh, seconds, clock.time())


async def _store_again(queue: Queue, messages: Sequence[Message], seconds: float, now: float) -> int:
    name, driver = queue.spec.name, queue.driver
    sent = [_delayed(queue, message, seconds, now) for message in messages]
    answers = await asked(queue, lambda: transfer(driver, name, messages, name, sent))
    errors = [answer for answer in answers if answer is not None]
    if len(errors) == len(sent):
        raise errors[0]
    return len(sent) - len(errors)


def _delayed(queue: Queue, message: Message, seconds: float, now: float) -> Outgoing:
    headers = {**message.headers, DUE: now + seconds}
    priority, key = headers.get(PRIORITY), headers.get(PARTITION_KEY)
    sent = Outgoing(
        message.id,
        message.body,
        headers,
        delay=seconds,
        priority=priority if isinstance(priority, int) else 0,
        key=None if key is None else str(key),
        deduplicate=False,
    )
    if queue.policy.lanes is not None:
        sent.lane = queue.policy.lanes.of_sent_on(sent, queue.decode)
    return sent
