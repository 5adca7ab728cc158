"""Wire: NATS' lines as they come, many messages at a time.

The client reads each message with several patterns and moves its whole buffer for each; here a chunk is cut where it
lies. The other lines (INFO, PING, errors) go on to the client. Bytes that are none of NATS' lines end in one
ProtocolError: any other exception would end the client's reading without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

LONGEST_LINE = 2**16
LARGEST = 2**26 + 2**16
"""Bytes of the largest message that a server can be configured for."""

_CONTROL = (b"INFO ", b"PING", b"PONG", b"+OK", b"-ERR ")
"""How the lines begin that go on to the client."""

Route = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Takes subject, reply, content and headers of a message."""


class Reader(Parser):
    """Takes the place of the client's parser; ``heard`` is called for whatever comes."""

    def __init__(self, client: Any, route: Route, heard: Callable[[], None]) -> None:
        super().__init__(client)
        self._route_message = route
        self._heard = heard
        self._chunks: list[bytes] = []
        self._size = 0
        self._needed_size = 0

    async def parse(self, data: bytes = b"") -> None:
        """Take bytes as they come. Raises ProtocolError, or OSError for an answer that cannot be written."""
        self._heard()
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._needed_size:
            return
        data = b"".join(self._chunks)
        position, self._needed_size = 0, 0
        while (end := data.find(b"\r\n", position)) >= 0:
            if data.startswith((b"MSG ", b"HMSG "), position):
                stop = self._message(data, position, end)
                if stop > len(data):
                    self._needed_size = stop - position
                    break
                position = stop
            else:
                await self._control(data[position : end + 2])
                position = end + 2
        rest = data[position:]
        self._chunks, self._size = [rest], len(rest)
        if not self._needed_size and len(rest) > LONGEST_LINE:
            raise ProtocolError

    async def _control(self, line: bytes) -> None:
        """Pass on one line that is no message; the client's parser would wait for the rest of one that it cannot read.

        It would also take some messages that are written otherwise, and any size of them.
        """
        if not line.startswith(_CONTROL):
            raise ProtocolError
        try:
            await super().parse(line)
        except (OSError, ProtocolError):
            raise
        except Exception as error:
            raise ProtocolError from error
        if self.buf:
            raise ProtocolError

    def _message(self, data: bytes, position: int, end: int) -> int:
        """Pass on the message that begins at ``position``; returns where it ends, which may be beyond the data."""
        try:
            operation, subject, _, *rest = data[position:end].split(b" ")
            size = int(rest[-1])
            head = int(rest[-2]) if operation == b"HMSG" else 0
        except (ValueError, IndexError):
            raise ProtocolError from None
        if not head <= size <= LARGEST:
            raise ProtocolError
        start = end + 2
        if start + size + 2 <= len(data):
            reply = rest[0] if len(rest) == (3 if head else 2) else b""
            headers = data[start : start + head] if head else None
            self._route_message(subject, reply, data[start + head : start + size], headers)
        return start + size + 2
