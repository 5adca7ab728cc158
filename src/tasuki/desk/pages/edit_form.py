"""The form of an edit: what it shows of a letter, and what its fields want changed; no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasuki.dead.editing.building import Wanted
from tasuki.dead.editing.document import changes, read_value
from tasuki.dead.editing.edit import Draft
from tasuki.dead.editing.headers import WARNINGS, class_of, field_of
from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.dead.editing.secrets import hidden, revealed
from tasuki.message import HeaderValue
from tasuki.observe.redact import MASK, is_secret_name

MOST_TEXT = 256 * 1024
"""Characters of a body that a browser gets to edit."""
NEW_ROWS = 3
"""Empty rows for new headers."""
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Row:
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
    rows: Sequence[Row]
    new: Sequence[Row]
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
        Row(name, given.get(f"nv{n}", ""), problem=by_field.get(field_of(name), "") if name else "")
        for n in range(NEW_ROWS)
        for name in ((given or {}).get(f"nn{n}", ""),)
        if given is not None
    ] or [Row("", "")] * NEW_ROWS
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
) -> Row:
    problem, warning = problems.get(field_of(name), ""), WARNINGS.get(name, "")
    if _is_secret(name, shows_secrets):
        return Row(name, MASK, "secret", warning, problem)
    value = draft.headers[name]
    text = json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())
    return Row(name, text if given is None else given.get(_field(draft, name), ""), class_of(name), warning, problem)


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
