"""Decoding: the query and the body of a request as one of our types, or the problem with them. Bounded."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from tasuki.desk.api.problems import ProblemError
from tasuki.observe.plain import escape

T = TypeVar("T", bound=msgspec.Struct)
I = TypeVar("I")  # noqa: E741 - an item

MOST_BYTES = 64 * 1024
"""Of a body, but for the body of a message in it."""
MOST_MESSAGE = 2 * 1024 * 1024
_MOST_PARAMETERS = 20
_BODY = re.compile(rb'"body"[ \t\r\n]*:[ \t\r\n]*')
_PATIENCE = 10.0
"""Seconds in which a body must be here."""


def read_query(text: str, type_: type[T]) -> T:
    """The parameters; each may be given once. Raises ProblemError."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise ProblemError(400, "the query cannot be read") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ProblemError(400, "a parameter is given twice")
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(400, f"query: {_told(error)}") from None


async def read_body(request: Request, type_: type[T], most: int) -> T:
    """The JSON object of a request; an empty body is an empty object. Raises ProblemError."""
    content = await _content(request, most)
    if content.strip():
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ProblemError(415, "the body must be application/json")
    try:
        found = msgspec.json.decode(content if content.strip() else b"{}", type=type_)
        _refuse_doubles(content, found)
    except msgspec.ValidationError as error:
        raise ProblemError(400, f"body: {_told(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON, or is nested too deeply: {_told(error)}") from None
    return found


async def _content(request: Request, most: int) -> bytes:
    content = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            async for part in request.stream():
                content += part
                if len(content) > most:
                    raise ProblemError(413, f"the body may have {most} bytes")
    except TimeoutError:
        raise ProblemError(408, "the body did not arrive in time") from None
    except ClientDisconnect:
        raise ProblemError(400, "the client has gone") from None
    return bytes(content)


def _refuse_doubles(content: bytes, found: msgspec.Struct) -> None:
    """A name that an object has twice means one thing here and another to a proxy before us. Raises ProblemError.

    The body of a message is not ours to judge, and may be long: it is left out.
    """
    raw = getattr(found, "body", None)
    if isinstance(raw, msgspec.Raw) and bytes(raw):
        content = without_body(content, bytes(raw))
    if len(content) > MOST_BYTES:
        raise ProblemError(413, f"the body may have {MOST_BYTES} bytes besides the message's")
    if content.strip():
        json.loads(content, object_pairs_hook=_once)


def without_body(content: bytes, body: bytes) -> bytes:
    """The document with null for its ``body``; the same bytes elsewhere, as in the name of a header, stay."""
    for name in _BODY.finditer(content):
        end = name.end() + len(body)
        if content.startswith(body, name.end()) and content[end:].lstrip()[:1] in (b",", b"}"):
            return content[: name.end()] + b"null" + content[end:]
    return content  # a name with escapes


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ProblemError(400, "a name stands twice in one object")
    return found


def _told(error: Exception) -> str:
    return escape(str(error))[:300]


def cursor_of(text: str) -> str:
    """A place in a list as clients carry it: opaque, so that no client counts on its form."""
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """The place in it; empty: the beginning. Raises ProblemError."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ProblemError(400, "the cursor is none of ours") from None


def read_number(cursor: str) -> int:
    """The number in a cursor; 0: the beginning. Raises ProblemError."""
    text = read_cursor(cursor)
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ProblemError(400, "the cursor is none of ours")
    return int(text)


def page_of(items: Mapping[str, I], cursor: str, limit: int) -> tuple[list[I], str | None]:
    """The items after the cursor in the order of their keys, and the cursor of what follows. Raises ProblemError."""
    after = read_cursor(cursor)
    keys = sorted(key for key in items if key > after)
    shown = keys[:limit]
    return [items[key] for key in shown], cursor_of(shown[-1]) if len(keys) > limit else None
