"""Operations that read messages and dead letters; each needs the right to look into the queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tasuki.app.state.fate import know
from tasuki.dead.batch import Batch
from tasuki.dead.reading import sources_of
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import ACT_OF, Bulk
from tasuki.desk.api import answers, letter_answers
from tasuki.desk.api.call import ApiCall
from tasuki.desk.api.decoding import cursor_of, read_number
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.dead.rows import GroupRow, count_of, of_group, rows_of, total_of, unread_of
from tasuki.desk.dead.windows import Item, Window
from tasuki.desk.reading.asking import PATIENCE, cancelled
from tasuki.desk.reading.bodies import body_of, headers_of, line, lines
from tasuki.desk.reading.message_rows import row_of, state_of
from tasuki.desk.reading.messages import DEEPEST, find, page_of
from tasuki.desk.reading.snapshot import QueueRow, RunningRow
from tasuki.desk.site import AwayError
from tasuki.errors import BatchNotFoundError, QueueNotFoundError
from tasuki.message import CONTENT_TYPE, LAST_ERROR, LAST_TRACEBACK, Message
from tasuki.queues.queue import Queue
from tasuki.state.job_records import JobError
from tasuki.state.job_status import status_of
from tasuki.state.worker_record import RunningMessage

if TYPE_CHECKING:
    from tasuki.app.explain.rule import Explanation


State = Literal["waiting", "delayed", "retrying", "running", "dead"]


async def messages(call: ApiCall) -> answers.Messages:
    """The messages of a queue that wait, are delayed, failed before, or run."""
    _, row = await call.row()
    call.require("peek", row.id)
    state, start, limit = call.query.state, read_number(call.query.cursor), call.query.limit
    if state == "running":
        found = [running_item(row.id, each) for each in running_of(row.handlers)]
        end = start + limit
        return answers.Messages(found[start:end], cursor_of(str(end)) if end < len(found) else None, is_bounded=False)
    live = call.site.live.queues[row.id]
    if not live.driver.capabilities.has("peek"):
        text = f"the driver of {row.id} shows no messages without giving them to a consumer"
        raise ProblemError(409, text, "unsupported")
    if row.depth is None and not row.is_missing:  # else an unavailable broker would look like an empty queue
        raise ProblemError(503, row.problem or f"{row.id} could not be read")
    page = await page_of(call.site, row, state, start, limit)
    items = [item_of_message(live, row, message, at) for at, message in zip(page.places, page.messages, strict=True)]
    return answers.Messages(items, None if page.after is None else cursor_of(str(page.after)), page.is_bounded)


def running_of(rows: Any, *, shows_keys: bool = True) -> list[answers.RunningItem]:
    """What runs, the longest first; an order key is a part of the content, the id alone is none."""
    found: list[RunningRow] = list(rows)
    return [
        answers.RunningItem(
            each.message if shows_keys else keyless(each.message), each.consumer, f"{each.host}:{each.pid}"
        )
        for each in found
    ]


def keyless(message: RunningMessage) -> RunningMessage:
    """A running message without its order key."""
    return msgspec.structs.replace(message, key="")


def running_item(queue: str, each: answers.RunningItem) -> answers.MessageItem:
    """A message that runs, of a list."""
    return answers.MessageItem(
        each.message.id, queue, "running", None, None, "", "", each.message.key, each.message.function, "", "", None, ""
    )


def item_of_message(live: Queue, row: QueueRow, message: Message, place: int) -> answers.MessageItem:
    """A waiting message of a list."""
    shown = row_of(live, message, place)
    return answers.MessageItem.of(shown, queue=row.id, state=state_of(row, message, place, False, ""))


async def message(call: ApiCall) -> answers.MessageAnswer:
    """One message: where it is and why, its body, headers and last error."""
    _, row = await call.row()
    call.require("peek", row.id)
    id = call.names["id"]
    found = await find(call.site, row.id, id, min(call.query.place, DEEPEST))
    id = found.id
    told = await call.tools.asked.explained(row.id, id, found, _letters(call, row), PATIENCE)
    rows = [each for each in row.handlers if each.message.id == id]
    running, shown, held = running_of(rows), found.message, None
    if rows and shown is None:
        held = await call.tools.held.look(row.id, rows[0], PATIENCE)
    content = shown if held is None else held.message
    cancel = await cancelled(call.site, row.id, id) if rows else None
    if not (shown or running or found.status or told.found):
        raise ProblemError(404, f"there is no message {id!r} in {row.id}: {told.causes[0].text}")
    live = call.site.live.queues[row.id]
    return answers.MessageAnswer(
        id=id,
        queue=row.id,
        state=state_of(row, shown, found.place, bool(running), found.status),
        status=found.status,
        place=None if shown is None else found.place,
        item=None if shown is None else item_of_message(live, row, shown, found.place),
        body=None if content is None else _with_value(body_of(live, content) if held is None else held.body_in(live)),
        headers={} if content is None else dict(headers_of(content)),
        error="" if content is None else lines(content.headers.get(LAST_ERROR, "")),
        traceback="" if content is None else lines(content.headers.get(LAST_TRACEBACK, "")),
        stack="" if held is None else lines(held.stack),
        is_cancel_requested=cancel is not None,
        cancel_requested=None if cancel is None else cancel.at or None,
        progress=found.progress,
        running=running,
        causes=list(told.causes),
    )


def _letters(call: ApiCall, row: QueueRow) -> str:
    return row.dead_letters if row.dead_letters and call.may("peek", row.dead_letters) else ""


def _with_value(body: answers.ShownBody) -> answers.ShownBody:
    if body.kind == "json" and not body.is_cut:
        # Masking may have taken a quotation mark with it, or a number is beyond what programs read.
        with suppress(msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            msgspec.json.decode(body.text)
            return msgspec.structs.replace(body, value=msgspec.Raw(body.text.encode()))
    return body


async def explain(call: ApiCall) -> Explanation:
    """Why a message does not run now."""
    _, row = await call.row()
    call.require("peek", row.id)
    found = await find(call.site, row.id, call.names["id"], 0)
    return await call.tools.asked.explained(row.id, call.names["id"], found, _letters(call, row), PATIENCE)


async def result(call: ApiCall) -> answers.Result:
    """What has become of a message, and what its handler returned, in a queue that keeps results."""
    _, row = await call.row()
    call.require("peek", row.id)
    id, live = call.names["id"], call.site.live.queues[row.id]
    if live.policy.result is None:
        text = f"queue {row.id} keeps no results: write result: 1h at it (result='1h' in code)"
        raise ProblemError(409, text, "unsupported")
    known = await call.site.at(row.id, lambda assembly: know(assembly, row.id, id))
    status, record = status_of(known), known.record
    if status is None or status == "unknown":
        raise ProblemError(404, f"there is no message {id!r} in {row.id}, or its time is over")
    if record is None or record.status != status:  # it waits again: the record is of an earlier life
        return answers.Result(id, row.id, status, None, None, None, "", "", "", None)
    error = record.error or JobError(record.problem)
    value = None if record.value is None else Message(id, record.value, {CONTENT_TYPE: record.codec})
    return answers.Result(
        id=id,
        queue=row.id,
        status=status,
        at=record.at,
        attempt=record.attempt,
        value=None if value is None else _with_value(body_of(live, value)),
        error=lines(error.text),
        kind=error.kind,
        reason=error.reason,
        progress=record.progress,
    )


def _sources(call: ApiCall, queue: str) -> Mapping[str, str]:
    try:
        return sources_of(call.site.project, queue)
    except QueueNotFoundError as error:
        raise ProblemError(404, str(error)) from error


def _of(window: Window, origin: str) -> Window:
    """The window, or its letters that come from one queue."""
    if not origin:
        return window
    return replace(window, items=[item for item in window.items if item.letter.queue == origin], causes=None)


async def groups(call: ApiCall) -> letter_answers.Groups:
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
    return letter_answers.Groups(
        count=total_of(windows, unread, query.where),
        groups=[group_of(row) for row in rows],
        is_all=not unread and not unknown and all(window.is_all for window in windows),
        unclear=sum(window.unclear for window in windows),
        unseen=unseen | hidden,
        unread=None if unknown else unread,
        borrowed=call.tools.library.borrowed_ago(windows),
    )


def group_of(row: GroupRow) -> letter_answers.GroupItem:
    """A group as an answer."""
    group = row.group
    texts = {name: line(getattr(group, name)) for name in ("type", "place", "sample")}
    return letter_answers.GroupItem.of(group, dead=row.dead, trend=list(row.trend), ids=list(group.ids), **texts)


async def letters(call: ApiCall) -> letter_answers.Letters:
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
    return letter_answers.Letters(shown, following, count, window.is_all, window.unclear)


def _letter(live: Queue, item: Item) -> letter_answers.LetterItem:
    letter = item.letter
    texts = {name: line(getattr(letter, name)) for name in ("type", "place", "error")}
    return letter_answers.LetterItem.of(letter, name=item.name, body=item.body(live), **texts)


_RIGHTS = {act: right for right, act in ACT_OF.items()}


async def batches(call: ApiCall) -> letter_answers.BatchesAnswer:
    """The last ten batches of queues that the actor may look into, the newest first; ended ones are kept for a day."""
    snapshot = await call.snapshot()
    if all(row.is_missing for row in snapshot.queues.values() if row.is_dead_letters):
        return letter_answers.BatchesAnswer([])  # looking would make the store of a project that has none yet
    found = await call.tools.board.latest()
    if call.tools.board.problem:  # else an unavailable store would look like one without batches
        raise AwayError(call.tools.board.problem)
    return letter_answers.BatchesAnswer([_batch(each) for each in found if call.may("peek", each.queue)])


async def batch(call: ApiCall) -> letter_answers.BatchItem:
    """How far a batch is."""
    found = await _found(call)
    call.require("peek", found.queue)
    return _batch(found)


async def _found(call: ApiCall) -> Batch:
    try:
        return await call.tools.board.find(call.names["batch"])
    except BatchNotFoundError as error:
        raise ProblemError(404, str(error)) from error


def _batch(batch: Batch) -> letter_answers.BatchItem:
    return msgspec.convert(batch.as_dict(), letter_answers.BatchItem)


async def begin_batch(call: ApiCall) -> answers.Done:
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


def changed(verb: str) -> Callable[[ApiCall], Awaitable[answers.Done]]:
    """One act on the batch in the path."""

    async def change(call: ApiCall) -> answers.Done:
        found = await _found(call)
        return await call.act(Order("batch", "queue", found.queue, options={"batch": found.id, "verb": verb}))

    return change
