"""Read the failed attempts of a message: from the store of its queue, or from its dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasuki.errors import UnsupportedError
from tasuki.flow.attempts import read_attempts
from tasuki.message import ATTEMPT_RECORDS, DEAD_LETTER_REASON, Message
from tasuki.queues.dead.attempts import AttemptRecord, records_in

if TYPE_CHECKING:
    from tasuki.dead.host import Host
    from tasuki.queues.queue import Queue


async def attempts_of(live: Host, queue: Queue, id: str) -> list[AttemptRecord]:
    """The last failed attempts of a message of this queue, oldest first.

    Raises:
        UnsupportedError: the queue has no store. PolicyDeniedError: who asks may not look into it. DriverError: the
            store cannot be read.
    """
    queue.check_may_peek()
    state = live.state_of(queue.id)
    if state is None:
        text = (
            f"queue {queue.id!r} keeps no records of failed attempts, as it has no state: write "
            "'state: <id of a store>' at the queue"
        )
        raise UnsupportedError(text, driver=queue.driver.name, queue=queue.id)
    return await read_attempts(await state.store(), queue.spec.name, id)


async def attempts_shown(live: Host, queue: Queue, message: Message) -> list[AttemptRecord]:
    """The same of a message that was found in a queue; a dead letter carries its own. Empty: none is known.

    Raises:
        DriverError: the store cannot be read.
    """
    if ATTEMPT_RECORDS in message.headers:
        return records_in(message)
    state = live.state_of(queue.id)
    if state is None or DEAD_LETTER_REASON in message.headers:
        return []
    return await read_attempts(await state.store(), queue.spec.name, message.id)
