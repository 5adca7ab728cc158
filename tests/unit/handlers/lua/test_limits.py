"""Scripts that take too much: each ends with a clear error, and the next message is treated as if nothing was."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from typing import Any

import pytest

from tasuki.errors import HandlerError, LuaError, LuaLimitError
from tasuki.handlers.lua import ScriptLimits
from tasuki.handlers.lua.host.runtime import Runtime
from tests.unit.consumers.instructions import counting
from tests.unit.handlers.lua.support import delivery, handler, run

pytestmark = pytest.mark.anyio

TIME = {
    "loop": "while true do end",
    "goto": "::again:: goto again",
    "count": "for i = 1, 1e18 do end",
    "iterator": "for _ in function() return 1 end do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "pcall without work": "while true do pcall(function() end) end",
    "pcall recursion": "local function f() pcall(f) return f() end f()",
    "pcall tree": "local function f() pcall(f) pcall(f) end while true do f() end",
    "xpcall": "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "xpcall handler": "xpcall(error, function() while true do end end)",
    "coroutines": "while true do coroutine.wrap(function() end)() end",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "caught coroutine": "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "resume": "local co = coroutine.create(function() while true do pcall(coroutine.yield) end end)"
    " while true do coroutine.resume(co) end",
    "sort": "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() while true do end end)",
    "insert": "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 1) end",
    "remove": "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, table.remove(t, 1)) end",
    "concat": "local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do table.concat(t) end",
    "unpack": "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.unpack(t) end",
    "rep": "while true do local s = ('a'):rep(1e7) end",
    "upper": "local s = ('a'):rep(1e7) while true do s:upper() end",
    "utf8": "local s = ('a'):rep(1e7) while true do utf8.len(s) end",
    "join": "local s = ('a'):rep(1e7) while true do local x = s .. 'b' end",
    "sub": "local s = ('a'):rep(1e7) while true do s:sub(2) end",
    "gsub": "local s = ('a'):rep(1e6) while true do s:gsub('a', 'bb') end",
    "gsub function": "(('a'):rep(5000)):gsub('.', function() while true do end end)",
    "index": "return setmetatable({}, {__index = function() while true do end end}).x",
    "equal": "local m = {__eq = function() while true do end end} return setmetatable({}, m) == setmetatable({}, m)",
    "tostring": "return tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    "close": "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
    "close after error": "local x <close> = setmetatable({}, {__close = function() while true do end end}) error('x')",
    "exponential pattern": "return string.find(('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30))",
    "quadratic pattern": "return (('a'):rep(1e6):find('a-b'))",
    "balanced pattern": "return (('('):rep(1e6):find('%b()'))",
    "quadratic gsub": "return (('a'):rep(1e6):gsub('a-b', ''))",
    "quadratic gmatch": "for _ in ('a'):rep(1e6):gmatch('a-b') do end",
    "deep pattern": "return (string.find(('a'):rep(3e5), '(' .. ('.-'):rep(30) .. ')b'))",
}


@pytest.mark.parametrize("name", TIME)
async def test_the_time_limit_ends_it(name: str) -> None:
    made = handler(f"return function(again) if again then return again end {TIME[name]} end", time=0.15)
    await made.start()
    started = time.process_time()
    with pytest.raises(LuaLimitError, match="the script ran longer than its 150ms") as raised:
        await made.handle(None, delivery())
    assert raised.value.limit == "time"
    assert time.process_time() - started < 5
    assert await made.handle(5, delivery()) == 5


async def test_the_error_names_the_line_that_ran() -> None:
    with pytest.raises(LuaLimitError, match=r"^script\.lua:3: the script ran") as raised:
        await handler("return function()\n  local n = 0\n  while true do n = n + 1 end\nend", time=0.05).handle(
            None, delivery()
        )
    assert "script.lua:3: in" in raised.value.traceback


async def test_waiting_does_not_count() -> None:
    assert await run("for i = 1, 5 do time.sleep('30ms') end return 'done'", time=0.05) == "done"


async def test_time_counts_over_waits() -> None:
    code = "while true do for i = 1, 2e5 do end time.sleep(0) end"
    with pytest.raises(LuaLimitError, match="longer than"):
        await run(code, time=0.1)


async def test_the_instruction_limit_ends_it() -> None:
    with pytest.raises(LuaLimitError, match="more than its 100000 instructions") as raised:
        await run("while true do end", instructions=100_000)
    assert raised.value.limit == "instructions"
    assert await run("for i = 1, 1000 do end return 1", instructions=100_000) == 1


async def test_instructions_count_over_waits_and_coroutines() -> None:
    for step in ("time.sleep(0)", "coroutine.wrap(function() for i = 1, 100 do end end)()"):
        with pytest.raises(LuaLimitError, match="instructions"):
            await run(f"while true do for i = 1, 2000 do end {step} end", instructions=300_000)


BOMBS = {
    "rep": "return ('a'):rep(1e9)",
    "double": "local s = 'a' while true do s = s .. s end",
    "table": "local t = {} while true do t[#t + 1] = t end",
    "array": "local t = {} for i = 1, 1e9 do t[i] = i end",
    "keys": "local t = {} for i = 1, 1e9 do t['k' .. i] = true end",
    "closures": "local t = {} while true do local x = {} t[#t + 1] = function() return x end end",
    "pack": "return string.pack('c1000000000', 'x')",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
    "concat": "local t = {} for i = 1, 1e4 do t[i] = ('x'):rep(1e4) end return table.concat(t)",
    "gsub": "return (('a'):rep(1e6):gsub('a', ('b'):rep(1000)))",
    "recursion": "local function f() return 1 + f() end return f()",
    "lines": "local t = {} while true do t[#t + 1] = ('x'):rep(100) .. #t end",
}


CHILD = """
import asyncio, sys
from tasuki.errors import LuaLimitError, HandlerError
from tests.unit.handlers.lua.support import handler, delivery

