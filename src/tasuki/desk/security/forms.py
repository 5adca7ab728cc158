"""Forms: their bodies, read within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

MOST_BYTES = 64 * 1024
MOST_FIELDS = 100
_PATIENCE = 10.0
"""Seconds in which a body must be here."""


class FormError(Exception):
    """A form that is not read; ``status`` is the answer."""

    def __init__(self, status: int, problem: str) -> None:
        self.status = status
        super().__init__(problem)


class Readers:
    """Forms of strangers that are read at the same time: above the bound the oldest one ends, and not the new one.

    Else slow forms, which no rate bounds, could take all connections. An honest one is complete at once.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._reading: deque[asyncio.Timeout] = deque()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Read a form within the block. Raises FormError: it had to make way for others."""
        try:
            async with asyncio.timeout(None) as limit:
                self._reading.append(limit)
                if len(self._reading) > self._most:
                    self._reading.popleft().reschedule(0.0)
                try:
                    yield
                finally:
                    if limit in self._reading:
                        self._reading.remove(limit)
        except TimeoutError:
            raise FormError(408, "the form did not arrive in time") from None


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form; the last one of a name counts. Raises FormError."""
    return dict(await read_fields(request))


async def read_fields(request: Request, most: int = MOST_BYTES, fields: int = MOST_FIELDS) -> list[tuple[str, str]]:
    """The same with all fields of a name, as of checkboxes; at most this many bytes and fields. Raises FormError."""
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
