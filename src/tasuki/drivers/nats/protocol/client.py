"""Client: the connection of the client library, without its queues, buffers, parser and reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client as NATSClient
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from tasuki.system.tasks import OnFailure

LONGEST_LINE = 2**16
LARGEST = 2**26 + 2**16
"""Bytes of the largest message that a server can be configured for."""

_CONTROL = (b"INFO ", b"PING", b"PONG", b"+OK", b"-ERR ")
"""How the lines begin that go on to the client."""

Route = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Takes subject, reply, content and headers of a message."""


class Reader(Parser):
    """Takes the place of the client's parser; ``heard`` is called for whatever comes.

    The client reads each message with several patterns and moves its whole buffer for each; this class cuts a chunk
    where it lies, many messages at a time. The other lines (INFO, PING, errors) go on to the client. Other bytes end in
    one ProtocolError: any other exception would end the client's reading without a word.
    """

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


FAREWELL = 1.0
"""Seconds for the last bytes when a connection is closed."""


class Client(NATSClient):
    """The client without its queues: everything that arrives goes to ``route``, after ``heard`` was called.

    With ``must_encrypt`` it says nothing, and no password above all, to a server that does not encrypt.
    Each private name of the library that this relies on has a test, and its next major version is not installed.
    """

    def __init__(self, route: Route, heard: Callable[[], None], *, must_encrypt: bool) -> None:
        super().__init__()
        self._must_encrypt = must_encrypt
        self.is_alone = False
        """Whether the server has the streams itself, and belongs to no cluster."""
        self._ps = Reader(self, route, heard)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Called before anything is said: the client itself encrypts only where the server insists."""
        if initial_connection:
            self.is_alone = bool(info.get("jetstream")) and not info.get("cluster")
        if initial_connection and self._must_encrypt and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise nats.errors.Error("tls is wanted, and the server does not encrypt")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Called for each end of the connection.

        The client counts a PING as unsent although it is written. It would then flush to a connection that was reset in
        that moment, fail, and never call ``closed_cb``.
        """
        self._pending_data_size = 0
        await super()._close(status, do_cbs)

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket at once; the client's buffer would outlive a lost connection."""
        if not self.is_connected or self._transport is None:
            raise ConnectionError("connection closed")
        self._transport.write(data)

    async def end(self) -> None:
        """Close it, and cut it off if that is cancelled, takes too long, or its encryption never came about."""
        writer = self._writer
        if writer is not None and writer.get_extra_info("ssl_object") is not None:
            # Nothing is unanswered that matters; the farewell of TLS would only make asyncio log a warning.
            self.abort()
        with suppress(TimeoutError), OnFailure(self.abort):
            async with asyncio.timeout(FAREWELL):
                await self.close()

    def abort(self) -> None:
        """Cut the connection, and drop unsent data."""
        if self._writer is not None:
            self._writer.transport.abort()

    @property
    def is_sending(self) -> bool:
        """Whether bytes of ours wait for the socket to take them."""
        writer = self._writer
        return writer is not None and writer.transport.get_write_buffer_size() > 0

    @property
    def _writer(self) -> asyncio.StreamWriter | None:
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        return writer

    async def written(self) -> None:
        """Wait until the socket has room again."""
        if self._transport is not None:
            await self._transport.drain()  # type: ignore[no-untyped-call]
