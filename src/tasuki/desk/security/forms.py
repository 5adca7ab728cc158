"""Forms: their bodies, read within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

MOST_BYTES = 64 * 1024
_MOST_FIELDS = 100
_PATIENCE = 10.0
"""Seconds in which a body must be here."""


class FormError(Exception):
    """A form that is not read; ``status`` is the answer."""

    def __init__(self, status: int, problem: str) -> None:
        self.status = status
        super().__init__(problem)


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form; the last one of a name counts. Raises FormError."""
    return dict(await read_fields(request))


async def read_fields(request: Request, most: int = MOST_BYTES, fields: int = _MOST_FIELDS) -> list[tuple[str, str]]:
    """The same with all fields of a name, as of checkboxes; at most so many bytes and fields. Raises FormError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormError(415, "a form is application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise FormError(413, f"a form has at most {most} bytes")
    except TimeoutError:
        raise FormError(408, "the form did not arrive in time") from None
    except ClientDisconnect:
        raise FormError(400, "the client has gone") from None
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=fields, errors="strict")
    except ValueError:
        raise FormError(400, "the form cannot be read") from None
