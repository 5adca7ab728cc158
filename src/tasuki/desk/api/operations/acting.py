"""Operations that change something. Each goes through the acts of the desk: rights, log, audit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tasuki.app.dry_run.report import DryRun
from tasuki.dead.editing.building import SAME, Wanted
from tasuki.dead.walk import letter_of
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.mending import draft_of
from tasuki.desk.api.answers import Done
from tasuki.desk.api.call import Call
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.reading.observed.gone import queue_in
from tasuki.message import Message


def ordered(act: str) -> Callable[[Call], Awaitable[Done]]:
    """One act on the entry or the message in the path; the fields of the body are its options."""

    async def carry_out(call: Call) -> Done:
        kind = next(name for name in call.names if name != "id")
        fields = ((each.encode_name, getattr(call.body, each.name)) for each in msgspec.structs.fields(call.body))
        options = {name: value for name, value in fields if value not in (None, "")}
        place = options.pop("place", 0)
        order = Order(act, kind, call.names[kind], call.names.get("id", ""), place, options=options)
        return await call.act(order)

    return carry_out


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


async def acknowledge(call: Call) -> Done:
    """End the notice of a silent worker; a right on one of its queues is needed."""
    worker, snapshot = call.names["worker"], await call.snapshot()
    ids = call.site.ids
    found = next((queue_in(each, ids) for each in snapshot.lost if each.name == worker), "")
    if not found:
        raise ProblemError(404, f"no worker {worker!r} fell silent in the last 15 minutes, or it is acknowledged")
    return await call.act(Order("acknowledge", "queue", found, worker))


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


async def dry_run(call: Call) -> DryRun:
    """Call the handler of a message in its own process, which records what it would do, for up to 30 s.

    Calls that the code makes itself (HTTP, SQL outside Tasuki) really happen, so it is off until a policy allows it.
    """
    message = await _waiting(call, "dry_run")
    order = Order("dry_run", "queue", call.names["queue"], message.id, options={"message": message})
    report: DryRun = (await call.carry_out(order)).values["report"]
    return report


async def _waiting(call: Call, act: str) -> Message:
    """The message in the path, for an actor who has the right to the act. Raises ProblemError, PolicyDeniedError."""
    _, row = await call.row()
    call.require(act, row.id)
    id, clock = call.names["id"], call.site.reader._runtime.clock
    try:
        return await call.site.at(row.id, lambda live: letter_of(live.queues[row.id], id, clock))
    except LookupError as error:
        raise ProblemError(404, str(error)) from error
