"""Link: the driver's connection, made anew when it was lost: one attempt at a time, with growing pauses between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.nats.protocol.connection import Address, Connection
from tasuki.drivers.toolkit.guard import not_open
from tasuki.errors import DriverError


class Link:
    """``get`` gives a connection that is usable now; ``make`` makes one that is not yet connected."""

    def __init__(self, address: Address, make: Callable[[], Connection]) -> None:
        self._address = address
        self._make = make
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[Connection] | None = None
        self._lost_server = ""
        self._failures = 0
        self._failed_at = 0.0
        self.is_closed = False

    async def get(self) -> Connection:
        """The connection. Raises BrokerUnavailableError or AccessDeniedError when it cannot be made."""
        connection = self._connection
        if connection is not None and connection.is_usable:
            return connection
        if self.is_closed:
            raise self._closed()
        attempt = self._attempt
        if attempt is None:
            attempt = self._attempt = asyncio.get_running_loop().create_task(self._connect(), name="connect nats")
            attempt.add_done_callback(self._attempted)
        # A caller that is cancelled does not end the attempt for the others.
        await asyncio.wait([attempt])
        if attempt.cancelled():
            raise self._closed()
        return attempt.result()

    @property
    def current(self) -> Connection | None:
        """The connection that there is, if it is usable."""
        connection = self._connection
        return connection if connection is not None and connection.is_usable else None

    async def close(self) -> None:
        """Disconnect, and connect no more."""
        self.is_closed = True
        attempt = self._attempt
        if attempt is not None:
            attempt.cancel()
            await asyncio.wait([attempt])
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if self._failures:
            pause = self._failed_at + UNTIL_BACK.delay(self._failures) - loop.time()
            await asyncio.sleep(max(pause, 0.0))
        old, self._connection = self._connection, None
        if old is not None:
            self._lost_server = old.server
            await old.close()
        connection = self._make()
        try:
            await connection.connect(self._lost_server)
        except DriverError:
            self._failures += 1
            self._failed_at = loop.time()
            raise
        self._failures = 0
        self._connection = connection
        return connection

    def _attempted(self, attempt: asyncio.Task[Connection]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # everybody who waited has it; nobody may have waited

    def _closed(self) -> DriverError:
        return not_open(self._address.driver)
