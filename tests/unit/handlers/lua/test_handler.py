"""LuaHandler: results, errors, libraries, starts and stops."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.handler import Handler
from tasuki.errors import HandlerError, HandlerNotFoundError, LuaError, LuaLimitError, LuaSyntaxError
from tasuki.handlers.lua import LuaLibrary, LuaSource
from tasuki.handlers.lua.handler import LoadingContext
from tests.unit.handlers.lua.support import delivery, handler, run

pytestmark = pytest.mark.anyio

SEED = """
local json = require("json")
local logger = require("logger")

local function handler(body)
    local data = json.decode(body)

    logger.info("Processing", {task_id = data.id})

    local result, err = process_task(data)
    if err then
        return nil, err  -- Nack
    end

    return result  -- Ack
end

return handler
"""


PROCESS = "function process_task(data) if data.bad then return nil, data.bad end return {done = data.id} end"


async def test_the_handler_of_the_seed_runs_as_it_is_written() -> None:
    made, context = handler(PROCESS + SEED, modules=["json", "logger"]), delivery()
    await made.start()
    assert isinstance(made, Handler)
    assert await made.handle({"id": "task-123", "action": "process"}, context) is None
    assert await made.handle('{"id": "task-124"}', context) is None
    assert [(r.level, r.message, r.fields["task_id"]) for r in context.logged] == [
        ("info", "Processing", "task-123"),
        ("info", "Processing", "task-124"),
    ]
    with pytest.raises(HandlerError, match="no room") as raised:
        await made.handle({"id": "x", "bad": "no room"}, context)
    assert (raised.value.kind, raised.value.retryable) == ("Internal", False)
    assert not isinstance(raised.value, LuaError)
    assert await made.call([{"id": "x"}], context) == {"done": "x"}


async def test_todays_style_with_main_and_a_message() -> None:
    text = """
    local queue = require("queue")
    local function main(body)
        local msg = queue.message()
        local first = {msg:ack()}
        local again, err = msg:ack()
        kept.message = msg
        return {id = msg:id(), first = first[1], again = again == nil, kind = err:kind(), text = err:message()}
    end
    local function later()
        local v, err = kept.message:ack()
        return {kind = err:kind(), text = tostring(err), shown = tostring(kept.message)}
    end
    kept = {}
    return {main = main, later = later}
    """
    context = delivery()
    made = handler(text)
    assert await made.call([{}], context) == {
        "id": "m-1",
        "first": True,
        "again": True,
        "kind": "Invalid",
        "text": "queue.Message already settled",
    }
    assert context.settled == [("ack",)]
    text = text.replace("{main = main, later = later}", "function(x) return (x == 1 and main or later)(x) end")
    made = handler(text)
    await made.call([1], delivery())
    expected = {"kind": "Invalid", "text": "queue.Message released", "shown": "queue.Message{released}"}
    assert await made.call([2], delivery()) == expected


@pytest.mark.parametrize(
    ("text", "method", "expected"),
    [
        ("return function() return 'fn' end", None, "fn"),
        ("return function() return 'fn' end", "whatever", "fn"),
        ("return {only = function() return 'only' end, data = 1}", None, "only"),
        ("return {main = function() return 'main' end, other = print}", None, "main"),
        ("return {handler = function() return 'handler' end, other = print}", None, "handler"),
        ("return {handle = function() return 'handle' end, other = print}", None, "handle"),
        ("return {a = function() return 'a' end, b = function() return 'b' end}", "b", "b"),
        ("return table.freeze({main = function() return 'frozen' end})", None, "frozen"),
    ],
)
async def test_the_handler_is_found_in_what_the_chunk_returns(text: str, method: str | None, expected: str) -> None:
    assert await handler(text, method=method).call([], delivery()) == expected


@pytest.mark.parametrize(
    ("text", "method", "problem"),
    [
        ("local x = 1", None, "script.lua returns nil; return a function"),
        ("return 5", None, "script.lua returns number"),
        ("return {}", None, "no function main, handler or handle"),
        ("return {a = print, b = print}", None, "no function main, handler or handle"),
        ("return {a = print}", "b", 'method "b" not found in module: it has a'),
        ("return {}", "b", "it has no function"),
    ],
)
async def test_a_chunk_without_a_handler_is_refused(text: str, method: str | None, problem: str) -> None:
    with pytest.raises(HandlerNotFoundError, match=problem):
        await handler(text, method=method).start()


async def test_a_syntax_error_names_file_and_line() -> None:
    with pytest.raises(LuaSyntaxError, match=r"^script\.lua:2: .*near") as raised:
        await handler("local a = 1\nlocal = 2").start()
    assert raised.value.kind == "Invalid"


async def test_a_failing_top_level_names_file_and_line() -> None:
    with pytest.raises(LuaError, match=r"^script\.lua:2: boom"):
        await handler("\nerror('boom')").start()
    with pytest.raises(LuaLimitError, match="longer than its 50ms"):
        await handler("while true do end", time=0.05).start()


async def test_start_and_stop_are_idempotent_and_handle_starts_by_itself() -> None:
    made = handler("return function() return 1 end")
    await made.start()
    await made.start()
    assert await made.handle(None, delivery()) == 1
    await made.stop()
    await made.stop()
    assert await made.handle(None, delivery()) == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", None),
        ("return", None),
        ("return nil", None),
        ("return true", True),
        ("return false", False),
        ("return false, 5", False),
        ("return true, {}", True),
        ("return 1, false", 1),
        ("return 'error'", "error"),
        ("return 7, 8", 7),
        ("return 2.5", 2.5),
        ("return {1, 2}", None),
        ("return '\\255'", None),
        ("return print", None),
    ],
)
async def test_results_of_handle(code: str, expected: Any) -> None:
    assert await handler(f"return function() {code} end").handle(None, delivery()) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return {1, 2}", [1, 2]),
        ("return {a = {b = {}}}", {"a": {"b": []}}),
        ("return '\\255x'", b"\xffx"),
        ("return 'é'", "é"),
        ("return {1, nil, 3}", [1, None, 3]),
        ("return {}, {}", []),
        ("return false", False),
        ("return 1.0", 1.0),
    ],
)
async def test_results_of_call(code: str, expected: Any) -> None:
    assert await run(code) == expected


@pytest.mark.parametrize("body", [None, True, 5, 2.5, "text", "é", b"\xff\x00", [1, 2], {"a": 1}, {}, [], [[{}]]])
async def test_bodies_arrive_unchanged(body: Any) -> None:
    assert await run("return body", body) == body
    text = "return function(body) seen.body = body end".replace("seen", "box")
    made = handler("box = {} " + text)
    await made.handle(body, delivery())
    assert type(made).decoder is Handler.decoder


async def test_a_returned_error_object_keeps_everything() -> None:
    fields = "message = 'busy', kind = errors.RATE_LIMITED, retryable = true, details = {after = 5}"
    code = f"return nil, errors.new({{{fields}}})"
    made = handler(f"return function() {code} end")
    for outcome in (made.handle(None, delivery()), made.call([], delivery())):
        with pytest.raises(HandlerError, match="busy") as raised:
            await outcome
        error = raised.value
        assert (error.kind, error.retryable, error.details) == ("RateLimited", True, {"after": 5})
    with pytest.raises(HandlerError) as raised:
        await run("return nil, errors.new('plain')")
    assert (raised.value.kind, raised.value.retryable, raised.value.details) == ("Internal", None, None)


async def test_a_raised_error_has_a_traceback_of_the_script() -> None:
    text = "local function inner(x)\n  error('boom')\nend\nreturn function(body)\n  inner(body)\n  return 1\nend"
    with pytest.raises(LuaError, match=r"^script\.lua:2: boom$") as raised:
        await handler(text).handle(None, delivery())
    error = raised.value
    assert (error.kind, error.retryable) == ("Internal", None)
    assert "script.lua:2: in" in error.traceback
    assert "script.lua:5: in" in error.traceback
    assert "host" not in error.traceback


async def test_a_raised_error_object_keeps_everything() -> None:
    with pytest.raises(LuaError, match="gone") as raised:
        await run("error(errors.new({message = 'gone', kind = 'NotFound', retryable = false, details = {id = 1}}))")
    error = raised.value
    assert (error.kind, error.retryable, error.details) == ("NotFound", False, {"id": 1})


async def test_require_finds_only_what_is_listed() -> None:
    assert await run("return require('json') == json", modules=["json"]) is True
    assert await run("return require('string') == string", modules=[]) is True
    with pytest.raises(LuaError, match=r"script\.lua:1: module 'json' not found; add it to `modules` of the entry"):
        await run("require('json')", modules=[])
    with pytest.raises(LuaError, match="module 'x' not found; list it under `modules` or `imports`"):
        await run("require('x')")
    with pytest.raises(LuaError, match="string expected, got number"):
        await run("require(1)")
    assert await run("return json", modules=[]) is None


async def test_an_unknown_module_in_the_list_is_found_when_it_is_required() -> None:
    with pytest.raises(LuaError, match="module 'sql' not found"):
        await handler("local sql = require('sql') return print", modules=["sql"]).start()


async def test_imports_are_libraries_with_their_own_modules() -> None:
    inner = LuaLibrary("lib:inner", LuaSource("count = (count or 0) + 1 return {n = count}", "inner.lua"))
    outer_text = "local inner = require('deep') return {n = inner.n, json = json ~= nil, inner = inner}"
    outer = LuaLibrary("lib:outer", LuaSource(outer_text, "outer.lua"), ["json"], {"deep": inner})
    imports = {"outer": outer, "same": inner}
    code = "local o = require('outer') return {o.n, o.json, json == nil, o.inner == require('same'), outer == o}"
    assert await run(code, modules=[], imports=imports) == [1, True, True, True, True]


async def test_a_library_that_returns_nothing_is_not_found() -> None:
    library = LuaLibrary("lib:none", LuaSource("local x = 1", "none.lua"))
    with pytest.raises(LuaError, match="module 'none' not found"):
        await run("require('none')", imports={"none": library})
    with pytest.raises(LuaSyntaxError, match=r"bad\.lua:1:"):
        await run("", imports={"bad": LuaLibrary("lib:bad", LuaSource("local", "bad.lua"))})


async def test_errors_of_user_coroutines_reach_the_handler_with_their_line() -> None:
    with pytest.raises(LuaError, match=r"script\.lua:2: inner"):
        await run("\ncoroutine.wrap(function() error('inner') end)()")
    assert await run("local ok, e = coroutine.resume(coroutine.create(error), 'x') return e") == "x"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("error()", "the script raised a nil value"),
        ("error(nil)", "the script raised a nil value"),
        ("error(false)", "the script raised a boolean value"),
        ("error(12)", "12"),
        ("error(print)", "the script raised a function value"),
        ("error(coroutine.create(print))", "the script raised a thread value"),
        ("error({})", "the script raised a table value"),
        ("error({message = 'from a table'})", "from a table"),
        ("error({message = {}})", "the script raised a table value"),
        ("error(setmetatable({}, {__tostring = function() while true do end end}))", "raised a table value"),
        ("error(setmetatable({}, {__index = function() while true do end end}))", "raised a table value"),
        ("error('\\255bytes', 0)", "\ufffdbytes"),
    ],
)
async def test_odd_raised_values_become_clear_errors(code: str, message: str) -> None:
    with pytest.raises(LuaError) as raised:
        await run(code)
    assert message in str(raised.value)


async def test_long_messages_are_cut() -> None:
    for code in ("error(('x'):rep(3e7))", "return nil, ('x'):rep(3e7)", "error({message = ('x'):rep(3e7)})"):
        with pytest.raises(HandlerError) as raised:
            await run(code)
        assert len(str(raised.value)) < 5000
        assert str(raised.value).endswith("(cut)")


async def test_arguments_that_have_no_place_in_lua_are_refused() -> None:
    with pytest.raises(HandlerError, match="a value of type object cannot be passed to Lua"):
        await run("return 1", object())
    with pytest.raises(HandlerError, match="beyond 64 bits"):
        await run("return 1", {"n": 2**64})
    with pytest.raises(HandlerError, match="not valid Unicode"):
        await run("return 1", {"s": "\ud800"})


def test_there_is_no_message() -> None:
    context = LoadingContext("app:f")
    assert context.delivery.function == "app:f"
    assert context.message is None
    assert (context.attempt, context.queue, context.delivery.consumer) == (0, "", "")
    assert not context.stopping
    assert not context.delivery.lease_lost
    assert context.logger.name == "tasuki.handlers.lua"


@pytest.mark.anyio
async def test_what_needs_a_handler_is_refused() -> None:
    context = LoadingContext("app:f")
    settling = (context.ack, context.nack, context.reject, lambda: context.snooze(1))
    for call in (*settling, lambda: context.project.resource("a:b"), lambda: context.project.env("A")):
        with pytest.raises(HandlerError, match="cannot be used while the script loads"):
            call()
    for waiting in (context.publish("a:b", 1), context.call("a:f"), context.queues.info("a:b")):
        with pytest.raises(HandlerError, match="cannot be used while the script loads"):
            await waiting


async def test_the_bodies_are_a_list_and_a_list_of_results_is_converted() -> None:
    made = handler("""
        return function(bodies)
          assert(#bodies == 3 and bodies[2] == nil and bodies[3].n == 3)
          return { true, false, errors.new({ message = "no", kind = errors.NOT_FOUND, retryable = true }) }
        end""")
    one, two, three = await made.handle_batch([1, None, {"n": 3}], delivery())
    assert (one, two, type(three)) == (True, False, HandlerError)
    assert (three.message, three.kind, three.retryable) == ("no", "NotFound", True)


@pytest.mark.parametrize(
    ("code", "result"), [("", None), ("return nil", None), ("return false", False), ("return 1", 1)]
)
async def test_a_result_of_all(code: str, result: Any) -> None:
    assert await handler(f"return function(bodies) {code} end").handle_batch([1, 2], delivery()) is result


async def test_a_second_value_fails_all() -> None:
    with pytest.raises(HandlerError, match="away"):
        await handler('return function(bodies) return nil, "away" end').handle_batch([1, 2], delivery())


async def test_messages_outside_a_batch_are_the_only_one() -> None:
    context = delivery(attempt=2)
    code = """
        local messages = assert(require("queue").messages())
        local msg = messages[1]
        assert(msg:ack())
        return { #messages, msg:id(), msg:body(), msg:attempt() }"""
    found = await run(code, "the body", context=context)
    assert found == [1, "m-1", "the body", 2]
    assert context.settled == [("ack",)]
