"""Renewals: a thread with a loop and a connection of its own, for what must go on while the main loop is blocked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.errors import BrokerUnavailableError
from tasuki.system.event_loop import new_event_loop

T = TypeVar("T")


class Renewals:
    """Runs work with a connection; the thread starts with the first, and ends with ``close``."""

    def __init__(self, make_link: Callable[[], Reconnecting[Connection]]) -> None:
        self._make_link = make_link
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: Reconnecting[Connection] | None = None
        self._ended: asyncio.Event
        self._is_open = False

    def open(self) -> None:
        """Work may come; nothing is left of before, as in a child process."""
        self._lock = threading.Lock()
        self._thread = self._loop = self._link = None
        self._is_open = True

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of ``work``, called in the thread; from any loop.

        Raises:
            DriverError: what ``work`` raises; it was closed; it cannot connect.
        """
        future = asyncio.wrap_future(self.start(self._with_connection(work)))
        try:
            await asyncio.wait([future])
        finally:
            if not future.done():
                future.cancel()
        if future.cancelled():
            raise BrokerUnavailableError("the driver was closed meanwhile")
        return future.result()

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin something in the thread. Raises BrokerUnavailableError after ``close``."""
        with self._lock:
            if not self._is_open:
                work.close()
                raise BrokerUnavailableError("the driver is not open; open it first")
            try:
                loop = self._running_loop()
            except (OSError, RuntimeError) as error:  # files or threads are short
                work.close()
                raise BrokerUnavailableError(f"cannot start the thread that renews leases: {error}") from error
            return asyncio.run_coroutine_threadsafe(work, loop)

    async def get(self) -> Connection:
        """The thread's connection; for what runs in the thread."""
        assert self._link is not None
        return await self._link.get()

    def close(self) -> None:
        """End the thread and its connection, and wait for it; what runs there is cancelled."""
        with self._lock:
            thread, loop = self._thread, self._loop
            self._thread = self._loop = None
            self._is_open = False
        if thread is not None and loop is not None:
            loop.call_soon_threadsafe(self._ended.set)
            thread.join()

    async def _with_connection(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await work(await self.get())

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the thread, which is started if there is none, or none any more."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            loop = new_event_loop()
            self._ended = asyncio.Event()
            thread = threading.Thread(target=self._run, args=(loop,), name="tasuki nats renewals", daemon=True)
            thread.start()
            self._loop, self._thread = loop, thread
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        link = self._link = self._make_link()
        try:
            await self._ended.wait()
        finally:
            await link.close()
