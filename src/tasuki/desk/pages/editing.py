"""Pages about one message: change it and send it back, try it, copy it. They work without a script."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from starlette.responses import RedirectResponse, Response

from tasuki.app.dry_run.report import DryRun
from tasuki.dead.editing.body import laid_out, shown
from tasuki.dead.editing.building import Wanted
from tasuki.dead.editing.document import changes, read_value
from tasuki.dead.editing.edit import Draft
from tasuki.dead.editing.headers import WARNINGS, class_of, field_of
from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.dead.editing.secrets import hidden, revealed
from tasuki.dead.test_case import as_test
from tasuki.dead.walk import letter_of
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.messages import check_edit, draft_of
from tasuki.desk.pages.view import PageError, PageView
from tasuki.desk.reading.bodies import is_long, line, lines, plain_of
from tasuki.desk.reading.messages import DEEPEST
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import CodecError, InvalidBodyError, TasukiError
from tasuki.message import HeaderValue, Message
from tasuki.observe.plain import escape_json, escape_lines
from tasuki.observe.redact import MASK, is_secret_name, masked, redact
from tasuki.queues.dead.letter import name_of
from tasuki.queues.queue import Queue


@dataclass(frozen=True, slots=True)
class Subject:
    """A waiting message; ``place``: where it was seen in its queue."""

    queue: Queue
    message: Message
    place: int


async def subject_of(view: PageView, right: str) -> Subject:
    """The message of a path ``messages/QUEUE/ID/…``. Raises PageError, AwayError, DriverError."""
    id, message = view.path[1], view.path[2]
    queue = view.tools.site.live.queues[id]
    can_show = queue.driver.capabilities.has("peek")
    for each in ("peek", right) if can_show else ("peek", right, "borrow"):
        view.require(each, id)
    clock = view.tools.site.reader._runtime.clock
    try:
        found = await view.tools.site.at(id, lambda live: letter_of(live.queues[id], message, clock))
    except LookupError:
        raise PageError(404, view.say("mend.gone", message=message[:100], id=id)) from None
    return Subject(queue, found, view.number_of("at", DEEPEST))


_MOST = 512 * 1024
"""Characters of a page."""


async def test(view: PageView) -> Response:
    """The source of a test that handles the message again."""
    subject = await _subject_of(view)
    queue, message = subject.queue, subject.message
    try:
        body = queue.decode(message)
    except (CodecError, InvalidBodyError):
        body = message.body
    source = as_test(message, body, queue.id, queue.codec_of(message))
    return _page(view, subject, "mend.test", escape_lines(source))


async def as_json(view: PageView) -> Response:
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


async def _subject_of(view: PageView) -> Subject:
    subject = await subject_of(view, "peek")
    if is_long(subject.queue, subject.message):
        raise PageError(413, view.say("mend.copy_is_long"))
    return subject


def _page(view: PageView, subject: Subject, title: str, text: str) -> Response:
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


async def dry_run(view: PageView) -> Response:
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


async def edit(view: PageView) -> Response:
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


async def _send(view: PageView, subject: Subject, draft: Draft, given: Mapping[str, str]) -> Response:
    site, session = view.tools.site, view.session
    try:
        wanted = wanted_of(draft, given, shows_secrets=view.may("secrets", draft.dead))
        made = await check_edit(site, draft, wanted, session)
    except EditError as error:
        return _show(view, subject, draft, given, error.problems, status=400)
    if given.get("do") != "send":
        return _show(view, subject, draft, given, said=view.say("mend.valid"), warnings=made.warnings)
    options = {"draft": draft, "made": made, "keep": given.get("keep") == "1"}
    order = Order("edit", "queue", draft.dead, draft.letter.id, subject.place, options=options)
    done = await view.carry_out(order)
    return RedirectResponse(view.url("messages", done.values["id"], done.values["new"], edited=draft.dead), 303)


def _show(
    view: PageView,
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


MOST_TEXT = 256 * 1024
"""Characters of a body that a browser gets to edit."""

NEW_ROWS = 3
"""Empty rows for new headers."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class FormRow:
    """A header in the form; ``value`` is JSON, and empty to take the header away."""

    name: str
    value: str
    kind: str = "free"
    """locked, sensitive, free, or secret: it is there, and neither shown nor changed."""
    warning: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """What the page shows. ``why``: a key of the catalogue, why the body cannot be edited here; empty if it can."""

    text: str
    why: str
    detail: str
    has_bidi: bool
    has_masks: bool
    """Whether masks stand for secrets in the text."""
    rows: Sequence[FormRow]
    new: Sequence[FormRow]
    locked: Sequence[tuple[str, str]]
    to: str
    keep: bool
    problems: Sequence[Problem] = ()
    """The problems of the message as a whole, and of the body."""


