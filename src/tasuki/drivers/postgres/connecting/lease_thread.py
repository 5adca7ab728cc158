"""Sideline: a thread with a loop and one connection of its own, for calls from other loops than the driver's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tasuki.drivers.postgres.connecting.pool import Pool
from tasuki.errors import BrokerUnavailableError
from tasuki.system.event_loop import new_event_loop


class Sideline:
    """Started by the first call; ``close`` ends it. Safe in any thread."""

    def __init__(self, make_pool: Callable[[], Pool]) -> None:
        self._make_pool = make_pool
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pool: Pool | None = None

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of one statement; see :meth:`Pool.fetch`."""
        work = self._fetch(sql, *arguments)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._running_loop())
        except (OSError, RuntimeError) as error:  # files or threads are short
            work.close()
            raise BrokerUnavailableError(f"cannot start the thread that renews leases: {error}") from error
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Close the connection and end the thread; a later call starts anew."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._close_pool(), loop))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                loop = new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="tasuki postgres", daemon=True)
                thread.start()
                self._loop, self._thread, self._pool = loop, thread, None
            return self._loop

    async def _fetch(self, sql: str, *arguments: Any) -> list[Any]:
        if self._pool is None:
            self._pool = self._make_pool()
        return await self._pool.fetch(sql, *arguments)

    async def _close_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
