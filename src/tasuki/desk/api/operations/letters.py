"""Operations on dead letters, through the windows that the pages look at, and on batches of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import msgspec

from tasuki.dead.batch import Batch
from tasuki.dead.reading import sources_of
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import ACT_OF, Bulk
from tasuki.desk.api import answers
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import cursor_of, read_number
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.dead.items import Item
from tasuki.desk.dead.rows import GroupRow, count_of, of_group, rows_of, total_of, unread_of
from tasuki.desk.dead.windows import Window
from tasuki.desk.reading.bodies import line
from tasuki.desk.site import AwayError
from tasuki.errors import BatchNotFoundError, QueueNotFoundError
from tasuki.queues.queue import Queue


def _sources(call: Call, queue: str) -> Mapping[str, str]:
    try:
        return sources_of(call.site.project, queue)
    except QueueNotFoundError as error:
        raise ProblemError(404, str(error)) from error


def _of(window: Window, origin: str) -> Window:
    """The window, or its letters that come from one queue."""
    if not origin:
        return window
    return replace(window, items=[item for item in window.items if item.letter.queue == origin], causes=None)


async def groups(call: Call) -> answers.Groups:
    """Dead letters in groups; a queue in which the actor may not look is left out."""
    sources, query = _sources(call, call.query.queue), call.query
    allowed = [id for id in sources if call.may("peek", id)]
    snapshot = await call.snapshot()
    is_whole = query.queue in sources or not query.queue
    found, unseen = await call.tools.library.windows(allowed, query.where, query.by if is_whole else "")
    hidden = {id: "the actor may not look into it: queue.admin.peek" for id in sources if id not in allowed}
    if query.queue in sources:  # a dead-letter queue: all of its letters
        windows = found
        rows = await call.tools.library.rows(windows, query.by, snapshot.now)
    else:
        windows = [_of(window, sources[window.queue]) for window in found]
        rows = rows_of(windows, query.by, snapshot.now)
    unread = unread_of(snapshot, unseen | hidden)
    unknown = [id for id in unseen | hidden if (row := snapshot.queues.get(id)) is None or row.depth is None]
    return answers.Groups(
        count=total_of(windows, unread, query.where),
        groups=[group_of(row) for row in rows],
        is_all=not unread and not unknown and all(window.is_all for window in windows),
        unclear=sum(window.unclear for window in windows),
        unseen=unseen | hidden,
        unread=None if unknown else unread,
        borrowed=call.tools.library.borrowed_ago(windows),
    )


def group_of(row: GroupRow) -> answers.Group:
    """A group as an answer."""
    group = row.group
    texts = {name: line(getattr(group, name)) for name in ("type", "place", "sample")}
    return answers.Group.of(group, dead=row.dead, trend=list(row.trend), ids=list(group.ids), **texts)


async def letters(call: Call) -> answers.Letters:
    """The letters of one dead-letter queue, or of one queue that has such a queue; the newest death first."""
    _, row = await call.row()
    [(dead, origin)] = _sources(call, row.id).items()
    call.require("peek", dead)
    query = call.query
    live = call.site.live.queues[dead]
    window: Window | None
    if live.driver.capabilities.has("peek"):
        window = await call.tools.library.window(dead, query.where, "" if origin else query.by, query.group)
    elif (window := call.tools.library.borrowed(dead, query.where)) is None:
        text = f"the driver of {dead} shows no letters without giving them to a consumer; the desk can borrow some"
        raise ProblemError(409, text, "unsupported")
    items = of_group(_of(window, origin), query.by, query.group)
    start = read_number(query.cursor)
    end = start + query.limit
    following = cursor_of(str(end)) if end < len(items) else None
    shown = [_letter(live, item) for item in items[start:end]]
    count = len(items) if origin else count_of(window, query.by, query.group)
    return answers.Letters(shown, following, count, window.is_all, window.unclear)


def _letter(live: Queue, item: Item) -> answers.Letter:
    letter = item.letter
    texts = {name: line(getattr(letter, name)) for name in ("type", "place", "error")}
    return answers.Letter.of(letter, name=item.name, body=item.body(live), **texts)


_RIGHTS = {act: right for right, act in ACT_OF.items()}


async def batches(call: Call) -> answers.Batches:
    """The last ten batches of queues that the actor may look into, the newest first; ended ones are kept for a day."""
    snapshot = await call.snapshot()
    if all(row.is_missing for row in snapshot.queues.values() if row.is_dead_letters):
        return answers.Batches([])  # looking would make the store of a project that has none yet
    found = await call.tools.board.latest()
    if call.tools.board.problem:  # else an unavailable store would look like one without batches
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
