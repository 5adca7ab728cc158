"""A child process that is a thread: the child's code under the eyes of the test, without its confinement."""

from __future__ import annotations

import asyncio
import importlib
import socket
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

import tasuki.handlers.isolated.site as python_site
import tasuki.handlers.lua.remote.child_main as lua_site
from tasuki.handlers.process import server, worker
from tasuki.handlers.process.confine import ProcessorTime
from tasuki.handlers.threads import end_all


class ThreadProcess:
    """See :class:`tasuki.handlers.process.process.ChildProcess`."""

    pid = 0

    def __init__(self, site: str, *, is_closed: bool) -> None:
        self.end, theirs = socket.socketpair()
        module, _, name = site.partition(":")
        self._site: Any = getattr(importlib.import_module(module), name)()
        self._loop = asyncio.new_event_loop()
        self._threads = [threading.Thread(target=self._serve, args=(theirs,))]
        if isinstance(self._site, server.MainThreadSite):
            self._threads.append(threading.Thread(target=self._site.run))
        for thread in self._threads:
            thread.start()

    def _serve(self, end: socket.socket) -> None:
        self._loop.call_soon(lambda: server.Server(end, self._site))
        self._loop.run_forever()
        self._loop.run_until_complete(end_all())
        self._loop.close()
        end.close()

    def processor_time(self) -> float:
        return 0.0

    def kill(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)

    def when_ended(self, then: Callable[[str], None]) -> None:
        asyncio.get_running_loop().call_soon(then, "ended as told")

    async def ended(self) -> None:
        self.kill()
        await asyncio.to_thread(self._threads[0].join)
        if isinstance(self._site, server.MainThreadSite):
            site = cast("Any", self._site)
            site._loop.call_soon_threadsafe(site._loop.stop)
            await asyncio.to_thread(self._threads[1].join)
            await site._handler.stop()
            site._loop.close()


@pytest.fixture
def in_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are threads."""

    def nothing(*_: Any, **__: Any) -> None:
        return

    monkeypatch.setattr(worker, "ChildProcess", ThreadProcess)
    monkeypatch.setattr(server, "_leave", lambda _="": asyncio.get_running_loop().stop())
    monkeypatch.setattr(lua_site, "confine", nothing)
    monkeypatch.setattr(ProcessorTime, "move", nothing)
    monkeypatch.setattr(python_site, "confine_memory", nothing)
    monkeypatch.setattr(python_site, "_forward_all", nothing)
