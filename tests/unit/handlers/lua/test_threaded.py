"""Scripts in several threads: the results and limits of one, with the loop of the worker free."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tasuki.errors import HandlerError, HandlerNotFoundError, LuaError, LuaLimitError, LuaSyntaxError
from tasuki.handlers.lua import LuaLimits, LuaSource
from tasuki.handlers.lua.remote.shared import ThreadedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import ALL, delivery

pytestmark = pytest.mark.anyio

Make = Callable[..., ThreadedLuaHandler]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        def made(code: str, *, threads: int = 2, top: str = "", **limits: Any) -> ThreadedLuaHandler:
            source = LuaSource(f"{top}\nreturn function(...) local body = ... {code}\nend", "script.lua")
            script = LuaScript("app:script", source, None, ALL, {}, LuaLimits(**limits))
            handler = ThreadedLuaHandler(script, threads=threads)
            stack.push_async_callback(handler.stop)
            return handler

        yield made


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tasuki-app:script")]


async def test_results_and_arguments_cross(make: Make) -> None:
    handler = make("return {select('#', ...), ...}")
    assert await handler.call([1, "two", {"three": [3.5, None, True]}], delivery()) == [
        3,
        1,
        "two",
        {"three": [3.5, None, True]},
    ]
    assert await make("return false").handle({}, delivery()) is False


async def test_errors_are_those_of_the_shared_handler(make: Make) -> None:
    with pytest.raises(LuaError, match=r"script\.lua:2: boom"):
        await make("error('boom')").handle({}, delivery())
    with pytest.raises(HandlerError, match="no such user"):
        await make("return nil, 'no such user'").handle({}, delivery())
    with pytest.raises(LuaSyntaxError):
        await make("end end").start()
    with pytest.raises(HandlerNotFoundError):
        await make("", top="do return 5 end").start()
    with pytest.raises(LuaLimitError, match=r"script\.lua:2: the script ran longer than its 200ms"):
        await make("while true do end", time=0.2).handle({}, delivery())


class Context(RecordingContext):
    """Notes in which thread it is used."""

    def __init__(self) -> None:
        super().__init__(delivery().message)
        self.threads: set[int] = set()

    async def publish(self, *args: Any, **options: Any) -> str:
        self.threads.add(threading.get_ident())
        return await super().publish(*args, **options)

    def ack(self) -> None:
        self.threads.add(threading.get_ident())
        super().ack()


async def test_what_a_script_asks_for_is_done_in_the_worker_s_thread(make: Make) -> None:
    handler, context = (
        make("assert(queue.publish('app:q', {n = 1})) logger:info('seen', {a = 1}) queue.message():ack()"),
        Context(),
    )
    await handler.handle({}, context)
    assert [sent.body for sent in context.published] == [{"n": 1}]
    assert context.logged[0].message == "seen"
    assert context.settled == [("ack",)]
    assert context.threads == {threading.get_ident()}


async def test_scripts_that_compute_leave_the_loop_free_and_run_side_by_side(make: Make) -> None:
    handler = make("queue.publish('app:begun', 1) while true do end", time=2.0)
    contexts = [Context(), Context()]
    tasks = [asyncio.create_task(handler.handle(1, context)) for context in contexts]
    while not all(context.published for context in contexts):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks), "both have begun, and neither has ended"
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [LuaLimitError, LuaLimitError]


async def test_many_messages_wait_in_one_thread(make: Make) -> None:
    handler = make("time.sleep('200ms') return body", threads=1)
    bodies = list(range(1000))
    calls = asyncio.gather(*(handler.call([body], delivery()) for body in bodies))
    assert await asyncio.wait_for(calls, 60.0) == bodies, "one after the other they would take 200 seconds"


async def test_a_cancelled_message_is_over_when_its_cancel_returns(make: Make) -> None:
    handler, context = make("queue.publish('app:q', 1) time.sleep('1h') queue.publish('app:q', 2)"), Context()
    task = asyncio.create_task(handler.handle({}, context))
    while not context.published:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await make("return 1").call([], delivery()) == 1
    assert len(context.published) == 1


async def test_what_the_top_level_logs_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "tasuki.handlers.lua"):
        await make("return 1", top="print('loaded')").start()
    logged = [record.getMessage() for record in caplog.records if record.name == "tasuki.handlers.lua"]
    assert logged == ["loaded", "loaded"], "once a thread"


async def test_a_stopped_handler_leaves_no_thread_and_starts_again(make: Make) -> None:
    handler = make("time.sleep(body) return 1")
    others = set(threads())  # of the tests before, on their way out
    assert await handler.call([0], delivery()) == 1
    own = set(threads()) - others
    assert len(own) == 2
    task = asyncio.create_task(handler.call(["1h"], delivery()))
    await asyncio.sleep(0)
    await handler.stop()
    with pytest.raises((asyncio.CancelledError, HandlerError)):
        await task
    while own & set(threads()):
        await asyncio.sleep(0.01)
    assert await handler.call([0], delivery()) == 1


async def test_a_thread_that_fails_is_known_and_begins_again(make: Make) -> None:
    handler = make("if body == 'wait' then time.sleep('1h') end return body", threads=1)
    await handler.start()
    thread = handler._threads[0]
    async with asyncio.timeout(30):
        waiting = asyncio.create_task(handler.call(["wait"], delivery()))
        while not thread._thread._jobs:
            await asyncio.sleep(0.001)
        thread._thread.tell(_exit)
        with pytest.raises(HandlerError, match="begins again: SystemExit: no more") as failed:
            await waiting
        assert failed.value.retryable
        while True:
            try:
                assert await handler.call(["hello"], delivery()) == "hello"
            except HandlerError:
                await asyncio.sleep(0.01)
            else:
                break
    assert len(threads()) == 1


def _exit() -> None:
    raise SystemExit("no more")
