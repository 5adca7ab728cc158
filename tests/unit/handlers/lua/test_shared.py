"""Scripts that share the worker's process: on its loop while they are quick, in a thread from when they are not."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from tasuki.errors import LuaLimitError
from tasuki.handlers.lua import LuaSource, ScriptLimits
from tasuki.handlers.lua.remote.shared import SharedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tests.unit.handlers.lua.support import ALL, delivery

pytestmark = pytest.mark.anyio

Make = Callable[..., SharedLuaHandler]
SECOND = "for i = 1, 1.5e8 do end"
"""Half a second to a second of computing."""
LONG = "for i = 1, 2e7 do end"
"""A few times what a step may take."""


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        def made(code: str, top: str = "", seconds: float = 60.0) -> SharedLuaHandler:
            source = LuaSource(f"{top}\nreturn function(body) {code}\nend", "script.lua")
            handler = SharedLuaHandler(LuaScript("app:script", source, None, ALL, {}, ScriptLimits(time=seconds)))
            stack.push_async_callback(handler.stop)
            return handler

        yield made


def threads() -> int:
    return sum(thread.name.startswith("tasuki-app:script") for thread in threading.enumerate())


class Neighbour:
    """Knows the longest that its loop's thread computed for others between two of its turns, in seconds."""

    def __init__(self) -> None:
        self.late = 0.0
        self._last = time.thread_time()

    async def live(self) -> None:
        while True:
            now = time.thread_time()
            self.late, self._last = max(self.late, now - self._last), now
            await asyncio.sleep(0.001)


async def test_a_script_that_computes_a_second_keeps_nobody_waiting(make: Make) -> None:
    handler = make(f"{SECOND} return 'done'")
    await handler.start()
    neighbour = Neighbour()
    life = asyncio.create_task(neighbour.live())
    for _ in range(2):
        assert await handler.call([{}], delivery()) == "done"
    life.cancel()
    assert neighbour.late < 0.05


async def test_a_quick_script_needs_no_thread(make: Make) -> None:
    handler = make("for i = 1, 1000 do end return body.n")
    for number in range(200):
        assert await handler.call([{"n": number}], delivery()) == number
    assert threads() == 0


async def test_the_message_that_has_asked_for_nothing_begins_again_in_the_thread(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    handler = make(f"n = n + 1 if body.long then {LONG} end return n", top="local n = 0")
    with caplog.at_level(logging.INFO, "tasuki.handlers.lua"):
        assert [await handler.call([{}], delivery()) for _ in range(3)] == [1, 2, 3]
        assert await handler.call([{"long": True}], delivery()) == 1, "another runtime: what the script kept is gone"
        assert await handler.call([{}], delivery()) == 2
    (record,) = caplog.records
    assert (
        "app:script: a step of the script computed for more than 20ms; from now on it runs in a thread"
        in record.message
    )
    assert threads() == 1
    assert await handler.handle({}, delivery()) == 3


async def test_a_message_that_has_published_goes_on_where_it_is(make: Make) -> None:
    handler = make(f"queue.publish('app:q', body.n) {LONG} return true", top="local queue = require('queue')")
    first, second = delivery(), delivery()
    assert await handler.handle({"n": 1}, first) is True
    assert [sent.body for sent in first.published] == [1], "once"
    assert await handler.handle({"n": 2}, second) is True
    assert [sent.body for sent in second.published] == [2]
    assert threads() == 1


async def test_what_waits_meanwhile_goes_on_in_its_own_runtime(make: Make) -> None:
    handler = make(
        f"if body.long then {LONG} else calls = calls + 1 time.sleep('300ms') end return calls",
        top="local calls = 0 local time = require('time')",
    )
    waiting = asyncio.create_task(handler.call([{}], delivery()))
    await asyncio.sleep(0)
    assert await handler.call([{"long": True}], delivery()) == 0
    assert await waiting == 1


async def test_a_batch_moves_as_a_whole(make: Make) -> None:
    handler = make(f"{LONG} local n = 0 for _, each in ipairs(body) do n = n + each end return n")
    assert await handler.handle_batch([1, 2, 3], delivery()) == 6
    assert threads() == 1


async def test_the_limit_of_time_is_the_same_in_the_thread(make: Make) -> None:
    handler = make("while true do end", seconds=0.2)
    for _ in range(2):
        with pytest.raises(LuaLimitError, match=r"script\.lua:2: the script ran longer than its 200ms"):
            await handler.handle({}, delivery())
    await handler.stop()
    await handler.start()
    with pytest.raises(LuaLimitError):
        await handler.handle({}, delivery())
