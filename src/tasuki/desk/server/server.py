"""The server, in its own thread or in the running loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn

from tasuki.desk.desk import Desk
from tasuki.desk.server.protocol import MOST_HEADER_BYTES, BoundedProtocol
from tasuki.system.loop_thread import LoopThread

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
