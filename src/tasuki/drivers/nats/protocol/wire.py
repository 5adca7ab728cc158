"""Wire: NATS' lines in both directions, many messages at a time.

The client reads each message with several patterns and moves its whole buffer for each; here a chunk is cut where it
lies. What is not a message (INFO, PING, errors) goes on to the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

LONGEST_LINE = 2**16
LARGEST = 2**26 + 2**16
"""Bytes of the largest message that a server can be configured for."""

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
        """Take bytes as they come."""
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
                await super().parse(data[position : end + 2])
                position = end + 2
        rest = data[position:]
        self._chunks, self._size = [rest], len(rest)
        if not self._needed_size and len(rest) > LONGEST_LINE:
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


def frames(requests: Sequence[tuple[str, bytes]], headers: Sequence[bytes], inbox: bytes) -> Iterator[bytes]:
    """Requests as they are written; each is answered to its own number below the inbox."""
    for index, (subject, data) in enumerate(requests):
        if headers and headers[index]:
            head = headers[index]
            sizes = b"%d %d" % (len(head), len(head) + len(data))
            yield b"HPUB %b %b%d %b\r\n%b%b\r\n" % (subject.encode(), inbox, index, sizes, head, data)
        else:
            yield b"PUB %b %b%d %d\r\n%b\r\n" % (subject.encode(), inbox, index, len(data), data)


def frame(subject: str, data: bytes, reply: str = "") -> bytes:
    """One message as it is written."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
