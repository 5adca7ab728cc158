"""The server, in its own thread or in the running loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tasuki.desk.desk import Desk
from tasuki.system.loop_thread import LoopThread

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


_log = logging.getLogger("tasuki.desk")
_BACKLOG = 128
_TICK = 1.0
"""Seconds."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are the worker's."""
        yield

    async def main_loop(self) -> None:
        """Until ``should_exit``: uvicorn wakes ten times a second, and needs it once, for the header ``date``."""
        while not await self.on_tick(0):  # noqa: ASYNC110 - an attribute ends it
            await asyncio.sleep(_TICK)


async def serve(desk: Desk, listening: socket.socket) -> None:
    """Open what the desk reads, and answer until cancelled. Raises ProjectError, LifecycleError."""
    config = uvicorn.Config(
        desk,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
    server = _Server(config)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.ERROR)  # a client can make it warn as often as it likes
    try:
        await desk.site.open()
        await server.serve(sockets=[listening])
    except asyncio.CancelledError:
        if server.started:
            await server.shutdown(sockets=[listening])
        raise
    finally:
        await desk.close()
        listening.close()


class DeskThread:
    """A desk beside a worker: it answers while the worker's event loop is blocked."""

    def __init__(self, make: Callable[[], Desk], listening: socket.socket) -> None:
        self._make, self._listening = make, listening
        self._thread = LoopThread("tasuki-desk", work=self._work)

    def start(self) -> None:
        """Begin. Raises RuntimeError when the system has no thread for it."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait for that."""
        self._thread.stop()
        self._thread.join()

    async def _work(self) -> None:
        """Serve until the thread ends. What the desk cannot open now it tries again: the worker goes on meanwhile."""
        while True:
            try:
                await serve(self._make(), self._listening.dup())
            except Exception as error:
                _log.error("desk: %s; it tries again in 5 s", error)
                await asyncio.sleep(5)


def listen(address: str) -> tuple[socket.socket, str]:
    """A socket for ``host:port`` (``[::1]:9321``), and the host. Raises ValueError, OSError."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is no address; write host:port, as in 127.0.0.1:9321")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG), host


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address; False for a name other than localhost."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