async def main(code):
    start = "local kept = {} return function(again) if again then return again end "
    made = handler(start + code + " end", memory=2**24)
    for _ in range(3):
        for body in (None, None):
            try:
                await made.handle(body, delivery())
            except LuaLimitError as error:
                assert error.limit == "memory", error
            except HandlerError as error:
                assert "stack overflow" in str(error), error
            else:
                raise AssertionError("no error")
        assert await made.call([{"big": "x" * 3_000_000, "list": list(range(10000))}], delivery())
asyncio.run(main(sys.argv[1]))
print("lives")
"""


def in_child(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, code], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "lives"), done.stderr[-2000:]


@pytest.mark.parametrize("name", BOMBS)
def test_the_memory_limit_ends_it_and_the_process_lives(name: str) -> None:
    in_child(BOMBS[name])


KEEPING = {
    "kept": "while true do kept[#kept + 1] = {} end",
    "kept after pcall": "pcall(function() while true do kept[#kept + 1] = {} end end)"
    " logger.info(('x'):rep(1000)) local t = json.decode('[' .. ('1,'):rep(2000) .. '1]') kept[#kept + 1] = t"
    " while true do kept[#kept + 1] = {} end",
    "kept and published": "pcall(function() while true do kept[#kept + 1] = {} end end)"
    " queue.publish('a:b', {('x'):rep(1000), kept[1]}) while true do kept[#kept + 1] = {} end",
    "kept and waiting": "pcall(function() while true do kept[#kept + 1] = {} end end)"
    " while true do time.sleep(0) local m = queue.message() kept[#kept + 1] = {m} end",
}


@pytest.mark.parametrize("name", KEEPING)
def test_a_script_that_keeps_its_memory_gets_a_new_runtime(name: str) -> None:
    in_child(KEEPING[name])


@pytest.mark.parametrize("size", range(15_000_000, 17_000_000, 100_000))
def test_pushing_near_the_limit_never_aborts(size: int) -> None:
    made = handler(
        f"local kept = ('x'):rep({size - 1000000}) return function(b) return #b.text + #kept end", memory=2**24
    )

    async def near() -> None:
        for extra in (10, 1000, 100_000, 2_000_000):
            with contextlib.suppress(LuaLimitError):
                assert await made.call([{"text": "y" * extra}], delivery()) == extra + size - 1000000

    asyncio.run(near())


CLEAR = {
    "deep coroutines": ("local function f() return coroutine.wrap(f)() end f()", "C stack overflow"),
    "length": ("table.concat(setmetatable({}, {__len = function() return 1e12 end}))", "__len metamethod"),
    "length of unpack": ("table.unpack(setmetatable({}, {__len = function() return 1e12 end}))", "__len metamethod"),
    "length of insert": ("table.insert(setmetatable({}, {__len = function() return 1e12 end}), 1)", "__len"),
    "length of sort": ("table.sort(setmetatable({}, {__len = function() return 1e12 end}))", "__len"),
    "length of remove": ("table.remove(setmetatable({}, {__len = function() return 1e12 end}))", "__len"),
    "unpack": ("return table.unpack({}, 1, 1e8)", "too many results to unpack"),
    "unpack far": ("return table.unpack({}, 1, 9e18)", "too many results to unpack"),
    "format": ("return string.format('%99999d', 1)", "invalid conversion"),
    "index chain": ("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "possible loop"),
    "index recursion": ("return setmetatable({}, {__index = function(t, k) return t[k] end}).x", "C stack overflow"),
    "pcall depth": (
        "local n = 0 local function f() n = n + 1 local ok, e = pcall(f) if not ok then error(e, 0) end end f()",
        "pcall nested too deep",
    ),
    "no table": ("table.concat(1)", "bad argument #1 to 'concat' (table expected, got number)"),
    "json list": ("return nil, select(2, json.decode(('['):rep(100000)))", "maximum nesting depth exceeded"),
    "json closed": ("return nil, select(2, json.decode(('['):rep(5e4) .. (']'):rep(5e4)))", "maximum nesting depth"),
    "deep json": (
        "local t = {} for i = 1, 1e5 do t = {t} end return nil, select(2, json.encode(t))",
        "maximum nesting",
    ),
    "wide json": (
        "local t = {1} for i = 1, 60 do t = {t, t} end return nil, select(2, json.encode(t))",
        "250000 parts",
    ),
    "publish cycle": ("local t = {} t.t = t return nil, select(2, queue.publish('a:b', t))", "recursively nested"),
    "publish wide": (
        "local t = {1} for i = 1, 60 do t = {t, t} end return nil, select(2, queue.publish('a:b', t))",
        "parts",
    ),
    "result cycle": ("local t = {} t.t = t return t", "refers to itself"),
    "result deep": ("local t = {} for i = 1, 1000 do t = {t} end return t", "nested too deep"),
    "result wide": ("local t = {} for i = 1, 1e6 do t[i] = i end return t", "250000 parts"),
}


@pytest.mark.parametrize("name", CLEAR)
async def test_it_is_refused_with_a_clear_error(name: str) -> None:
    code, message = CLEAR[name]
    with pytest.raises(HandlerError) as raised:
        await run(code)
    assert message in str(raised.value)
    assert not str(raised.value).startswith("host")


@pytest.mark.parametrize("code", ["f()", "local ok, e = pcall(f) error(e, 0)", "coroutine.wrap(f)()"])
async def test_endless_recursion_ends(code: str) -> None:
    with pytest.raises(LuaError, match=r"stack overflow|needs more than its 256MiB"):
        await run(f"local function f() return 1 + f() end {code}", memory=2**28, time=300.0)


async def test_pcall_depth_is_given_back() -> None:
    code = (
        "for i = 1, 500 do pcall(error) end local function f(n) if n > 0 then return pcall(f, n - 1) end return 7 end"
    )
    assert await run(code + " local r = {f(90)} return r[#r]") == 7


async def test_a_deep_body_is_refused_before_it_can_crash() -> None:
    body: Any = []
    for _ in range(50_000):
        body = [body]
    with pytest.raises(HandlerError, match="nested deeper than 128 levels"):
        await run("return 1", body)
    body = 1
    for _ in range(127):
        body = {"a": body}
    assert await run("return body", body) == body


async def test_hostile_metatables_of_results_never_run() -> None:
    code = """
    local spin = function() while true do end end
    return setmetatable({a = 1}, {__index = spin, __pairs = spin, __len = spin, __tostring = spin, __call = spin})
    """
    assert await run(code) == {"a": 1}


async def test_a_raise_after_late_finalizers_is_quiet() -> None:
    code = (
        "local m = {} setmetatable({}, m) m.__gc = function() while true do end end for i = 1, 1e5 do local t = {} end"
    )
    assert await run(code + " return 1") == 1


def test_limits_are_described() -> None:
    limits = ScriptLimits(memory=1024, time=1.5, instructions=7)
    assert limits.describe("memory") == "the script needs more than its 1KiB of memory"
    assert limits.describe("time") == "the script ran longer than its 1.5s"
    assert limits.describe("instructions") == "the script ran more than its 7 instructions"
    assert ScriptLimits() == ScriptLimits(memory=64 * 2**20, time=1.0, instructions=None)


async def test_a_script_that_holds_its_memory_is_loaded_anew() -> None:
    text = "local kept = {} return function(n) if n then return #kept end while true do kept[#kept + 1] = {} end end"
    made = handler(text, memory=2**22)
    await made.start()
    first = made._runtime
    with pytest.raises(LuaLimitError, match="needs more than its 4MiB of memory") as raised:
        await made.handle(None, delivery())
    assert raised.value.limit == "memory"
    assert made._runtime is None
    assert await made.handle(1, delivery()) == 0
    assert made._runtime is not first


async def test_a_top_level_that_holds_too_much_does_not_start() -> None:
    with pytest.raises(LuaLimitError, match="of memory"):
        await handler("kept = {} while true do kept[#kept + 1] = {} end", memory=2**22).start()


@pytest.mark.parametrize("method", ["handle", "call", "resume"])
async def test_what_escapes_from_the_host_itself_is_an_error_too(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for the host's own few bytes: the call into Lua fails, outside of any script."""
    for text, expected in (("not enough memory", LuaLimitError), ("odd", LuaError)):
        made = handler("return function() time.sleep(0) end")
        await made.start()
        runtime: Any = made._runtime

        def broken(*_: object, text: str = text, runtime: Any = runtime, **__: object) -> None:
            raise runtime.lua_error(text)

        monkeypatch.setattr(runtime, {"handle": "run"}.get(method, method), broken)
        with pytest.raises(expected):
            await (made.call([], delivery()) if method == "call" else made.handle(None, delivery()))


