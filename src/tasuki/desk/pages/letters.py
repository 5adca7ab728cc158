"""The dead letters in groups, the letters of one group, and their export."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tasuki.dead.batch import Batch
from tasuki.dead.counting import count_of_cause
from tasuki.dead.selection import Choice
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.dead.library import Library
from tasuki.desk.dead.rows import GroupRow, count_of, of_group, total_of, unread_of
from tasuki.desk.dead.windows import NEWEST, Item, Window, cause_page, count, peek_page
from tasuki.desk.pages.view import PageView
from tasuki.desk.reading.bodies import has_long_headers, headers_of, most_of, plain_of
from tasuki.desk.reading.rows import asked as asked_at
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.desk.site import Site, problem_of
from tasuki.errors import QueueNotFoundError, TasukiError
from tasuki.message import Message, is_cause
from tasuki.observe.redact import masked
from tasuki.queues.dead.groups import KEYS
from tasuki.queues.dead.letter import letter_in
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


PAGE = 50
GROUPS = 10
"""Groups above the letters of a queue; further ones are on further pages."""

_MOST_PLACE = 1_000_000
_MOST_QUEUES = 500
"""Dead-letter queues that one page reads."""

_LONG = 512

_NO_PROBLEMS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant: what the address or the form of a page says."""

    by: str
    where: str
    group: str | None
    """The key of one group; None: all letters."""
    problem: str = ""
    """Why ``where`` cannot be read."""


def filter_of(view: PageView, fields: Sequence[tuple[str, str]]) -> Filter:
    """The filter of a request."""
    found = dict(fields)
    by = found.get("by", "")
    by, where, problem = by if by in KEYS else "cause", found.get("where", "").strip(), ""
    try:
        Choice(where)
    except ValueError as error:
        problem = str(error)
    return Filter(by, where, found.get("group"), problem)


async def groups(view: PageView) -> Response:
    """The causes of dead letters: one row a group, the largest first."""
    snapshot = await view.tools.sampler.latest()
    asked = filter_of(view, view.request.query_params.multi_items())
    queues = queues_of_letters(snapshot)
    seen = SeenLetters(view, snapshot, asked)
    await seen.read_groups(queues)
    rows = await view.tools.library.rows(seen.windows, asked.by, snapshot.now)
    start = view.number_of("from", _MOST_PLACE)
    place = view.number_of("queues", _MOST_PLACE)
    return view.page(
        "dead.html",
        snapshot=snapshot,
        filter=asked,
        keys=list(KEYS),
        seen=seen,
        rows=rows[start : start + PAGE],
        count=len(rows),
        start=start,
        page_size=PAGE,
        queues=queues[place : place + PAGE],
        queue_count=len(queues),
        queue_start=place,
        sources=_sources(snapshot),
        most_borrowed=NEWEST,
        batches=await _batches(view, snapshot),
    )


def queues_of_letters(snapshot: Snapshot) -> list[QueueRow]:
    """The dead-letter queues, the one with most letters first."""
    rows = (row for row in snapshot.queues.values() if row.is_dead_letters)
    return sorted(rows, key=lambda row: (-_count(row), row.id))


async def _batches(view: PageView, snapshot: Snapshot) -> Sequence[Batch]:
    """The last batches; a store that only would be read is not made."""
    if not any(row.depth is not None for row in snapshot.queues.values()):
        return ()
    return [each for each in await view.tools.board.latest() if view.may("peek", each.queue)]


def _count(row: QueueRow) -> int:
    return row.waiting


def _sources(snapshot: Snapshot) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in snapshot.queues.values():
        if row.dead_letters:
            found.setdefault(row.dead_letters, []).append(row.id)
    return found


