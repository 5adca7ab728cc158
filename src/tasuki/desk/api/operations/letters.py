"""Operations that read dead letters, through the windows that the pages look at: each is read once for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tasuki.dead.reading import sources_of
from tasuki.desk.api import answers
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import cursor_of, read_number
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.dead.items import Item
from tasuki.desk.dead.rows import GroupRow, count_of, of_group, rows_of, total_of, unread_of
from tasuki.desk.dead.windows import Window
from tasuki.desk.reading.bodies import line
from tasuki.errors import QueueNotFoundError
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
    if live.driver.capabilities.peek:
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
