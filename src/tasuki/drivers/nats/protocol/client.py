"""Client: the connection of the client library, without its queues, buffers and reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client as NATSClient

from tasuki.drivers.nats.protocol.wire import Reader, Route
from tasuki.system.tasks import OnFailure

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
        self._ps = Reader(self, route, heard)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Called before anything is said: the client itself encrypts only where the server insists."""
        if initial_connection and self._must_encrypt and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise nats.errors.Error("tls is wanted, and the server does not encrypt")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

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