def form_of(
    draft: Draft,
    given: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
    *,
    shows_secrets: bool,
) -> Form:
    """The form of a letter, or, with ``given``, of the fields that were sent last, with their problems."""
    why, detail = _why(draft, shows_secrets=shows_secrets)
    text = given.get("body", "") if given is not None else "" if why else _text(draft, shows_secrets)
    by_field = {problem.field: problem.text for problem in problems}
    rows = [_row(draft, name, shows_secrets, given, by_field) for name in _editable(draft)]
    known = {field_of(row.name) for row in rows}
    new = [
        FormRow(name, given.get(f"nv{n}", ""), problem=by_field.get(field_of(name), "") if name else "")
        for n in range(NEW_ROWS)
        for name in ((given or {}).get(f"nn{n}", ""),)
        if given is not None
    ] or [FormRow("", "")] * NEW_ROWS
    known |= {field_of(row.name) for row in new}
    locked = [(name, str(value)) for name, value in sorted(draft.headers.items()) if class_of(name) == "locked"]
    return Form(
        text=text if not why else "",
        why=why,
        detail=detail,
        has_bidi=not _BIDI.isdisjoint(text),
        has_masks=not why and _has_masks(draft, shows_secrets),
        rows=rows,
        new=new,
        locked=locked,
        to=draft.to,
        keep=given is not None and given.get("keep") == "1",
        problems=[problem for problem in problems if problem.field not in known],
    )


def wanted_of(draft: Draft, given: Mapping[str, str], *, shows_secrets: bool) -> Wanted:
    """What the fields change. Raises EditError: values that are not JSON, names that are there twice."""
    headers: dict[str, HeaderValue] = {}
    problems: list[Problem] = []
    for name in _editable(draft):
        if _is_secret(name, shows_secrets):
            headers[name] = draft.headers[name]
            continue
        _read(headers, problems, name, given.get(_field(draft, name), ""))
    for n in range(NEW_ROWS):
        name = given.get(f"nn{n}", "").strip()
        if not name:
            continue
        if name in headers:
            problems.append(Problem(field_of(name), "it is there twice"))
        else:
            _read(headers, problems, name, given.get(f"nv{n}", "") or '""')
    text = None
    if not _why(draft, shows_secrets=shows_secrets)[0]:
        text = _sent(draft, given.get("body", ""), problems, shows_secrets)
    if problems:
        raise EditError(problems)
    return Wanted(text=text, headers=changes(draft.headers, headers))


def _sent(draft: Draft, body: str, problems: list[Problem], shows_secrets: bool) -> str:
    """The body that the form has sent, with the secrets that it masks."""
    text = body.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        problems.append(Problem(BODY, "it is empty: write JSON, or null", 1))
    elif _has_masks(draft, shows_secrets):
        try:
            return revealed(text, draft.shown.text)
        except EditError as error:
            problems += error.problems
        except (ValueError, RecursionError):
            return text  # it is no JSON, which is said next
    return text


def _read(headers: dict[str, HeaderValue], problems: list[Problem], name: str, text: str) -> None:
    if not text.strip():
        return  # it is taken away
    try:
        headers[name] = read_value(text.strip())
    except (ValueError, RecursionError) as error:
        problems.append(Problem(field_of(name), str(error)))


def _editable(draft: Draft) -> list[str]:
    return [name for name in sorted(draft.headers) if class_of(name) != "locked"]


def _field(draft: Draft, name: str) -> str:
    """The name of a header's field: its number, as its own name may be anything."""
    return f"h{_editable(draft).index(name)}"


def _row(
    draft: Draft, name: str, shows_secrets: bool, given: Mapping[str, str] | None, problems: Mapping[str, str]
) -> FormRow:
    problem, warning = problems.get(field_of(name), ""), WARNINGS.get(name, "")
    if _is_secret(name, shows_secrets):
        return FormRow(name, MASK, "secret", warning, problem)
    value = draft.headers[name]
    text = json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())
    return FormRow(
        name, text if given is None else given.get(_field(draft, name), ""), class_of(name), warning, problem
    )


def _is_secret(name: str, shows_secrets: bool) -> bool:
    return not shows_secrets and is_secret_name(name)


def _why(draft: Draft, *, shows_secrets: bool) -> tuple[str, str]:
    """Why the body cannot be edited here, as a key of the catalogue and a detail."""
    shown = draft.shown
    if shown.form == "bytes":
        return "mend.is_bytes", shown.why
    if len(shown.text) > MOST_TEXT:
        return "mend.is_long", ""
    if any(char < " " and char not in "\n\t" for char in shown.text):
        return "mend.is_odd", ""  # a browser would change them
    if _has_masks(draft, shows_secrets) and hidden(shown.text) is None:
        return "mend.is_secret", ""
    return "", ""


def _has_masks(draft: Draft, shows_secrets: bool) -> bool:
    """Whether masks stand for secrets in the text of the body."""
    text = draft.shown.text
    return not shows_secrets and bool(text) and hidden(text) != text


def _text(draft: Draft, shows_secrets: bool) -> str:
    """The body as the form shows it."""
    shown = draft.shown.text
    return (hidden(shown) or "") if _has_masks(draft, shows_secrets) else shown