async def test_a_start_that_escapes_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasuki.handlers.lua.host.runtime import Runtime

    def broken(self: Runtime, *_: object) -> None:
        raise self.lua_error("odd")

    monkeypatch.setattr(Runtime, "boot", broken)
    with pytest.raises(LuaError, match="app:script: odd"):
        await handler("return print").start()


MANY = 40_000


async def test_large_bodies_that_come_together_do_not_fill_the_memory_together() -> None:
    """Each one needs a third of it; converted side by side, all were ended for the memory of the others."""
    made = handler("return function(m) local t = {} for i = 1, 1000 do t[i] = {m[i]} end end", memory=24 * 2**20)
    bodies = [[{"a": number, "b": each, "c": "x"} for number in range(MANY)] for each in range(6)]
    assert await asyncio.gather(*(made.handle(body, delivery()) for body in bodies)) == [None] * 6


async def test_what_runs_between_the_steps_of_a_large_body_has_its_own_memory() -> None:
    made = handler(
        "return function(m) if type(m) == 'number' then return #string.rep('x', m) end end", memory=16 * 2**20
    )
    large = asyncio.create_task(made.handle([{"a": each, "b": each, "c": "x"} for each in range(MANY)], delivery()))
    answers = []
    while not large.done():
        answers.append(await made.handle(5 * 2**20, delivery()))
        await asyncio.sleep(0)
    assert await large is None
    assert set(answers) == {5 * 2**20}
    assert len(answers) > MANY * 3 // 5_000