class SeenLetters:
    """What a viewer sees of some dead-letter queues."""

    def __init__(self, view: PageView, snapshot: Snapshot, asked: Filter) -> None:
        self._view, self._snapshot, self._filter = view, snapshot, asked
        self.windows: list[Window] = []
        self.problems: dict[str, str] = {}
        """Queue → why its letters are not shown."""
        self.hidden: dict[str, str] = {}
        """Queue whose broker cannot show messages → its driver; its letters can be borrowed."""
        self.is_unsure = False
        """Whether a queue without ready letters may have some that a process holds."""

    async def read_groups(self, rows: Sequence[QueueRow]) -> None:
        """Read the first of these queues, as far as their groups need it. Raises nothing for one of them."""
        wanted = self._wanted(rows[:_MOST_QUEUES])
        windows, problems = await self._view.tools.library.windows(wanted, self._filter.where, self._filter.by)
        self._saw(windows, problems)

    async def read_group(self, row: QueueRow) -> None:
        """Read the letters of a queue, or of one group of it. Raises nothing."""
        asked = self._filter
        for id in self._wanted([row]):
            try:
                self._saw([await self._view.tools.library.window(id, asked.where, asked.by, asked.group)])
            except QueueNotFoundError:
                self._saw([Window(id)])
            except TasukiError as error:
                self._saw([], {id: problem_of(error)})

    async def groups_of(self, row: QueueRow, now: float) -> Sequence[GroupRow]:
        """The groups of one queue that was read, the largest first. Raises nothing."""
        asked, library = self._filter, self._view.tools.library
        if not self.windows or asked.problem:
            return []
        windows = self.windows
        if not windows[0].borrowed:  # a driver may count more letters than can be listed
            windows, _ = await library.windows([row.id], asked.where, asked.by)
        return await library.rows(windows, asked.by, now)

    def _saw(self, windows: Sequence[Window], problems: Mapping[str, str] = _NO_PROBLEMS) -> None:
        self.windows += windows
        self.problems |= problems

    def _wanted(self, rows: Sequence[QueueRow]) -> list[str]:
        """The queues of these whose letters are to be read; the others are noted with their problems."""
        live, library = self._view.tools.site.live, self._view.tools.library
        wanted = []
        for row in rows:
            window = library.borrowed(row.id, self._filter.where)
            if row.is_missing or (window is None and row.depth is not None and not _count(row)):
                self.is_unsure = self.is_unsure or (row.depth is not None and row.in_flight is None)
                continue
            if not self._view.may("peek", row.id):
                self.problems[row.id] = self._view.say("queue.no_right", right="queue.admin.peek")
            elif live.queues[row.id].driver.capabilities.has("peek"):
                wanted.append(row.id)
            elif window is not None:
                self.windows.append(window)
            else:
                self.hidden[row.id] = row.driver
        if self._filter.problem:
            self.windows = []
            return []
        return wanted

    @property
    def count(self) -> int:
        """Letters that are in a group, and the unread ones, unless only some are asked for."""
        return total_of(self.windows, self.unread, self._filter.where)

    @property
    def unread(self) -> int:
        """Letters of queues whose brokers cannot show them, which are in no group."""
        return unread_of(self._snapshot, self.hidden)

    @property
    def queues(self) -> int:
        """Queues that have such letters."""
        unread = [] if self._filter.where else [unread_of(self._snapshot, [id]) for id in self.hidden]
        return sum(map(bool, [*(window.count for window in self.windows), *unread]))

    @property
    def is_all(self) -> bool:
        """Whether all letters of these queues were looked at."""
        return not self.hidden and not self.problems and all(window.is_all for window in self.windows)

    @property
    def most(self) -> int:
        """Where not all were looked at: how many of each queue whose newest letters were read."""
        return max((window.read for window in self.windows if not window.is_all and not window.borrowed), default=0)

    @property
    def borrowed(self) -> tuple[int, int, float] | None:
        """How many letters were borrowed, of how many, and how many seconds ago at most; None: none were."""
        windows = [window for window in self.windows if window.borrowed]
        if not windows:
            return None
        age = max(self._view.tools.library.borrowed_ago(windows).values())
        return sum(window.read for window in windows), sum(window.total for window in windows), age

    @property
    def age(self) -> float | None:
        """How old the oldest of these windows is; None: all are new enough."""
        library = self._view.tools.library
        ages = [library.age_of(window) for window in self.windows if not window.borrowed]
        return max((age for age in ages if age is not None), default=None)

    @property
    def unclear(self) -> int:
        """Letters that the question could not be asked about."""
        return sum(window.unclear for window in self.windows)

    @property
    def problem(self) -> str:
        """Why one of these could not be judged."""
        return next((window.problem for window in self.windows if window.problem), "")


