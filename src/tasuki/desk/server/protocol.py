"""A connection of the desk's server: it ends when its client is too slow, or there are too many."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 512
MOST_HEADER_BYTES = 16 * 1024
PATIENCE = 10.0
"""Seconds for a request to be complete, and for a client to take its answer."""


class BoundedProtocol(H11Protocol):
    """Uvicorn alone waits forever for the rest of a header, and for a client that reads nothing."""

    _late: asyncio.TimerHandle | None = None
    """Ends a connection whose request is not complete."""
    _stuck: asyncio.TimerHandle | None = None
    """Ends a connection whose client reads nothing."""
    _idle_since: float | None = None
    """When it began to wait for a request, on the loop's clock; None: one is answered, or the connection is over."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Above the bound the connection that waits longest for a request ends, and not the new one.

        Else anyone could hold all connections without a token, and the probes of a worker would fail.
        """
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS and not self._end_the_longest_idle():
            transport.abort()
            return
        self._idle_since = self.loop.time()
        self._late = self.loop.call_later(PATIENCE, self._give_up)

    def _end_the_longest_idle(self) -> bool:
        idle = [
            (each._idle_since, each)  # noqa: SLF001 - of the same class
            for each in self.connections
            if isinstance(each, BoundedProtocol) and each._idle_since is not None  # noqa: SLF001
        ]
        if not idle:
            return False
        _, longest = min(idle, key=lambda pair: pair[0])
        longest._give_up()  # noqa: SLF001
        return True

    def data_received(self, data: bytes) -> None:
        """The time for a request begins with its first byte."""
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._late = self.loop.call_later(PATIENCE, self._give_up)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:  # its header is complete; a form has its own time
            self._idle_since = None
            self._in_time()

    def on_response_complete(self) -> None:
        """From now on it waits for the next request, unless that is here already."""
        self._idle_since = self.loop.time()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before:
            self._idle_since = None
            self._in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._idle_since = None
        self._in_time()
        self._reads_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        if self._stuck is None:
            self._stuck = self.loop.call_later(PATIENCE, self._give_up)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It reads on."""
        self._reads_on()
        super().resume_writing()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _reads_on(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _give_up(self) -> None:
        self._idle_since = None
        self.transport.abort()
