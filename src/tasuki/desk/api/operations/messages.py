"""Operations that read messages and dead letters; each needs the right to look into the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tasuki.app.state.fate import know
from tasuki.desk.api import answers
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import cursor_of, read_number
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.reading.asking import PATIENCE, cancelled
from tasuki.desk.reading.bodies import Body, body_of, headers_of, lines
from tasuki.desk.reading.listed.rows import row_of, state_of
from tasuki.desk.reading.messages import DEEPEST, find, page_of
from tasuki.desk.reading.snapshot import QueueRow, RunningRow
from tasuki.message import CONTENT_TYPE, LAST_ERROR, LAST_TRACEBACK, Message
from tasuki.queues.queue import Queue
from tasuki.state.job_records import JobError
from tasuki.state.job_status import status_of
from tasuki.state.worker_record import RunningMessage

if TYPE_CHECKING:
    from tasuki.app.explain.rule import Explanation

State = Literal["waiting", "delayed", "retrying", "running", "dead"]


async def messages(call: Call) -> answers.Messages:
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


def running_of(rows: Any, *, shows_keys: bool = True) -> list[answers.Running]:
    """What runs, the longest first; an order key is a part of the content, the id alone is none."""
    found: list[RunningRow] = list(rows)
    return [
        answers.Running(each.message if shows_keys else keyless(each.message), each.consumer, f"{each.host}:{each.pid}")
        for each in found
    ]


def keyless(message: RunningMessage) -> RunningMessage:
    """A running message without its order key."""
    return msgspec.structs.replace(message, key="")


def running_item(queue: str, each: answers.Running) -> answers.MessageItem:
    """A message that runs, of a list."""
    return answers.MessageItem(
        each.message.id, queue, "running", None, None, "", "", each.message.key, each.message.function, "", "", None, ""
    )


def item_of_message(live: Queue, row: QueueRow, message: Message, place: int) -> answers.MessageItem:
    """A waiting message of a list."""
    shown = row_of(live, message, place)
    return answers.MessageItem.of(shown, queue=row.id, state=state_of(row, message, place, False, ""))


async def message(call: Call) -> answers.Message:
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
    return answers.Message(
        id=id,
        queue=row.id,
        state=state_of(row, shown, found.place, bool(running), found.status),
        status=found.status,
        place=None if shown is None else found.place,
        item=None if shown is None else item_of_message(live, row, shown, found.place),
        body=None if content is None else _body(body_of(live, content) if held is None else held.body_in(live)),
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


def _letters(call: Call, row: QueueRow) -> str:
    return row.dead_letters if row.dead_letters and call.may("peek", row.dead_letters) else ""


def _body(body: Body) -> answers.Body:
    value: msgspec.Raw | None = None
    if body.kind == "json" and not body.is_cut:
        try:
            msgspec.json.decode(body.text)
            value = msgspec.Raw(body.text.encode())
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            value = None  # masking has taken a quotation mark with it, or a number is beyond what programs read
    return answers.Body(body.kind, body.size, body.text, body.is_cut, value)


async def explain(call: Call) -> Explanation:
    """Why a message does not run now."""
    _, row = await call.row()
    call.require("peek", row.id)
    found = await find(call.site, row.id, call.names["id"], 0)
    return await call.tools.asked.explained(row.id, call.names["id"], found, _letters(call, row), PATIENCE)


async def result(call: Call) -> answers.Result:
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
        value=None if value is None else _body(body_of(live, value)),
        error=lines(error.text),
        kind=error.kind,
        reason=error.reason,
        progress=record.progress,
    )
