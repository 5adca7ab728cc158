"""Operations on batches: acts on many dead letters, which go on without the process that began them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import ACT_OF, Bulk
from tasuki.desk.api import answers
from tasuki.desk.api.call import Call
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.site import AwayError
from tasuki.errors import BatchNotFoundError
from tasuki.workbench.batches.rules.batch import Batch

_RIGHTS = {act: right for right, act in ACT_OF.items()}


async def batches(call: Call) -> answers.Batches:
    """The last ten batches of queues that the actor may look into, the newest first; ended ones are kept for a day."""
    snapshot = await call.snapshot()
    if all(row.is_missing for row in snapshot.queues.values() if row.is_dead_letters):
        return answers.Batches([])  # looking would make the store of a project that has none yet
    found = await call.tools.board.latest()
    if call.tools.board.problem:  # else a store that is away would look like one without batches
        raise AwayError(call.tools.board.problem)
    return answers.Batches([_batch(each) for each in found if call.may("peek", each.queue)])


async def batch(call: Call) -> answers.Batch:
    """How far a batch is."""
    found = await _found(call)
    call.require("peek", found.queue)
    return _batch(found)


async def _found(call: Call) -> Batch:
    try:
        return await call.tools.board.find(call.names["batch"])
    except BatchNotFoundError as error:
        raise ProblemError(404, str(error)) from error


def _batch(batch: Batch) -> answers.Batch:
    return msgspec.convert(batch.as_dict(), answers.Batch)


async def begin_batch(call: Call) -> answers.Done:
    """Begin to retry, move or delete letters of a dead-letter queue, the oldest first; ``batch`` is its id."""
    body = call.body
    bulk = Bulk(
        act=_RIGHTS[body.act],
        queue=body.queue,
        by="cause" if body.group is None else body.group.by,
        group=None if body.group is None else body.group.key,
        where=body.where,
        ids=tuple(body.ids),
        to=body.to,
        rate=f"{body.rate:g}",
        fast=body.rate == 0,
        canary="" if body.canary is None else str(body.canary),
    )
    return await call.act(Order(bulk.act, "queue", bulk.queue, bulk=bulk))


def changed(verb: str) -> Callable[[Call], Awaitable[answers.Done]]:
    """One act on the batch in the path."""

    async def change(call: Call) -> answers.Done:
        found = await _found(call)
        return await call.act(Order("batch", "queue", found.queue, options={"batch": found.id, "verb": verb}))

    return change