async def letters(view: PageView) -> Response:
    """The letters of one group, or of a whole dead-letter queue, the newest death first."""
    snapshot = await view.tools.sampler.latest()
    id = view.path[1]
    row, site = snapshot.queues[id], view.tools.site
    if not row.is_dead_letters:
        raise KeyError(id)
    asked = filter_of(view, view.request.query_params.multi_items())
    seen = SeenLetters(view, snapshot, asked)
    await seen.read_group(row)
    window = seen.windows[0] if seen.windows else Window(id)
    items = of_group(window, asked.by, asked.group)
    start = _start(items, view.query.get("after", ""))
    shown = items[start : start + PAGE]
    count = count_of(window, asked.by, asked.group)
    groups = [] if asked.group is not None else await seen.groups_of(row, snapshot.now)
    group_start = view.number_of("groups", _MOST_PLACE)
    return view.page(
        "letters.html",
        snapshot=snapshot,
        row=row,
        filter=asked,
        keys=list(KEYS),
        seen=seen,
        window=window,
        items=shown,
        bodies=[item.body(site.live.queues[id]) for item in shown],
        count=count,
        total=max(count, sum(each.group.count for each in groups)),
        start=start,
        page_size=PAGE,
        after=_cursor(shown[-1]) if shown and start + PAGE < _reach(window, items) else "",
        head=await _head(view, window, asked, snapshot),
        groups=groups[group_start : group_start + GROUPS],
        group_count=len(groups),
        group_start=group_start,
        group_size=GROUPS,
        most_borrowed=NEWEST,
        age=view.tools.clock.monotonic() - window.taken,
        can=site.live.queues[id].driver.capabilities,
    )


async def _head(view: PageView, window: Window, asked: Filter, snapshot: Snapshot) -> GroupRow | None:
    if asked.group is None:
        return None
    rows = await view.tools.library.rows([window], asked.by, snapshot.now)
    return next((row for row in rows if row.group.key == asked.group), None)


def _reach(window: Window, items: Sequence[Item]) -> int:
    """How many letters there are to list; of one cause more may be on their way."""
    return max(len(items), window.listed) if window.cause else len(items)


def _cursor(item: Item) -> str:
    return f"{item.letter.at or 0.0!r}:{item.name}"


def _start(items: Sequence[Item], after: str) -> int:
    """Where the page after a letter begins; the letter may be gone, then after those that died later."""
    at, _, name = after[:_LONG].partition(":")
    try:
        time = float(at)
    except ValueError:
        return 0
    for place, item in enumerate(items):
        if item.name == name:
            return place + 1
    return next((place for place, item in enumerate(items) if (item.letter.at or 0.0) < time), 0)


_log = logging.getLogger("tasuki.desk")
_PAGE = 100
_MOST_OF_TEXT = 16_000
"""Characters of an error, or of another text about a letter, that are looked through for secrets."""

_MOST_AT_ONCE = 4
"""Downloads of all viewers together."""


async def export(view: PageView) -> Response:
    """A download of the selected letters, or of all of the newest ``NEWEST`` that the filter holds for."""
    is_selection = view.request.method == "POST"
    fields = await view.fields() if is_selection else view.request.query_params.multi_items()
    id, asked = view.path[1], filter_of(view, fields)
    source = view.tools.site.live.queues[id]
    ids = {value for name, value in fields if name == "ids" and value}
    view.require("peek", id)
    if is_selection and not ids:
        return view.page("error.html", status=400, text=view.say("bulk.nothing"))
    if asked.problem or not source.driver.capabilities.has("peek"):
        text = asked.problem or view.say("queue.no_peek", driver=source.driver.name)
        return view.page("error.html", status=400, text=text)
    library = view.tools.library
    if library.downloads >= _MOST_AT_ONCE:
        return view.page("error.html", status=503, text=view.say("dead.too_many_downloads"))
    bulk = Bulk("export", id, asked.by, asked.group, asked.where, tuple(sorted(ids)))
    lines = _lines(view.tools.site, id, asked, ids, view.tools.clock.time())
    library.downloads += 1  # here too: the audit and the broker let others in
    try:
        await view.tools.acts.carry_out(Order("export", "queue", id, bulk=bulk), view.session)
        first = await anext(lines, b"")  # an unavailable broker is a page that says so, and no broken download
    finally:
        library.downloads -= 1
    headers = {"content-disposition": f'attachment; filename="{_file(id, view.tools.clock.time())}"'}
    return _Download(library, _after(first, lines), headers)


