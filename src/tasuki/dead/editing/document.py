"""The text that ``$EDITOR`` opens: the free and sensitive headers, a blank line, and the body as JSON; no I/O.

Lines that begin with ``#!`` are ours: no JSON, and no header, has such a line, so they are left out when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasuki.dead.editing.body import Shown
from tasuki.dead.editing.headers import WARNINGS, class_of, field_of
from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.message import HeaderValue
from tasuki.observe.plain import cut, escape

OURS = "#!"
_BODY_MARK = f"{OURS} --- body ---"
_NAME = re.compile(r"[\w.$@/-][\w.$@/ -]{0,254}(?<! )")
"""A header's name that needs no quotes in the document."""
_MOST = 200
"""Characters of a locked header's value, which is shown in a comment."""


class Read(NamedTuple):
    """An edited document; ``text`` is None where the body is not text."""

    headers: dict[str, HeaderValue]
    text: str | None


def write(id: str, queue: str, to: str, headers: Mapping[str, HeaderValue], shown: Shown) -> str:
    """The document of a message, whose headers are all given."""
    lines = [
        f"{OURS} Message {escape(id)} of {queue}, which goes to {to} as a new message when you save and leave.",
        f"{OURS} An unchanged or empty text changes nothing. Headers: one a line, name: JSON value.",
    ]
    lines += [
        f"{OURS}   {escape(name)}: {cut(escape(str(value)), _MOST)}"
        for name, value in headers.items()
        if class_of(name) == "locked"
    ]
    for name, value in headers.items():
        kind = class_of(name)
        if kind == "sensitive":
            lines.append(f"{OURS} careful: {WARNINGS[name]}")
        if kind != "locked":
            lines.append(header_line(name, value))
    lines += [_BODY_MARK, shown.text if shown.form != "bytes" else f"{OURS} The body stays: {shown.why}", ""]
    return "\n".join(lines)


def header_line(name: str, value: HeaderValue) -> str:
    """A header as a line of a document, whatever its characters."""
    shown = name if _NAME.fullmatch(name) else _text(name)
    return f"{shown}: {_text(value) if isinstance(value, str) else json.dumps(value)}"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def read(document: str, *, has_text: bool) -> Read:
    """The headers and the body of an edited document.

    Raises:
        EditError: every line that is no header.
    """
    head, _, body = document.partition(f"{_BODY_MARK}\n")
    headers: dict[str, HeaderValue] = {}
    problems = []
    for line in head.split("\n"):
        if not line.strip() or line.startswith(OURS):
            continue
        name, value = _parts(line)
        try:
            if not name:
                raise ValueError("write name: value")
            if name in headers:
                raise ValueError("it is there twice")
            headers[name] = read_value(value)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(field_of(name or line), str(error)))
    if problems:
        raise EditError(problems)
    return Read(headers, own_lines(body).strip() if has_text else None)


def _parts(line: str) -> tuple[str, str]:
    """The name of a header, also one in quotes, and the rest; the name is empty in a line that is no header."""
    line = line.strip()
    if line.startswith('"'):
        try:
            name, end = json.JSONDecoder().raw_decode(line)
        except ValueError:
            return "", ""
        rest = line[end:].lstrip()
    else:
        end = line.find(":")
        name, rest = (line[:end].rstrip(), line[end:]) if end > 0 else ("", "")
    return (name, rest[1:].strip()) if rest.startswith(":") else ("", "")


def own_lines(text: str) -> str:
    """The text without our lines."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(OURS))


def read_value(text: str) -> HeaderValue:
    """The value of a header, which is JSON. Raises ValueError."""
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError('its value is no JSON: put a text into quotes, as in tenant: "acme"') from None
    if not isinstance(value, bool | int | float | str):
        raise ValueError("its value must be true, false, a number or a text in quotes")
    return value


def annotated(document: str, problems: Sequence[Problem]) -> str:
    """The document with each problem above its line; those without one stand at the top."""
    clean = own_errors_removed(document)
    head, mark, body = clean.partition(f"{_BODY_MARK}\n")
    above = [problem for problem in problems if problem.field != BODY]
    lines = head.split("\n")
    for problem in reversed(above):
        at = next((n for n, line in enumerate(lines) if problem.field == field_of(_parts(line)[0] or line)), 0)
        lines.insert(at, _error_line(problem.text if at else str(problem)))
    rows = body.split("\n")
    for problem in sorted((each for each in problems if each.field == BODY), key=lambda each: -each.line):
        rows.insert(max(problem.line - 1, 0), _error_line(problem.text))
    return "\n".join(lines) + mark + "\n".join(rows)


def own_errors_removed(document: str) -> str:
    """The document without the problems of an earlier round."""
    return "\n".join(line for line in document.split("\n") if not line.startswith(f"{OURS} ERROR"))


def _error_line(text: str) -> str:
    return f"{OURS} ERROR: {escape(text)}"


def changes(before: Mapping[str, HeaderValue], after: Mapping[str, HeaderValue]) -> dict[str, HeaderValue | None]:
    """What must be changed so that the headers that are not locked become these."""
    gone: dict[str, HeaderValue | None] = {
        name: None for name in before if name not in after and class_of(name) != "locked"
    }
    return {**gone, **after}
