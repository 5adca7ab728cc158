"""Where a plain function is that runs in a thread: in real time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tasuki.consumers.handling.stack import stack_of, users_of
from tasuki.handlers.threads import Threads

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = False


async def test_one_that_waits_for_a_thread_stands_where_the_thread_does() -> None:
    pool, over, begun = Threads("test", 1), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle() -> None:
        lock()

    def lock() -> None:
        loop.call_soon_threadsafe(begun.set)
        over.wait()

    task = asyncio.create_task(pool.handle(handle))
    await begun.wait()
    try:
        shown = users_of(stack_of(task, None))
        assert [frame.name for frame in shown][:2] == ["handle", "lock"]
        assert shown[0].line == "lock()"
    finally:
        over.set()
        await task
        pool.close()
    assert stack_of(task, None) == []
