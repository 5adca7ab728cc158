"""Operations that change something. Each goes through the acts of the desk: rights, log, audit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from tasuki.dead.editing.building import SAME, Wanted
from tasuki.dead.finding import letter_of
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.mending import draft_of
from tasuki.desk.api.answers import Done, DryRun
from tasuki.desk.api.call import Call
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.reading.observed.gone import queue_in
from tasuki.message import Message


def _pause(call: Call, kind: str) -> Order:
    options = {"for": call.body.duration, "reason": call.body.reason}
    return Order("pause", kind, call.names[kind], options=options)


async def pause_queue(call: Call) -> Done:
    """Let all workers stop receiving from a queue; running handlers end."""
    return await call.act(_pause(call, "queue"))


async def resume_queue(call: Call) -> Done:
    """End the pause of a queue."""
    return await call.act(Order("resume", "queue", call.names["queue"]))


async def pause_consumer(call: Call) -> Done:
    """Let all workers stop receiving for a consumer."""
    return await call.act(_pause(call, "consumer"))


async def resume_consumer(call: Call) -> Done:
    """End the pause of a consumer."""
    return await call.act(Order("resume", "consumer", call.names["consumer"]))


async def pause_schedule(call: Call) -> Done:
    """Let a schedule publish nothing."""
    return await call.act(_pause(call, "schedule"))


async def resume_schedule(call: Call) -> Done:
    """End the pause of a schedule."""
    return await call.act(Order("resume", "schedule", call.names["schedule"]))


async def run_schedule(call: Call) -> Done:
    """Publish the message of a schedule now; its own times stay as they are."""
    return await call.act(Order("run", "schedule", call.names["schedule"]))


async def scale(call: Call) -> Done:
    """Set how many messages each process handles at the same time for a consumer; 0 pauses it."""
    number = call.body.concurrency
    options = {"concurrency": "" if number is None else str(number)}
    return await call.act(Order("scale", "consumer", call.names["consumer"], options=options))


async def purge(call: Call) -> Done:
    """Remove all messages of a queue that no consumer holds. This cannot be undone."""
    order = Order("purge", "queue", call.names["queue"])
    if (most := call.body.at_most) is not None:
        call.require(order.act, order.id)
        _, row = await call.row()
        fresh = (await call.tools.sampler.latest(now=True)).queues[row.id]
        if fresh.depth is None:
            raise ProblemError(503, fresh.problem or f"{row.id} does not exist at its broker")
        if (count := fresh.waiting) > most:
            raise ProblemError(409, f"{row.id} holds {count} messages, more than {most}", "more_than_asked")
    return await call.act(order)


async def delete(call: Call) -> Done:
    """Delete a queue at its broker with all its messages. This cannot be undone."""
    return await call.act(Order("delete", "queue", call.names["queue"]))


async def publish(call: Call) -> Done:
    """Publish one message; answered when the broker has confirmed it."""
    given: dict[str, Any] = msgspec.structs.asdict(call.body)
    options = {name: value for name, value in given.items() if value not in (None, "")}
    return await call.act(Order("publish", "queue", call.names["queue"], options=options))


async def retry(call: Call) -> Done:
    """Send one dead letter back to the queue where it failed."""
    return await call.act(_of_message(call, "redrive"))


async def cancel(call: Call) -> Done:
    """Cancel one message: it does not start any more, and its handler is interrupted."""
    return await call.act(_of_message(call, "cancel"))


async def acknowledge(call: Call) -> Done:
    """End the notice of a silent worker; a right on one of its queues is needed."""
    worker, snapshot = call.names["worker"], await call.snapshot()
    ids = {(each.driver.name, each.spec.name): id for id, each in call.site.live.queues.items()}
    found = next((queue_in(each, ids) for each in snapshot.lost if each.name == worker), "")
    if not found:
        raise ProblemError(404, f"no worker {worker!r} fell silent in the last 15 minutes, or it is acknowledged")
    return await call.act(Order("acknowledge", "queue", found, worker))


async def reschedule(call: Call) -> Done:
    """Let a delayed message run now, or at another time."""
    order = _of_message(call, "reschedule")
    return await call.act(replace(order, options={"in": call.body.delay}))


async def edit(call: Call) -> Done:
    """Send one dead letter back with changes, as a new message that is checked first; its id is ``message``."""
    body, message = call.body, await _waiting(call, "edit")
    if body.to:  # else a right on one dead-letter queue would be one to publish anywhere
        call.require("edit", body.to)
    dead = call.names["queue"]
    draft = await draft_of(call.site, dead, message, body.to or None, call.session)
    wanted = Wanted(SAME, bytes(body.body).decode() or None, body.headers)
    options = {"draft": draft, "wanted": wanted, "keep": body.keep}
    return await call.act(Order("edit", "queue", dead, message.id, options=options))


async def undo_edit(call: Call) -> Done:
    """Bring a letter back in the place of the message that its edit made, within 15 minutes; ``id``: of the message."""
    return await call.act(Order("undo_edit", "queue", call.names["queue"], call.names["id"]))


async def dry_run(call: Call) -> DryRun:
    """Call the handler of a message in its own process, which records what it would do, for up to 30 s.

    Calls that the code makes itself (HTTP, SQL outside Tasuki) really happen, so it is off until a policy allows it.
    """
    message = await _waiting(call, "dry_run")
    order = Order("dry_run", "queue", call.names["queue"], message.id, options={"message": message})
    done = await call.carry_out(order)
    return msgspec.convert(done.values["report"], DryRun, from_attributes=True)


async def _waiting(call: Call, act: str) -> Message:
    """The message in the path, for an actor who has the right to the act. Raises ProblemError, PolicyDeniedError."""
    _, row = await call.row()
    call.require(act, row.id)
    id, clock = call.names["id"], call.site.reader.clock
    try:
        return await call.site.at(row.id, lambda live: letter_of(live.queues[row.id], id, clock))
    except LookupError as error:
        raise ProblemError(404, str(error)) from error


def _of_message(call: Call, act: str) -> Order:
    return Order(act, "queue", call.names["queue"], call.names["id"], call.body.place)
