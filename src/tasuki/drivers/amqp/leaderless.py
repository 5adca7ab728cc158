"""Leaderless queues: what a crash of RabbitMQ leaves of a quorum queue that was made just before it.

RabbitMQ notes a new quorum queue on disk a moment after it has made it. If it is killed in between, the queue is there
afterwards, and its member never becomes its leader (``Starting member as a new one``, says the log). Such a queue can
be declared and looked at, but the broker answers nothing to its consumers, and ends their connection after a minute. It
can be deleted, after five seconds.
"""

from __future__ import annotations

from pamqp import commands

from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError

_DELETION = 8.0
"""Seconds in which the broker deletes one: it asks for a leader for five seconds before it does."""


async def remove_unused(connection: Connection, queue: str) -> None:
    """Delete a queue of which nothing is lost, unless it has consumers: then it has a leader, and was only slow.

    Raises ClosedError or LateError.
    """
    try:
        async with connection.borrow() as channel:
            (found,) = await channel.ask_within(_DELETION, commands.Queue.Declare(queue=queue, passive=True))
            if not found.consumer_count:
                await channel.ask_within(_DELETION, commands.Queue.Delete(queue=queue))
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
