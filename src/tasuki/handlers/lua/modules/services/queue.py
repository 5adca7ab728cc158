"""queue: publishing, and the message that is being handled. See queue.lua for the functions of scripts.

====================  ======================================  ==========================================================
operation             arguments                               returns
====================  ======================================  ==========================================================
``queue.publish``     queue id, body, headers?, options?      True, when the broker has taken responsibility
``queue.message``     -                                       id, headers, attempt and queue; Invalid outside a delivery
``queue.messages``    -                                       the same of each message of a batch, with its index from 1
``queue.may``         queue id, or an empty text              True; Invalid where publishing there is denied
``queue.info``        queue id                                counters by name
``queue.pause``       queue id, duration, until, reason       True; until: Unix seconds
``queue.resume``      queue id                                whether the queue was paused
``queue.stopping``    -                                       whether the consumer drains
``queue.cancelled``   -                                       whether the message is cancelled
``queue.cancel``      queue id, message id                    waiting, running, not found or requested
``queue.signal``      event, key, value                       whether it is the first one
``queue.progress``    done, total?, note?                     True
``queue.settle``      ack, nack, reject or snooze; argument;  True; Invalid if the message is settled already
                      index in the batch or nil
====================  ======================================  ==========================================================
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tasuki.contracts.context import Facts, Settling
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.message import Message

NAME = "queue"

_NO_DELIVERY = "no delivery found in context"


async def publish(context: Context, queue: str, body: Any, headers: Any = None, options: Any = None) -> bool:
    """Publish through the context."""
    await context.publish(queue, body, headers, **(options or {}))
    return True


def may(context: Context, queue: str) -> bool:
    """Return if publishing to the queue is allowed; checked before other mistakes of the script are reported."""
    if context.project.permissions is not None:
        space = context.delivery.function.partition(":")[0]
        context.project.permissions.publish(queue if ":" in queue or not queue else f"{space}:{queue}")
    return True


def message(context: Context) -> dict[str, Any]:
    """What scripts may read of the message."""
    found = context.message
    if found is None:
        problem = "a batch has many messages: use queue.messages()" if context.delivery.batch else _NO_DELIVERY
        raise HandlerError(problem, kind="Invalid", retryable=False)
    return _readable(context.delivery, found)


def messages(context: Context) -> list[dict[str, Any]]:
    """What scripts may read of each message of a batch, or of the only message."""
    batch = context.delivery.batch
    if not batch:
        return [message(context)]
    return [
        {**_readable(each, found), "index": index}
        for index, each in enumerate(batch, 1)
        if (found := each.message) is not None
    ]


def _readable(facts: Facts, found: Message) -> dict[str, Any]:
    return {"id": found.id, "headers": dict(found.headers), "attempt": facts.attempt, "queue": facts.queue}


async def info(context: Context, queue: str) -> dict[str, Any]:
    """Counters of a queue."""
    return dict(await context.queues.info(queue))


async def pause(context: Context, queue: str, duration: Any = None, until: Any = None, reason: Any = None) -> bool:
    """Pause a queue for all workers."""
    try:
        at = None if until is None else datetime.fromtimestamp(until, UTC)
        await context.queues.pause(queue, duration, until=at, reason=reason or "")
    except (ValueError, OverflowError, OSError) as error:
        raise HandlerError(str(error), kind="Invalid", retryable=False) from error
    return True


async def resume(context: Context, queue: str) -> bool:
    """End the pause of a queue."""
    return await context.queues.resume(queue)


def stopping(context: Context) -> bool:
    """Whether the consumer drains."""
    return context.stopping


def cancelled(context: Context) -> bool:
    """Whether the message is cancelled."""
    return context.cancelled


async def cancel(context: Context, queue: str, id: str) -> str:
    """Cancel a message of a queue."""
    return await context.queues.cancel(id, queue=queue)


async def signal(context: Context, event: str, key: str, value: Any) -> bool:
    """Give the value that messages wait for."""
    return await context.signal(event, key, value)


def progress(context: Context, done: float, total: float | None = None, note: str | None = None) -> bool:
    """Say how far the handler is."""
    context.progress(done, total, note or "")
    return True


def settle(context: Context, verb: str, argument: Any = None, index: Any = None) -> bool:
    """Settle the message now, or the one at this index of a batch."""
    target: Context | Settling = context
    if index is not None:
        batch = context.delivery.batch
        if type(index) is not int or not 0 < index <= len(batch):
            raise HandlerError(_NO_DELIVERY, kind="Invalid", retryable=False)
        target = batch[index - 1]
    try:
        if verb == "ack":
            target.ack()
        elif verb == "nack":
            target.nack(argument)
        elif verb == "snooze":
            target.snooze(argument)
        else:
            target.reject(argument or "")
    except HandlerError as error:
        if error.kind == "Invalid" and "already settled" in error.message:
            raise HandlerError("queue.Message already settled", kind="Invalid", retryable=False) from error
        raise
    return True


OPERATIONS = {
    "queue.publish": publish,
    "queue.may": may,
    "queue.message": message,
    "queue.messages": messages,
    "queue.info": info,
    "queue.pause": pause,
    "queue.resume": resume,
    "queue.stopping": stopping,
    "queue.cancelled": cancelled,
    "queue.cancel": cancel,
    "queue.signal": signal,
    "queue.progress": progress,
    "queue.settle": settle,
}
