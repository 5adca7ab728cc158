"""Virtual time where a module, or the package around it, says ``VIRTUAL_TIME = True``.

That loop waits for no thread: a plain handler runs at once, in its thread. A test of threads is in real time:
``pytest.mark.parametrize("anyio_backend", ["asyncio"])``.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from tasuki.handlers.threads import Threads, _Call
from tasuki.testing.clock import VirtualTimeLoop

_call, _wrap_future = Threads._call, asyncio.wrap_future


async def _call_in_place(function: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, None]:
    return contextvars.copy_context().run(_Call(function, args, named).run), None


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    package = sys.modules[request.module.__package__]
    is_virtual = getattr(request.module, "VIRTUAL_TIME", getattr(package, "VIRTUAL_TIME", False))
    return "asyncio", {"loop_factory": VirtualTimeLoop} if is_virtual else {}


@pytest.fixture(autouse=True)
def threads_need_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: Threads, *args: Any) -> Coroutine[Any, Any, Any]:
        is_virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        return _call_in_place(*args) if is_virtual else _call(self, *args)

    def wrap(future: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> Any:
        if isinstance(loop or asyncio.get_running_loop(), VirtualTimeLoop):
            raise AssertionError("virtual time does not wait for threads")
        return _wrap_future(future, loop=loop)

    monkeypatch.setattr(Threads, "_call", call)
    monkeypatch.setattr(asyncio, "wrap_future", wrap)
