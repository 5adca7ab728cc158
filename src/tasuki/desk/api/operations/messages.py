"""Operations that read messages and dead letters; each needs the right to look into the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from tasuki.app.dead.choice import Choice
from tasuki.app.dead.reading import DeadLetters, read, sources_of
from tasuki.desk.api import answers
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import cursor_of, read_number
from tasuki.desk.api.operations.reading import running_of
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.reading.bodies import Body, body_of, headers_of, line, lines, preview
from tasuki.desk.reading.causes import PATIENCE
from tasuki.desk.reading.listed.rows import row_of, state_of
from tasuki.desk.reading.messages import DEEPEST, SEARCHED, find, peek
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.errors import QueueNotFoundError
from tasuki.message import LAST_ERROR, LAST_TRACEBACK, Message
from tasuki.queues.dead.letter import Letter
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.explain.rule import Explanation

State = Literal["waiting", "delayed", "retrying", "running", "dead"]


async def messages(call: Call) -> answers.Messages:
    """The messages of a queue that wait, are delayed, failed before, or run."""
    _, row = await call.row()
    call.require("peek", row.id)
    state, start, limit = call.query.state, read_number(call.query.cursor), call.query.limit
    if state == "running":
        found = [_running(row.id, each) for each in running_of(row.running)]
        end = start + limit
        return answers.Messages(found[start:end], cursor_of(str(end)) if end < len(found) else None, is_bounded=False)
    live = call.site.live.queues[row.id]
    first, most = (start, limit) if state == "waiting" else (row.ready + start, limit)
    if state == "retrying":
        first, most = 0, SEARCHED
    elif state == "waiting":
        most = min(limit, max(min(row.ready, DEEPEST) - start, 0))
    shown = await call.site.at(row.id, lambda assembly: peek(assembly.queues[row.id], first, most)) if most else []
    places = list(enumerate(shown, first))
    if state == "retrying":
        failed = [each for each in places if LAST_ERROR in each[1].headers]
        end = start + limit
        following = cursor_of(str(end)) if end < len(failed) else None
        items = [_item(live, row, message, place) for place, message in failed[start:end]]
        return answers.Messages(items, following, is_bounded=len(shown) == SEARCHED)
    end = start + len(shown)
    is_more = len(shown) == most and end < (min(row.ready, DEEPEST) if state == "waiting" else DEEPEST)
    items = [_item(live, row, message, place) for place, message in places]
    return answers.Messages(items, cursor_of(str(end)) if is_more and most else None, is_bounded=end >= DEEPEST)


def _running(queue: str, each: answers.Running) -> answers.MessageItem:
    return answers.MessageItem(
        each.message.id, queue, "running", None, None, "", "", each.message.key, each.message.function, "", "", None, ""
    )


def _item(live: Queue, row: QueueRow, message: Message, place: int) -> answers.MessageItem:
    shown = row_of(live, message, place)
    return answers.MessageItem(
        id=message.id,
        queue=row.id,
        state=state_of(row, message, place, False, ""),  # type: ignore[arg-type]
        place=place,
        published=shown.published,
        attempts=shown.attempts,
        priority=shown.priority,
        key=shown.key,
        type=shown.type,
        error=shown.error,
        reason=shown.reason,
        died=shown.died,
        body=shown.body,
    )


async def message(call: Call) -> answers.Message:
    """One message: where it is and why, its body, headers and last error."""
    _, row = await call.row()
    call.require("peek", row.id)
    id = call.names["id"]
    found = await find(call.site, row.id, id, min(call.query.place, DEEPEST))
    told = await call.tools.asked.explained(row.id, id, found, _letters(call, row), PATIENCE)
    running = [each for each in running_of(row.running) if each.message.id == id]
    shown = found.message
    if not (shown or running or found.status or told.found):
        raise ProblemError(404, f"there is no message {id!r} in {row.id}: {told.causes[0].text}")
    live = call.site.live.queues[row.id]
    return answers.Message(
        id=id,
        queue=row.id,
        state=state_of(row, shown, found.place, bool(running), found.status),
        status=found.status,
        place=None if shown is None else found.place,
        item=None if shown is None else _item(live, row, shown, found.place),
        body=None if shown is None else _body(body_of(live, shown)),
        headers={} if shown is None else dict(headers_of(shown)),
        error="" if shown is None else lines(shown.headers.get(LAST_ERROR, "")),
        traceback="" if shown is None else lines(shown.headers.get(LAST_TRACEBACK, "")),
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


async def explain(call: Call) -> answers.Explained:
    """Why a message does not run now."""
    _, row = await call.row()
    call.require("peek", row.id)
    found = await find(call.site, row.id, call.names["id"], 0)
    told: Explanation = await call.tools.asked.explained(row.id, call.names["id"], found, _letters(call, row), PATIENCE)
    return answers.Explained(told.id, told.queue, told.found, list(told.causes))


async def groups(call: Call) -> answers.Groups:
    """Dead letters in groups; a queue in which the actor may not look is left out."""
    found: list[DeadLetters] = []
    hidden: dict[str, str] = {}
    try:
        sources = sources_of(call.site.project, call.query.queue)
    except QueueNotFoundError as error:
        raise ProblemError(404, str(error)) from error
    for app, ids in call.site.parts():
        mine = {id: origin for id, origin in sources.items() if id in ids}
        for id in [id for id in mine if not call.may("peek", id)]:
            del mine[id]
            hidden[id] = "the actor may not look into it: queue.admin.peek"
        if mine:
            found.append(await call.site.on(app, lambda live, mine=mine: _read(call, live, mine, call.query.by)))  # type: ignore[misc]
    items = [
        answers.Group(
            each.key, each.count, each.first, each.last, each.queue, each.reason, line(each.type), line(each.place),
            line(each.sample), list(each.ids),
        )
        for part in found
        for each in part.groups
    ]  # fmt: skip
    unseen = {id: why for part in found for id, why in part.unseen.items()}
    return answers.Groups(
        count=sum(len(part.letters) for part in found),
        groups=sorted(items, key=lambda each: -each.count),
        is_all=all(part.is_all for part in found),
        unclear=sum(part.unclear for part in found),
        unseen=unseen | hidden,
    )


async def _read(call: Call, live: Assembly, queues: dict[str, str], by: str) -> DeadLetters:
    return await read(live, queues, Choice(call.query.where), by, call.tools.clock, borrows=False)


async def letters(call: Call) -> answers.Letters:
    """The letters of one dead-letter queue, or of one queue that has such a queue."""
    _, row = await call.row()
    sources = sources_of(call.site.project, row.id)
    for id in sources:
        call.require("peek", id)
    dead = next(iter(sources))
    found = await call.site.at(dead, lambda live: _read(call, live, sources, "cause"))
    start = read_number(call.query.cursor)
    end = start + call.query.limit
    live = call.site.live.queues[dead]
    items = [_letter(live, each) for each in found.letters[start:end]]
    following = cursor_of(str(end)) if end < len(found.letters) else None
    return answers.Letters(items, following, len(found.letters), found.is_all, found.unclear)


def _letter(live: Queue, letter: Letter) -> answers.Letter:
    return answers.Letter(
        id=letter.id,
        dead=letter.dead,
        queue=letter.queue,
        reason=letter.reason,
        type=line(letter.type),
        place=line(letter.place),
        cause=letter.cause,
        error=line(letter.error),
        at=letter.at,
        attempts=letter.attempts,
        body=preview(live, letter.message),
    )
