"""queue: publishing, and the message that is being handled. See queue.lua for the functions of scripts.

====================  ======================================  ==========================================================
operation             arguments                               returns
====================  ======================================  ==========================================================
``queue.publish``     queue id, body, headers?, options?      True, when the broker has taken responsibility
``queue.message``     -                                       id, headers, attempt and queue; Invalid outside a delivery
``queue.may``         queue id, or an empty text              True; Invalid where publishing there is denied
``queue.info``        queue id                                counters by name
``queue.stopping``    -                                       whether the consumer drains
``queue.settle``      ack, nack, reject or snooze; argument   True; Invalid if the message is settled already
====================  ======================================  ==========================================================
"""

from __future__ import annotations

from typing import Any

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError

NAME = "queue"


async def publish(context: Context, queue: str, body: Any, headers: Any = None, options: Any = None) -> bool:
    """Publish through the context."""
    await context.publish(queue, body, headers, **(options or {}))
    return True


def may(context: Context, queue: str) -> bool:
    """Return if publishing to the queue is allowed; checked before other mistakes of the script are reported."""
    if context.permissions is not None:
        space = context.function.partition(":")[0]
        context.permissions.publish(queue if ":" in queue or not queue else f"{space}:{queue}")
    return True


def message(context: Context) -> dict[str, Any]:
    """What scripts may read of the message."""
    found = context.message
    if found is None:
        raise HandlerError("no delivery found in context", kind="Invalid", retryable=False)
    return {"id": found.id, "headers": dict(found.headers), "attempt": context.attempt, "queue": context.queue}


async def info(context: Context, queue: str) -> dict[str, Any]:
    """Counters of a queue."""
    return dict(await context.info(queue))


def stopping(context: Context) -> bool:
    """Whether the consumer drains."""
    return context.stopping


def settle(context: Context, verb: str, argument: Any = None) -> bool:
    """Settle the message now."""
    try:
        if verb == "ack":
            context.ack()
        elif verb == "nack":
            context.nack(argument)
        elif verb == "snooze":
            context.snooze(argument)
        else:
            context.reject(argument or "")
    except HandlerError as error:
        if error.kind == "Invalid" and "already settled" in error.message:
            raise HandlerError("queue.Message already settled", kind="Invalid", retryable=False) from error
        raise
    return True


OPERATIONS = {
    "queue.publish": publish,
    "queue.may": may,
    "queue.message": message,
    "queue.info": info,
    "queue.stopping": stopping,
    "queue.settle": settle,
}
