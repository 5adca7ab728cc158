"""Export: chosen letters as JSON lines; values with telling names are masked, as everywhere on the desk."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tasuki.dead.counting import counted_at
from tasuki.dead.selection import Choice
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import Bulk
from tasuki.desk.dead.library import Library
from tasuki.desk.dead.windows import NEWEST, cause_page, count, peek_page
from tasuki.desk.pages.dead_letters.letters import Filter, filter_of
from tasuki.desk.pages.view import View
from tasuki.desk.reading.bodies import has_long_headers, headers_of, most_of, plain_of
from tasuki.desk.reading.counts import asked as asked_at
from tasuki.desk.site import Site
from tasuki.errors import TasukiError
from tasuki.message import Message, is_cause
from tasuki.observe.redact import masked
from tasuki.queues.dead.groups import KEYS
from tasuki.queues.dead.letter import letter_in
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_log = logging.getLogger("tasuki.desk")
_PAGE = 100
_MOST_OF_TEXT = 16_000
"""Characters of an error, or of another text about a letter, that are looked through for secrets."""
_MOST_AT_ONCE = 4
"""Downloads of all viewers together."""


async def export(view: View) -> Response:
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
        return await asked_at(on, lambda: counted_at(on.driver, on.spec.name, cause))

    found = await site.at(id, look) if is_cause(cause) else None
    if found is None:
        return await count(site, id), partial(peek_page, id)
    return found, partial(cause_page, id, cause, False)


def _is_meant(
    source: Queue, message: Message, asked: Filter, choice: Choice, now: float, *, is_selection: bool
) -> bool:
    letter = letter_in(message, source.id)
    is_of_group = is_selection or asked.group is None or KEYS[asked.by](letter) == asked.group
    return is_of_group and choice.chosen(letter, source, now)


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
