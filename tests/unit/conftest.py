"""Virtual time where a module, or the package around it, says ``VIRTUAL_TIME = True``.

No unit test in virtual time waits for a thread: that loop would not, and the test would fail now and then.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tasuki.handlers.threads import Threads
from tasuki.testing.clock import VirtualTimeLoop

_run, _wrap_future = Threads.run, asyncio.wrap_future


def _check(loop: asyncio.AbstractEventLoop) -> None:
    if isinstance(loop, VirtualTimeLoop):
        raise AssertionError("virtual time does not wait for threads: make the handler an async def")


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    package = sys.modules[request.module.__package__]
    is_virtual = getattr(request.module, "VIRTUAL_TIME", getattr(package, "VIRTUAL_TIME", False))
    return "asyncio", {"loop_factory": VirtualTimeLoop} if is_virtual else {}


@pytest.fixture(autouse=True)
def threads_need_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Threads, *args: Any, **named: Any) -> Any:
        _check(asyncio.get_running_loop())
        return await _run(self, *args, **named)

    def wrap(future: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> Any:
        _check(loop or asyncio.get_running_loop())
        return _wrap_future(future, loop=loop)

    monkeypatch.setattr(Threads, "run", run)
    monkeypatch.setattr(asyncio, "wrap_future", wrap)
