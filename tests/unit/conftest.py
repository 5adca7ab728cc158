"""No unit test in virtual time waits for a thread: that loop would not, and the test would fail now and then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.testing.clock import VirtualTimeLoop

_wrap_future = asyncio.wrap_future


@pytest.fixture(autouse=True)
def threads_need_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrap(future: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> Any:
        if isinstance(loop or asyncio.get_running_loop(), VirtualTimeLoop):
            raise AssertionError("virtual time does not wait for threads: make the handler an async def")
        return _wrap_future(future, loop=loop)

    monkeypatch.setattr(asyncio, "wrap_future", wrap)
