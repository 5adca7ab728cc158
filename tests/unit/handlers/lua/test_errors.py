"""Errors between Lua and Python."""

from __future__ import annotations

import asyncio
import time

import pytest

from tasuki.errors import CodecError, HandlerError, LuaError, PolicyDeniedError
from tasuki.handlers.lua.host.errors import describe, limited, raised, returned, script_trace
from tasuki.handlers.lua.script import ScriptLimits
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import delivery, handler, run

pytestmark = pytest.mark.anyio


def test_what_a_host_function_failed_with() -> None:
    assert describe(HandlerError("m", kind="K", details={"a": 1})) == {"message": "m", "kind": "K", "details": {"a": 1}}
    assert describe(PolicyDeniedError("no")) == {
        "message": "no",
        "kind": "Invalid",
        "retryable": False,
        "details": {"reason": "permission_denied"},
    }
    assert describe(CodecError("bad"))["message"] == "bad"
    assert describe(OSError("disk"))["message"] == "OSError: disk"


def test_details_that_are_no_mapping_are_left_out() -> None:
    assert returned((3, "m", "K", None, "A", 1, 5)).details is None
    assert raised((4, "m", "trace", "K", None, "O", 1, "a", 2)).details == {"a": 2}


def test_the_frames_of_the_host_are_left_out() -> None:
    trace = "stack traceback:\n\t[C]: in function 'error'\n\ts.lua:1: in f\n\thost:5: in g\n\t[C]: in ?"
    assert script_trace("m", trace) == "m\n  [C]: in function 'error'\n  s.lua:1: in f"


def test_a_limit_is_told_with_its_place() -> None:
    error = limited((5, "memory", "s.lua:1: ", ""), ScriptLimits(memory=2**20))
    assert str(error) == "s.lua:1: the script needs more than its 1MiB of memory"
    with pytest.raises(type(error)):
        raise error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("json", '; json is a module: write local json = require("json"), and list it in modules of the entry'),
        ("io", "; the sandbox has no io"),
        ("mine", ""),
    ],
)
def test_a_global_that_is_not_there_has_a_remedy(name: str, hint: str) -> None:
    text = f"s.lua:1: attempt to index a nil value (global '{name}')"
    error = raised((4, text, "trace", None, None, None))
    assert (str(error), error.traceback) == (text + hint, text + hint)
    wrapped = raised((4, text + " at last", "trace", None, None, None))
    assert str(wrapped) == text + " at last"


async def test_waiting_suspends_one_message_only() -> None:
    made = handler("return function(n) time.sleep(100 * time.MILLISECOND) return n end")
    await made.start()
    started = time.monotonic()
    results = await asyncio.gather(*[made.handle(n, delivery()) for n in range(1000)])
    assert results == list(range(1000))
    assert time.monotonic() - started < 50  # one after the other they would take a hundred


async def test_a_script_that_does_not_wait_never_suspends() -> None:
    made = handler("return function(body) logger.info('x') return json.decode(json.encode(body)).a end")
    await made.start()
    coroutine = made.handle({"a": 5}, delivery())
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == 5


WAITS = "local queue = require('queue') local function wait(n) assert(queue.publish('app:q', n)) return n end\n"


@pytest.mark.parametrize(
    "code",
    [
        "return wait(7)",
        "local ok, v = pcall(wait, 7) return v",
        "local ok, v = xpcall(function() return wait(7) end, print) return v",
        "local ok, v = xpcall(error, function() return wait(7) end) return v",
        "return coroutine.wrap(function() return wait(7) end)()",
        "local co = coroutine.create(function(a) local b = coroutine.yield(a) return wait(a + b) end)"
        " coroutine.resume(co, 3) local ok, v = coroutine.resume(co, 4) return v",
        "local co = coroutine.wrap(function() coroutine.yield(wait(7)) end) for v in co do return v end",
        "local f = coroutine.wrap(function() return coroutine.wrap(function() return wait(7) end)() end) return f()",
        "return setmetatable({}, {__index = function() return wait(7) end}).x",
        "return setmetatable({}, {__add = function() return wait(7) end}) + 1",
        "return setmetatable({}, {__call = function() return wait(7) end})()",
        "return tostring(setmetatable({}, {__tostring = function() return tostring(wait(7)) end})) + 0",
        "do local x <close> = setmetatable({}, {__close = function() wait(7) end}) end return 7",
        "for _, v in (function() return function() return true, wait(7) end end)() do return v end",
    ],
)
async def test_a_call_that_waits_works_anywhere_in_lua(code: str) -> None:
    context = delivery()
    made = handler(f"{WAITS}return function() {code} end")
    assert await made.handle(None, context) == 7
    assert [p.body for p in context.published] == [7]


@pytest.mark.parametrize(
    "code",
    [
        "table.sort({3, 2, 1}, function(a, b) wait(1) return a < b end)",
        "('abc'):gsub('.', function() wait(1) end)",
        "string.format('%s', setmetatable({}, {__tostring = function() wait(1) return '' end}))",
        "table.sort({3, 2, 1}, function(a, b) coroutine.wrap(wait)(1) return a < b end)",
    ],
)
async def test_inside_c_functions_it_says_so(code: str) -> None:
    with pytest.raises(LuaError, match=r"queue\.publish cannot be used inside table\.sort"):
        await handler(f"{WAITS}return function() {code} end").handle(None, delivery())


async def test_a_cancelled_handler_runs_nothing_more_and_cannot_catch_it() -> None:
    text = """
    return function()
        pcall(function() pcall(time.sleep, '1h') logger.info('caught') end)
        logger.info('went on')
    end
    """
    made, context = handler(text), delivery()
    await made.start()
    task = asyncio.create_task(made.handle(None, context))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert context.logged == []
    assert await handler("return function() return 1 end").handle(None, context) == 1


async def test_a_plain_yield_at_the_top_lets_others_run() -> None:
    assert await run("local a = coroutine.yield(1, 2) return a == nil") is True


async def test_at_load_only_what_needs_no_message_works() -> None:
    text = """
    logger.info("loading")
    local id = uuid.v4()
    local results = {}
    for name, call in pairs({
        sleep = function() return time.sleep(1) end,
        publish = function() return queue.publish("a:b", 1) end,
        message = function() return queue.message() end,
        info = function() return queue.info("a:b") end,
        env = function() return env.get("X") end,
        store = function() return store.get("a:s") end,
        call = function() return funcs.call("a:f") end,
        stopping = function() return queue.stopping() end,
    }) do
        local _, err = call()
        results[name] = err and err:message() or "none"
    end
    return function() return results end
    """
    results = await handler(text).call([], delivery())
    assert results.pop("stopping") == "none"
    assert results.pop("message") == "no delivery found in context"
    assert len(results) == 6
    assert all("cannot be used while the script loads; call it" in text for text in results.values())


async def test_outside_a_delivery_there_is_no_message() -> None:
    code = "local m, err = queue.message() return {m == nil, err:kind(), err:message()}"
    expected = [True, "Invalid", "no delivery found in context"]
    assert await run(code, context=RecordingContext()) == expected