GUARDED = {
    "string_sub": ("'hello', 2, 3", 23, 3),
    "byte": ("'hello', 2", 15, 3),
    "string_char": ("65", 12, 1),
    "string_upper": ("'hello'", 23, 5),
    "format": ("'%s-%d', 'x', 5", 56, 9),
    "find": ("'key=value', '=', 1, true", 55, 8),
    "match": ("'key=value', '^(%w+)='", 47, 6),
    "gsub": ("'hello world', '%w+', 'x'", 59, 7),
    "rep": ("'ab', 3", 45, 7),
    "concat": ("{'a', 'b'}, ','", 58, 10),
    "math_floor": ("1.5", 8, 2),
    "math_max": ("1, 2", 10, 2),
    "math_random": ("6", 15, 3),
    "select": ("2, 'a', 'b'", 12, 2),
}


"""Arguments of a guarded function, and what one call takes at most: instructions of Lua, and functions that are
entered, of C too."""


COUNT = """
local debug, load = debug, load
return function(f, arguments, mask, period, times)
  local call = load("local f, times = ... for _ = 1, times do f(" .. arguments .. ") end")
  local count = 0
  call(f, 1) -- compiled and cached from the first call on
  debug.sethook(function() count = count + 1 end, mask, period)
  call(f, times)
  debug.sethook()
  return count
end
"""


@pytest.mark.parametrize("name", GUARDED)
def test_a_guarded_function_costs_no_more_than_its_budget(name: str) -> None:
    arguments, instructions, calls = GUARDED[name]
    runtime: Any = Runtime(ScriptLimits())
    count, guarded = runtime._lua.execute(COUNT), runtime._guards[name]
    found = [
        (count(guarded, arguments, mask, period, 200) - count(guarded, arguments, mask, period, 100)) / 100
        for mask, period in (("", 1), ("c", 0))
    ]
    assert found[0] <= instructions
    assert found[1] <= calls


BODIES: dict[str, tuple[Any, int]] = {
    "a text": ("text", 96),
    "a flat object": ({"id": 12345, "name": "some customer", "price": 12.5, "ok": True}, 241),
    "an object of objects": (
        {"id": 1, "rows": [{"sku": "a", "n": 2}, {"sku": "b", "n": 3}], "to": {"zip": "530"}},
        642,
    ),
}


"""A body, and how many instructions of Python the handler takes to give it to a script that does nothing."""


@pytest.mark.anyio
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions of Python compile to other instructions")
@pytest.mark.parametrize("name", BODIES)
async def test_a_message_costs_no_more_than_its_budget(name: str) -> None:
    body, most = BODIES[name]
    made, context = handler("return function(body) return true end"), delivery()
    await made.start()

    async def cost_of(messages: int) -> int:
        with counting("/tasuki/handlers/lua/") as count:
            for _ in range(messages):
                await made.handle(body, context)
        return count.instructions

    found = (await cost_of(300) - await cost_of(100)) / 200
    assert found <= most