async def _after(first: bytes, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in lines:
        yield line


def _file(id: str, now: float) -> str:
    plain = "".join(char if char.isascii() and (char.isalnum() or char in ".-_") else "-" for char in id)[:80]
    return f"{plain}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.jsonl"


class _Download(StreamingResponse):
    """Counted from before anything else runs: of many that come at once, not all may see the room for one."""

    def __init__(self, library: Library, lines: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(lines, headers=headers, media_type="application/x-ndjson")
        self._library = library

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client goes."""
        self._library.downloads += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._library.downloads -= 1


async def _lines(site: Site, id: str, asked: Filter, ids: set[str], now: float) -> AsyncIterator[bytes]:
    choice = Choice(asked.where, masks=True) if not ids else Choice(ids=ids)
    source, left = site.live.queues[id], set(ids)
    try:
        cause = asked.group if asked.by == "cause" and asked.group is not None and not ids else ""
        there, peek = await _way(site, id, cause)
        at = max(there - NEWEST, 0)
        while page := await site.at(id, partial(peek, at, _PAGE)):
            for message in page:
                if _is_meant(source, message, asked, choice, now, is_selection=bool(ids)):
                    left.discard(message.id)
                    yield json.dumps(_letter(source, message), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            at += len(page)
            if ids and not left:
                return
    except TasukiError as error:  # the head has been sent: the reader must learn that lines are missing
        _log.warning("desk: export of %s ended early: %s", id, error)
        raise


async def _way(site: Site, id: str, cause: str) -> tuple[int, Callable[..., Awaitable[Sequence[Message]]]]:
    """How many letters are to be looked at, and how to get some: letters of one cause, or all."""

    async def look(live: Assembly) -> int | None:
        on = live.queues[id]
        return await asked_at(on, lambda: count_of_cause(on.driver, on.spec.name, cause))

    found = await site.at(id, look) if is_cause(cause) else None
    if found is None:
        return await count(site, id), partial(peek_page, id)
    return found, partial(cause_page, id, cause, False)


def _is_meant(
    source: Queue, message: Message, asked: Filter, choice: Choice, now: float, *, is_selection: bool
) -> bool:
    letter = letter_in(message, source.id)
    is_of_group = is_selection or asked.group is None or KEYS[asked.by](letter) == asked.group
    return is_of_group and choice.takes(letter, source, now)


def _letter(source: Queue, message: Message) -> dict[str, Any]:
    letter = letter_in(message, source.id)
    names = ("id", "queue", "dead", "reason", "type", "place", "cause", "error", "task", "consumer", "at", "attempts")
    about = {name: masked(_beginning(getattr(letter, name))) for name in names}
    headers = dict(headers_of(message)) if has_long_headers(message) else masked(message.headers)
    return {**about, "headers": headers, **_body(source, message)}


def _beginning(value: object) -> object:
    return value[:_MOST_OF_TEXT] if isinstance(value, str) else value


def _body(source: Queue, message: Message) -> dict[str, Any]:
    value = plain_of(source, message)
    if not isinstance(value, bytes):
        return {"body": value}
    size = len(message.body)  # bytes beyond those are not looked through for secrets, and left out
    cut = {"body_cut_from": size} if size > most_of(source) else {}
    return {"body_base64": base64.b64encode(value).decode(), **cut}
