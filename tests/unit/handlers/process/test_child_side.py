"""The child's side of isolated handlers: what it does by itself, what it asks for, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.handler import Reject, Retry, Snooze
from tasuki.errors import HandlerError, LuaError, LuaLimitError, LuaSyntaxError, ResultError
from tasuki.handlers.isolated import IsolatedPythonHandler, PythonTarget
from tasuki.handlers.lua import LuaSource, ScriptLimits
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler
from tasuki.handlers.lua.script import LuaScript
from tasuki.kinds.stores import memory_store
from tasuki.message import Message
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import ALL, delivery
from tests.unit.handlers.process.functions import OPENING

PLAIN = "store plain data: bool, int, float, str, bytes, and lists and dicts of these"

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("in_thread")]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def lua(stack: AsyncExitStack) -> Callable[..., IsolatedLuaHandler]:
    def made(code: str, *, top: str = "", **limits: Any) -> IsolatedLuaHandler:
        source = LuaSource(f"{top} return function(...) local body = ... {code}\nend", "script.lua")
        script = LuaScript("app:script", source, modules=ALL, limits=ScriptLimits(**limits))
        handler = IsolatedLuaHandler(script, processes=1)
        stack.push_async_callback(handler.stop)
        return handler

    return made


@pytest.fixture
def python(stack: AsyncExitStack) -> Callable[..., IsolatedPythonHandler]:
    def made(name: str, **options: Any) -> IsolatedPythonHandler:
        target = PythonTarget("app:f", source=str(Path(__file__).with_name("functions.py")), method=name, **options)
        handler = IsolatedPythonHandler(target, time=None, processes=1)
        stack.push_async_callback(handler.stop)
        return handler

    return made


class Context(RecordingContext):
    """Tells when something was published."""

    def __init__(self) -> None:
        super().__init__(delivery().message)
        self.entered = asyncio.Event()

    async def publish(self, *args: Any, **options: Any) -> str:
        id = await super().publish(*args, **options)
        self.entered.set()
        return id


async def test_lua_computes_there_and_acts_here(lua: Any) -> None:
    context = delivery()
    context.resources["app:store"] = memory_store("app:store")
    code = """
    local value = json.decode(json.encode({n = #hash.sha256('x')}))
    local s = assert(store.get('app:store'))
    assert(s:set('key', value))
    time.sleep('1ms')
    logger:info('seen', {n = value.n})
    return {s:get('key').n, select(2, queue.publish('', 1)) ~= nil}
    """
    assert await lua(code).call([], context) == [64, True]
    assert context.logged[0].message == "seen"
    assert await lua("return false").handle({}, context) is False


async def test_lua_coroutines_ask_side_by_side(lua: Any) -> None:
    code = """
    local done = channel.new(2)
    for i = 1, 2 do coroutine.spawn(function() queue.publish('app:q', i) time.sleep('1ms') done:send(i) end) end
    return (done:receive()) + (done:receive())
    """
    context = delivery()
    assert await lua(code).call([], context) == 3
    assert sorted(sent.body for sent in context.published) == [1, 2]


async def test_lua_errors(lua: Any) -> None:
    with pytest.raises(LuaError, match=r"script\.lua:1: boom"):
        await lua("error('boom')").handle({}, delivery())
    with pytest.raises(LuaSyntaxError):
        await lua("end end").start()
    with pytest.raises(LuaLimitError, match="200ms"):
        await lua("while true do end", time=0.2).handle({}, delivery())
    with pytest.raises(HandlerError, match="not now") as caught:
        await lua("return nil, errors.new({message = 'not now', kind = errors.UNAVAILABLE})").handle({}, delivery())
    assert caught.value.kind == "Unavailable"


async def test_what_a_top_level_logs_is_logged_here(lua: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "tasuki.handlers.lua"):
        await lua("return 1", top="print('loaded')").start()
    assert [record.getMessage() for record in caplog.records] == ["loaded"]


async def test_a_cancel_ends_a_call_there(lua: Any) -> None:
    handler, context = lua("queue.publish('app:q', 1) if body then time.sleep('1h') end return 1"), Context()
    task = asyncio.create_task(handler.handle(1, context))
    await context.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await handler.call([], delivery()) == 1


async def test_a_cancel_takes_back_what_was_asked(lua: Any) -> None:
    class Slow(Context):
        cancelled = False

        async def publish(self, *args: Any, **options: Any) -> str:
            self.entered.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            return ""

    handler, context = lua("if body then queue.publish('app:q', 1) end return 1"), Slow()
    task = asyncio.create_task(handler.handle(1, context))
    await context.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert context.cancelled
    assert await handler.call([], delivery()) == 1


async def test_python_asks_for_everything_of_its_context(python: Any) -> None:
    context = delivery()
    context.resources["app:store"] = memory_store("app:store")
    context.resources["app:slow"] = Slow()
    context.known_queues["app:q"] = {"ready": 1}
    context.functions["app:double"] = lambda number: number * 2
    context.variables.update(NAME="value")
    context.known_values["tenant"] = "a"
    told = await python("everything").call([{"n": 1}], context)
    assert told == {
        "of": ["app:handler", "m-1", 1, "app:queue", "app:consumer", "a"],
        "flags": [False, False],
        "called": [42, 6],
        "info": 1,
        "env": ["value", {"NAME": "new"}],
        "store": [{"n": 1}, "slow"],
        "taken": [2, 0.0],
        "refused": [
            ["NotFound", "key not found"],
            ["Invalid", f"key 'tuple': a value of type tuple cannot be stored; {PLAIN}"],
        ],
        "private": "AttributeError",
        "unknown": "HandlerNotFoundError",
        "permissions": None,
    }
    assert context.settled == [("ack",)]
    assert [(sent.queue, sent.options) for sent in context.published] == [("app:q", {"delay": 1})]
    assert (context.logged[0].level, context.logged[0].message, context.logged[0].fields) == ("info", "it", {"a": 1})
    assert "ZeroDivisionError" in context.logged[1].message


async def test_a_plain_function_uses_a_store(python: Any) -> None:
    context = delivery()
    context.resources["app:store"] = memory_store("app:store")
    assert await python("counts").call([2], context) == [2, "1", [1, 0.0], "context.store is for async functions"]
    assert await context.store("app:store").get("n") == 2


class Slow:
    """A resource with a method to be awaited."""

    async def get(self) -> str:
        await asyncio.sleep(0)
        return "slow"


async def test_python_permissions(python: Any) -> None:
    class Permissions:
        def can(self, action: str, resource: str, meta: Any = None) -> bool:
            return (action, resource, meta) == ("read", "it", {"a": 1})

        def actor(self) -> Any:
            return {"id": "me", "meta": {}}

    context = RecordingContext(delivery().message)
    context._reach.permissions = Permissions()  # type: ignore[assignment,misc]
    assert await python("rights").call([], context) == [True, False, "me"]


async def test_python_failures(python: Any) -> None:
    handler = python("fails")
    for how, told in (("exit", "SystemExit"), ("raise", "ZeroDivisionError: division by zero"), ("object", "object")):
        with pytest.raises(HandlerError, match=told):
            await handler.call([how], delivery())
    assert await handler.handle("false", delivery()) is False
    assert await handler.handle("object", delivery()) is None
    with pytest.raises(HandlerError, match="has no 'nothing'"):
        await python("nothing").start()


@pytest.mark.parametrize("details", [{"n": 2**70}, {"\udcff": 1}, {"name": "\udcff"}, {"n": object()}])
async def test_an_error_that_cannot_cross_is_told_all_the_same(lua: Any, python: Any, details: Any) -> None:
    class Failing(RecordingContext):
        async def call(self, function: str, *args: Any, **options: Any) -> Any:
            raise HandlerError("bad file \udcff", kind="NotFound", details=details)

    async with asyncio.timeout(60):
        told = await python("caught").call([], Failing(delivery().message))
        assert told == ["HandlerError", "NotFound", "bad file ?"]
        code = "local _, err = funcs.new():call('app:f'); return {err:kind(), err:message()}"
        assert await lua(code).call([], Failing(delivery().message)) == ["NotFound", "bad file ?"]


async def test_a_reject_with_a_text_that_cannot_cross_is_a_reject(python: Any) -> None:
    with pytest.raises(Reject, match=r"^bad file \?: OSError: no room$"):
        await python("fails").call(["reject"], delivery())


async def test_a_snooze_keeps_its_delay(python: Any) -> None:
    with pytest.raises(Snooze, match="not open yet") as caught:
        await python("fails").call(["snooze"], delivery())
    assert caught.value.after == "5m"


async def test_a_time_crosses_as_the_same_moment(python: Any) -> None:
    with pytest.raises(Snooze, match="not open yet") as snoozed:
        await python("fails").call(["snooze at"], delivery())
    with pytest.raises(Retry, match="closed") as retried:
        await python("fails").call(["retry at"], delivery())
    assert snoozed.value.due == retried.value.due == OPENING
    context = RecordingContext(Message("m", b"", {}))
    await python("settles_at").call(["nack"], context)
    assert context.settled == [("nack", OPENING)]
    context = RecordingContext(Message("m", b"", {}))
    await python("settles_at").call(["snooze"], context)
    assert context.settled == [("snooze", OPENING)]


@pytest.mark.parametrize(
    ("how", "why"),
    [("object", "a value of type object"), ("large", "is too large"), ("many", "more than 300000 parts")],
)
async def test_a_result_that_cannot_be_passed_on(python: Any, how: str, why: str) -> None:
    handler, request = python("fails"), RecordingContext(Message("m", b"", {"reply_to": "app:replies"}))
    with pytest.raises(ResultError, match=why) as caught:
        await handler.handle(how, request)
    assert (caught.value.kind, caught.value.retryable) == ("Internal", False)
    with pytest.raises(HandlerError, match=why) as of_call:
        await handler.call([how], request)
    assert (type(of_call.value), of_call.value.kind) == (HandlerError, "Invalid")
    assert await handler.handle("false", request) is False, "its process goes on"
