"""Pages about one message: change it and send it back, try it, copy it. They work without a script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from starlette.responses import RedirectResponse, Response

from tasuki.app.dry_run.report import DryRun
from tasuki.dead.editing.body import laid_out, shown
from tasuki.dead.editing.edit import Draft
from tasuki.dead.editing.problems import EditError, Problem
from tasuki.dead.test_case import as_test
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.mending import check, draft_of
from tasuki.desk.pages.edit_form import form_of, wanted_of
from tasuki.desk.pages.view import PageError, View
from tasuki.desk.reading.bodies import is_long, line, lines, plain_of
from tasuki.desk.reading.messages import DEEPEST, find
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import CodecError, InvalidBodyError, TasukiError
from tasuki.message import Message
from tasuki.observe.plain import escape_json, escape_lines
from tasuki.observe.redact import masked, redact
from tasuki.queues.dead.letter import name_of
from tasuki.queues.queue import Queue


@dataclass(frozen=True, slots=True)
class Subject:
    """A waiting message; ``place``: where it is in its queue."""

    queue: Queue
    message: Message
    place: int


async def subject_of(view: View, right: str) -> Subject:
    """The message of a path ``messages/QUEUE/ID/…``. Raises PageError, AwayError, DriverError."""
    id, message = view.path[1], view.path[2]
    queue = view.tools.site.live.queues[id]
    for each in ("peek", right):
        view.require(each, id)
    found = await find(view.tools.site, id, message, view.number_of("at", DEEPEST))
    if found.message is None:
        raise PageError(404, view.say("mend.gone", message=message[:100], id=id))
    return Subject(queue, found.message, found.place)


_MOST = 512 * 1024
"""Characters of a page."""


async def test(view: View) -> Response:
    """The source of a test that handles the message again."""
    subject = await _subject_of(view)
    queue, message = subject.queue, subject.message
    try:
        body = queue.decode(message)
    except (CodecError, InvalidBodyError):
        body = message.body
    source = as_test(message, body, queue.id, queue.codec_of(message))
    return _page(view, subject, "mend.test", escape_lines(source))


async def json(view: View) -> Response:
    """The message as one JSON document, whose numbers keep their digits."""
    subject = await _subject_of(view)
    message = subject.message
    text = shown(message.body, subject.queue.codec_of(message)).text
    document: dict[str, object] = {
        "id": message.id,
        "headers": {name: masked(value, name, keeps_types=True) for name, value in message.headers.items()},
    }
    try:
        msgspec.json.decode(text)
        document["body"] = msgspec.Raw(text.encode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value = plain_of(subject.queue, message)
        if isinstance(value, bytes):
            document["body_base64"] = base64.b64encode(value).decode()
        else:
            document["body"] = value
    whole = laid_out(msgspec.json.encode(document)).decode("utf-8", "replace")
    return _page(view, subject, "mend.json", escape_json(redact(whole)))


async def _subject_of(view: View) -> Subject:
    subject = await subject_of(view, "peek")
    if is_long(subject.queue, subject.message):
        raise PageError(413, view.say("mend.copy_is_long"))
    return subject


def _page(view: View, subject: Subject, title: str, text: str) -> Response:
    return view.page(
        "copy.html",
        id=subject.message.id,
        queue=subject.queue.id,
        place=subject.place,
        heading=title,
        text=text[:_MOST],
        is_cut=len(text) > _MOST,
    )


_SHOWN = 200
"""Effects and log lines of a page."""


async def dry_run(view: View) -> Response:
    """Ask, or run it and show the report."""
    subject = await subject_of(view, "dry_run")
    report: DryRun | None = None
    if view.request.method == "POST":
        await view.fields(1024, 10)
        message = subject.message
        order = Order("dry_run", "queue", subject.queue.id, message.id, subject.place, options={"message": message})
        report = (await view.carry_out(order, is_said=False)).values["report"]
    return view.page(
        "dry_run.html",
        id=subject.message.id,
        queue=subject.queue.id,
        place=subject.place,
        report=report,
        effects=[] if report is None else [_effect(each) for each in report.effects[:_SHOWN]],
        logs="" if report is None else lines("\n".join(_log_line(each) for each in report.logs[:_SHOWN])),
        lines=lines,
    )


def _effect(effect: dict[str, object]) -> tuple[str, str]:
    """What, and about what."""
    facts = [f"{name}={value}" for name, value in effect.items() if name != "do" and value not in (None, "", {})]
    return line(effect["do"], 20), line("  ".join(facts), 500)


def _log_line(record: dict[str, object]) -> str:
    return f"{record.get('level')} {record.get('logger')}: {record.get('text')}"


_MOST_BYTES = 2**20
"""Of a form: a body of MOST_TEXT characters may have three times as many bytes, encoded nine times."""
_MOST_FIELDS = 400


async def edit(view: View) -> Response:
    """Show the form, or check and send what it says; errors stand at their fields."""
    subject = await subject_of(view, "edit")
    given: Mapping[str, str] | None = None
    if view.request.method == "POST":
        given = dict(await view.fields(_MOST_BYTES * 8, _MOST_FIELDS))
    site, id = view.tools.site, subject.queue.id
    to = (given or view.query).get("to", "")
    try:
        draft = await draft_of(site, id, subject.message, to if to in site.queues else None, view.session)
        if given is None:
            return _show(view, subject, draft)
        return await _send(view, subject, draft, given)
    except AwayError:
        raise
    except (TasukiError, LookupError) as error:
        raise PageError(409, problem_of(error)) from None


async def _send(view: View, subject: Subject, draft: Draft, given: Mapping[str, str]) -> Response:
    site, session = view.tools.site, view.session
    try:
        wanted = wanted_of(draft, given, shows_secrets=view.may("secrets", draft.dead))
        made = await check(site, draft, wanted, session)
    except EditError as error:
        return _show(view, subject, draft, given, error.problems, status=400)
    if given.get("do") != "send":
        return _show(view, subject, draft, given, said=view.say("mend.valid"), warnings=made.warnings)
    options = {"draft": draft, "wanted": wanted, "keep": given.get("keep") == "1"}
    order = Order("edit", "queue", draft.dead, draft.letter.id, subject.place, options=options)
    done = await view.carry_out(order)
    return RedirectResponse(view.url("messages", done.values["id"], done.values["new"], edited=draft.dead), 303)


def _show(
    view: View,
    subject: Subject,
    draft: Draft,
    given: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
    *,
    status: int = 200,
    said: str = "",
    warnings: Sequence[str] = (),
) -> Response:
    form = form_of(draft, given, problems, shows_secrets=view.may("secrets", draft.dead))
    return view.page(
        "edit.html",
        status=status,
        form=form,
        id=name_of(draft.letter),  # the form is about this one alone
        dead=draft.dead,
        place=subject.place,
        queues=[id for id in view.tools.site.queues if id == form.to or view.may("edit", id)],
        result=said,
        warnings=warnings,
    )
