"""Link: a connection that is made when it is wanted, again when it was lost, with growing pauses between failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.hosts import Hosts

AUTH_PAUSE = 30.0
"""Seconds after credentials were refused: whoever tries at once again gets locked out."""


class Link:
    """One connection at a time; ``prepare`` makes a new one ready before anybody gets it."""

    def __init__(self, settings: Endpoint, prepare: Callable[[Connection], Awaitable[None]]) -> None:
        self._settings = settings
        self._hosts = Hosts(settings)
        self._prepare = prepare
        self._backoff = replace(
            UNTIL_BACK, initial_delay=settings.reconnect_delay, max_delay=settings.reconnect_max_delay
        )
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[Connection] | None = None
        self._failures = 0
        self._failure: BaseException | None = None
        self._again_at = 0.0
        self._is_closed = False

    @property
    def connection(self) -> Connection | None:
        """The connection, if there is a live one."""
        return self._connection if self._connection is not None and self._connection.is_alive else None

    async def get(self, wait: float = 0.0) -> Connection:
        """A live connection. After a failure the next attempt has to wait; longer than ``wait`` is not waited for.

        Raises what made the last attempt fail: ClosedError, or what ``prepare`` raised.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while (connection := self.connection) is None:
            if self._attempt is None:
                pause = self._again_at - loop.time()
                if self._is_closed:
                    raise ClosedError(0, "closed")
                if self._failure is not None and pause > 0:
                    if loop.time() + pause > deadline:
                        raise self._failure
                    await asyncio.sleep(pause)
                    continue
                self._attempt = loop.create_task(self._connect(), name="connect to RabbitMQ")
                self._attempt.add_done_callback(self._attempted)
            attempt = self._attempt
            await asyncio.wait((attempt,))
            if attempt.cancelled():
                raise ClosedError(0, "closed")
            error = attempt.exception()
            if error is not None and self._again_at > deadline:
                raise error
        return connection

    def open(self) -> None:
        """Connections may be made; what went wrong before is forgotten."""
        self._is_closed = False
        self._failures, self._failure, self._again_at = 0, None, 0.0

    async def close(self) -> None:
        """End the connection, and an attempt under way; until ``open`` there are no more."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            # Not gather: for an attempt that has just ended it returns before that is noted, from Python 3.12 on.
            await asyncio.wait((self._attempt,))
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """End the connection at once, and say nothing; until ``open`` there are no more."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            self._connection.end(ClosedError(0, "closed"))

    async def _connect(self) -> Connection:
        connection = await self._hosts.connect()
        is_ready = False
        try:
            await self._prepare(connection)
            is_ready = True
        finally:
            if not is_ready:
                connection.end(ClosedError(0, "could not be made ready"))
        return connection

    def _attempted(self, attempt: asyncio.Task[Connection]) -> None:
        self._attempt = None
        if attempt.cancelled():
            return
        error = attempt.exception()
        if error is None and self._is_closed:
            attempt.result().end(ClosedError(0, "closed"))
            return
        if error is None:
            self.open()
            self._connection = attempt.result()
            return
        self._failures += 1
        self._failure = error
        pause = self._backoff.delay(self._failures)
        if isinstance(error, ClosedError) and error.code == 403:
            pause = max(pause, AUTH_PAUSE)
        self._again_at = asyncio.get_running_loop().time() + pause
