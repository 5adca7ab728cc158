"""Nothing of the machine, of Python or of other scripts can be reached from a script."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.errors import HandlerError, LuaError, LuaLimitError
from tasuki.handlers.lua import LuaLibrary, LuaSource
from tasuki.handlers.lua.host.runtime import Runtime
from tasuki.handlers.lua.nil_keys import ignore_nil_keys
from tests.unit.handlers.lua.support import delivery, handler, run

pytestmark = pytest.mark.anyio

ABSENT = [
    "python",
    "io",
    "debug",
    "package",
    "load",
    "loadstring",
    "loadfile",
    "dofile",
    "collectgarbage",
    "newproxy",
    "setfenv",
    "getfenv",
    "module",
    "string.dump",
    "table.move",
    "coroutine.close",
    "coroutine.isyieldable",
    "os.execute",
    "os.exit",
    "os.getenv",
    "os.remove",
    "os.rename",
    "os.tmpname",
    "os.setlocale",
    "python.eval",
    "python.builtins",
    "string.format.x",
    "warn",
    "lupa",
    "bit32",
    "arg",
    "host",
]


@pytest.mark.parametrize("name", ABSENT)
async def test_what_is_dangerous_is_absent(name: str) -> None:
    parts = name.split(".")
    code = "return " + " and ".join(".".join(parts[: n + 1]) for n in range(len(parts)))
    if name == "string.format.x":
        with pytest.raises(LuaError, match="attempt to index a function value"):
            await run(code)
    else:
        assert await run(code) is None


ESCAPES = {
    "bytecode": ("local f = string.dump", "return f == nil"),
    "text metatable": ("", "return getmetatable('x') == nil"),
    "text metatable index": ("", "return getmetatable('').__index == nil"),
    "poisoned text": ("", "string.upper = function() return 'mine' end"),
    "poisoned by rawset": ("", "rawset(string, 'upper', print)"),
    "poisoned module": ("", "json.decode = print"),
    "poisoned module by rawset": ("", "rawset(json, 'decode', print)"),
    "poisoned math": ("", "math.huge = 0"),
    "frozen metatable": ("", "setmetatable(string, {})"),
    "frozen metatable read": ("", "return getmetatable(string).__index == nil"),
    "frozen sort": ("", "table.sort(string)"),
    "frozen insert": ("", "table.insert(string, 1)"),
    "frozen remove": ("", "table.remove(string)"),
    "global by rawset": ("", "rawset(_G, 'leak', 1)"),
    "globals metatable": ("", "setmetatable(_G, {})"),
    "globals metatable read": ("", "return getmetatable(_G).__index == nil"),
    "logger field": ("", "logger.info = print"),
    "error object field": ("", "errors.new('x').kind = 1"),
    "error object rawset": ("", "rawset(errors.new('x'), 'kind', 1)"),
    "error object metatable": ("", "setmetatable(errors.new('x'), {})"),
    "error object rawget": ("", "rawget(errors.new('x'), 'kind')"),
    "error object pairs": ("", "for k in pairs(errors.new('x')) do end"),
    "message field": ("", "queue.message().id = 1"),
    "collector": ("", "setmetatable({}, {__gc = print})"),
    "coroutine of the host": ("", "local ok, e = coroutine.resume((coroutine.running())) error(e)"),
    "wrap of nothing": ("", "coroutine.wrap(1)"),
    "create of nothing": ("", "coroutine.create()"),
    "status of nothing": ("", "coroutine.status(1)"),
    "resume of nothing": ("", "coroutine.resume(1)"),
    "protected metatable": ("", "local t = setmetatable({}, {__metatable = 1}) setmetatable(t, {})"),
    "metatable of a number": ("", "setmetatable(1, {})"),
    "metatable that is none": ("", "setmetatable({}, 1)"),
    "huge load by xpcall": ("", "xpcall(print)"),
    "type of nothing": ("", "type()"),
}


REFUSED = {
    "poisoned text": "attempt to modify Immutable table",
    "poisoned by rawset": "attempt to modify Immutable table",
    "poisoned module": "attempt to modify Immutable table",
    "poisoned module by rawset": "attempt to modify Immutable table",
    "poisoned math": "attempt to modify Immutable table",
    "frozen metatable": "attempt to modify Immutable table",
    "frozen metatable read": "attempt to index a boolean value",
    "frozen sort": "attempt to sort Immutable table",
    "frozen insert": "attempt to insert into Immutable table",
    "frozen remove": "attempt to remove from Immutable table",
    "text metatable index": "attempt to index a nil value",
    "global by rawset": "attempt to modify Immutable table",
    "globals metatable": "cannot change a protected metatable",
    "globals metatable read": "attempt to index a boolean value",
    "logger field": "attempt to modify a logger",
    "error object field": "attempt to modify an error object",
    "error object rawset": "table expected, got userdata",
    "error object metatable": "table expected, got userdata",
    "error object rawget": "table expected, got userdata",
    "error object pairs": "table expected, got userdata",
    "message field": "attempt to modify a queue.Message",
    "collector": "__gc is not available",
    "coroutine of the host": "can not resume a running thread",
    "wrap of nothing": "function expected, got number",
    "create of nothing": "function expected, got nil",
    "status of nothing": "coroutine expected, got number",
    "resume of nothing": "coroutine expected, got number",
    "protected metatable": "cannot change a protected metatable",
    "metatable of a number": "table expected, got number",
    "metatable that is none": "nil or table expected",
    "huge load by xpcall": "bad argument #2 to 'xpcall'",
    "type of nothing": "value expected",
}


@pytest.mark.parametrize("name", ESCAPES)
async def test_escapes_fail(name: str) -> None:
    top, code = ESCAPES[name]
    made = handler(f"{top}\nreturn function() {code} end")
    if name in REFUSED:
        with pytest.raises(LuaError) as raised:
            await made.handle(None, delivery())
        assert REFUSED[name] in str(raised.value)
    else:
        assert await made.handle(None, delivery()) is True


async def test_the_next_message_finds_the_library_whole() -> None:
    text = """
    return function(first)
        if first then
            pcall(function() string.upper = nil end)
            string.upper = nil
        end
        return ("x"):upper()
    end
    """
    made = handler(text)
    with pytest.raises(LuaError):
        await made.handle(True, delivery())
    assert await made.handle(False, delivery()) == "X"


async def test_an_idle_coroutine_of_the_host_cannot_be_used_by_a_later_message() -> None:
    text = """
    local kept
    return function(n)
        if n == 1 then kept = coroutine.running() return coroutine.status(kept) end
        local co = coroutine.create(function()
            return coroutine.status(kept), coroutine.resume(kept, print)
        end)
        local _, status, ok, err = coroutine.resume(co)
        return status .. " " .. tostring(ok) .. " " .. err
    end
    """
    made = handler(text)
    assert await made.handle(1, delivery()) == "running"
    assert await made.handle(2, delivery()) == "normal false can not resume a running thread"


TOOLS = "{next = next, tostring = tostring, getupvalue = debug.getupvalue, getmeta = debug.getmetatable, type = type}"


WALK = """function(roots, tools)
    local next, tostring, type = tools.next, tools.tostring, tools.type
    local seen, objects, globals, count = {}, "", "", 0
    local function visit(value, path)
        local kind = type(value)
        if kind == "userdata" then objects = objects .. " " .. path end
        if (kind ~= "table" and kind ~= "function") or seen[value] then return end
        seen[value], count = true, count + 1
        if kind == "table" then
            for k, v in next, value do visit(k, path .. ".<key>") visit(v, path .. "." .. tostring(k)) end
        else
            for i = 1, 255 do
                local name, v = tools.getupvalue(value, i)
                if not name then break end
                if name == "_ENV" then globals = globals .. " " .. path end
                visit(v, path .. ">" .. name)
            end
        end
        visit(tools.getmeta(value), path .. "<meta>")
    end
    for name, root in next, roots do visit(root, tostring(name)) end
    visit(tools.getmeta(""), "text")
    return objects, globals, count
end"""


OBJECTS = """
local kept = {}
return {main = function()
    local co = coroutine.create(function() coroutine.yield(kept) end)
    coroutine.resume(co)
    kept = {
        channel.new(1), time.timer('1h'), time.ticker('1h'), time.after('1h'), time.now(), time.parse_duration('5s'),
        payload.new({1, 'two'}), payload.new('text'), errors.new('x'), queue.message(), queue.message():headers(),
        logger:with({a = 1}), security.actor(), funcs.new(), metrics, env, ctx, uuid, hash, base64, co, json, store, _G,
    }
    coroutine.spawn(function() kept[1]:send(1) end)
    kept[1]:receive()
end}
"""


async def test_no_python_object_is_reachable_not_even_by_upvalues_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    original = Runtime._load_host

    def spying(self: Runtime) -> None:
        found.extend([self, self._lua.eval(TOOLS), self._lua.eval(WALK), self._lua.table()])
        original(self)

    monkeypatch.setattr(Runtime, "_load_host", spying)
    made = handler(OBJECTS)
    await made.start()
    await made.call([], delivery())
    runtime, tools, walk, roots = found
    roots["host"] = runtime._host
    objects, globals_used, count = walk(roots, tools)
    assert [path for path in objects.split() if "random>" not in path] == []  # the C state of math.random
    assert globals_used.split() == ["host.entry"]  # the script itself; the host's own functions need no globals
    assert count > 900, count


async def test_the_real_globals_are_empty() -> None:
    made = handler("return print")
    await made.start()
    runtime = made._runtime
    assert runtime is not None
    assert list(runtime._lua.globals()) == []
    with pytest.raises(AttributeError, match="not available"):
        runtime._lua.compile("return (...).real")(1 + 1j)


async def test_standard_functions_behave() -> None:
    checks = """
    assert(rawget(string, 'upper') == string.upper and rawlen({1, 2}) == 2 and rawequal(string, string))
    assert(next(string) ~= nil and rawlen(table.freeze({1, 2, 3})) == 3)
    local names = {} for k, v in pairs(string) do names[k] = v end
    assert(names.upper == string.upper)
    assert(select('#', 1, 2) == 2 and select(2, 1, 2) == 2)
    assert(unpack({1, 2, 3}) == 1 and select('#', table.unpack({1, nil, 3}, 1, 3)) == 3)
    assert(tostring(5.0) == '5' and tostring(2^53) == '9007199254740992' and tostring(1/3) == '0.3333333333333333')
    assert(tostring(nil) == 'nil' and tostring(true) == 'true' and tostring('x') == 'x')
    assert(tostring({}):find('^table: ') and tostring(print):find('^function'))
    assert(type(errors.new('x')) == 'userdata' and type(nil) == 'nil' and type({}) == 'table')
    assert(select('#', assert(1, 2, 3)) == 3)
    assert(tonumber('0x10') == 16 and tonumber('10', 2) == 2)
    assert(getmetatable(setmetatable({}, {a = 1})).a == 1 and getmetatable({}) == nil)
    local t = setmetatable({}, nil) assert(rawset(t, 'a', 1) == t and t.a == 1)
    assert(_G.string == string and _VERSION == 'Lua 5.4')
    assert(('x'):rep(3, '-') == 'x-x-x' and ('abc'):upper() == 'ABC' and ('ab'):reverse() == 'ba')
    assert(string.unpack('b', '\\1') == 1 and utf8.len('é') == 1 and utf8.codepoint('a') == 97)
    assert(string.lower(errors.new('AB')) == 'ab')
    assert(os.platform == 'wippy' and os.time() > 0 and os.clock() >= 0 and os.difftime(2, 1) == 1)
    assert(os.time({year = 2020, month = 1, day = 1}) == os.time({year = 2020, month = 1, day = 1, hour = 0}))
    assert(os.date('!%Y', 0) == '1970' and #os.date() > 5)
    """
    await run(checks)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("assert()", "bad argument #1 to 'assert'"),
        ("assert(nil)", "script.lua:1: assertion failed!"),
        ("assert(false, 'why')", "script.lua:1: why"),
        ("os.time(5)", "bad argument #1 to time (table expected, got number)"),
        ("os.difftime(1)", "bad argument #2 to difftime (number expected, got nil)"),
        ("tostring(setmetatable({}, {__tostring = function() return 1 end}))", "'__tostring' must return a string"),
        ("next(1)", "table expected, got number"),
        ("string.rep()", "bad argument #1"),
        ("table.create(1)", "bad argument #2 to create"),
        ("table.create()", "bad argument #1 to create"),
    ],
)
async def test_standard_functions_complain(code: str, message: str) -> None:
    with pytest.raises(LuaError) as raised:
        await run(code)
    assert message in str(raised.value)
    assert not str(raised.value).startswith("host")


async def test_assert_keeps_an_error_object() -> None:
    with pytest.raises(LuaError) as raised:
        await run("assert(nil, errors.new({message = 'm', kind = 'Timeout'}))")
    assert raised.value.kind == "Timeout"


async def test_table_and_math_additions() -> None:
    await run("""
    local t = {3, 1, 2}
    table.sort(t) assert(table.concat(t, ',') == '1,2,3')
    table.sort(t, function(a, b) return a > b end) assert(t[1] == 3)
    table.insert(t, 4) table.insert(t, 1, 9) assert(t[1] == 9 and t[5] == 4)
    table.insert(t, nil) assert(#t == 5)
    assert(table.remove(t) == 4 and table.remove(t, 1) == 9 and table.remove({}) == nil)
    assert(table.concat({1, 2}, 3) == '132' and table.concat({1, 2, 3}, ',', 2) == '2,3' and table.concat({}) == '')
    assert(table.concat({errors.new('a'), 'b'}, '-') == 'a-b')
    assert(table.getn({1, 2}) == 2 and table.maxn({[7] = 1, x = 2}) == 7)
    local frozen = table.freeze({1, 2, x = 3})
    assert(table.isfrozen(frozen) and not table.isfrozen({}) and table.freeze(frozen) == frozen)
    assert(#frozen == 2 and frozen.x == 3 and not pcall(function() frozen.x = 4 end))
    assert(table.concat(frozen, ',') == '1,2' and select('#', table.unpack(frozen)) == 2)
    local inherited = table.freeze(setmetatable({a = 1}, {__index = {b = 2}}))
    assert(inherited.a == 1 and inherited.b == 2)
    assert(json.encode(table.create(1, 1)) == '{}' and json.encode(table.create(1, 0)) == '[]')
    assert(math.pow(2, 3) == 8 and math.log10(100) == 2 and math.mod(5, 3) == 2)
    assert(math.cosh(0) == 1 and math.sinh(0) == 0 and math.tanh(0) == 0 and math.ldexp(1, 3) == 8)
    local f, e = math.frexp(8) assert(f == 0.5 and e == 4)
    f, e = math.frexp(0) assert(f == 0 and e == 0)
    f, e = math.frexp(0.1) assert(math.abs(f * 2 ^ e - 0.1) < 1e-15)
    math.randomseed(1)
    """)
    with pytest.raises(LuaError, match="wrong number of arguments to 'insert'"):
        await run("table.insert({})")
    with pytest.raises(LuaError, match=r"invalid value \(table\) at index 1 in table for 'concat'"):
        await run("table.concat({{}})")


async def test_print_writes_one_record() -> None:
    context = delivery()
    await run("print('a', 1.0, true, nil, errors.new('e'), '\\255')", context=context)
    (record,) = context.logged
    assert (record.level, record.message) == ("info", "a 1 true nil e \ufffd")
    assert record.fields["location"] == "script.lua:1"


async def test_a_global_is_kept_for_its_script_and_never_seen_by_another() -> None:
    counting = "return function() count = (count or 0) + 1 return count end"
    library = LuaLibrary("app:library", source=LuaSource("return {seen = function() return count end}", "library.lua"))
    one, other = handler(counting), handler(counting)
    assert [await one.call([], delivery()) for _ in range(3)] == [1, 2, 3]
    assert await other.call([], delivery()) == 1
    importing = handler(
        "return function() count = 5 return require('library').seen() end", imports={"library": library}
    )
    assert await importing.call([], delivery()) is None


@pytest.mark.parametrize(
    "charge",
    [
        "table.insert({}, 1e300, 1)",
        "table.concat({}, '', 0/0, 1)",
        "string.rep('ab', 1 << 62)",
        "table.unpack({}, m, m)",
    ],
)
async def test_no_call_gives_instructions_back(charge: str) -> None:
    made = "local m = setmetatable({}, {__sub = function() return -1e300 end})"
    code = f"{made} while true do pcall(function() {charge} end) end"
    with pytest.raises(LuaLimitError, match="100000 instructions"):
        await run(code, instructions=100_000, time=60)


LONG = {
    "sum": "return s + 0",
    "tonumber": "return tonumber(s)",
    "pack": "return #string.pack('z', s)",
    "quoted": "return #('%q'):format(s)",
}


@pytest.mark.parametrize("name", LONG)
async def test_work_on_a_long_text_costs_instructions(name: str) -> None:
    with pytest.raises(LuaLimitError, match="20000 instructions"):
        await run(f"local s = body {LONG[name]}", "1" * 500_000, instructions=20_000)


async def test_freeze_gives_no_finalizer_to_a_table() -> None:
    code = """
    local ran, m = 0, {}
    local t = setmetatable({}, m)
    m.__gc = function() ran = ran + 1 end
    table.freeze(t)
    t = nil
    for i = 1, 1e5 do local x = {} end
    return ran"""
    assert await run(code) == 0


@pytest.mark.parametrize(
    "code",
    [
        "t[nil] = 1",
        "t[missing] = 1",
        "t [ missing ] = 1",
        "local k t[k] = 1",
        "local k = nil; t[k] = 1",
        "local k, other; t[other] = 1",
        "for i = 1, 3 do end t[i] = 1",
        "for i, _ in ipairs({1}) do end t[i] = 1",
        "if true then local k = 1 else local k = 2 end t[k] = 1",
        "local function f(k) return k end t[k] = f(1)",
        "repeat local k = 1 until true t[k] = 1",
        "while true do local k = 1 break end t[k] = 1",
        "local o = {t = t} o.t[missing] = 1",
        "local x = t\nt[missing] = 1",
        "local x = tostring\nt[missing] = 1",
        "do t[missing] = 1 end",
        "if true then t[missing] = 1 end",
        "t --[[ here ]] [missing] = 1",
        "t -- here\n[missing] = 1",
    ],
)
async def test_nothing_is_assigned(code: str) -> None:
    assert await run(f"local t = {{}} {code} return {{t, #t, next(t) == nil}}") == [[], 0, True]


async def test_the_value_is_computed_all_the_same() -> None:
    code = "local n, t = 0, {} local function f() n = n + 1 return n end t[missing] = f() return n"
    assert await run(code) == 1


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("local t = {} for k = 1, 3 do t[k] = k * 2 end return t", [2, 4, 6]),
        ("local t, k = {} k = 'a' t[k] = 1 return t", {"a": 1}),
        ("name = 'a' local t = {} t[name] = 1 return t", {"a": 1}),
        ("local t = {} t[1] = 1 t['b'] = 2 t[#t + 1] = 3 return {t[1], t[2]}", [1, 3]),
        ("local t, u, k = {}, {}, 1 t[k], u[k] = 'x', 'y' return {t[1], u[1]}", ["x", "y"]),
        (
            "local k = 'a' local t = { [k] = 1, b = k == 'a', [missing or 'c'] = 3 } return t",
            {"a": 1, "b": True, "c": 3},
        ),
        ("local t, k = {}, false t[k] = 1 return t[false]", 1),
        ("local s = 't[missing] = 1' return s", "t[missing] = 1"),
    ],
)
async def test_all_else_is_as_it_was(code: str, result: object) -> None:
    assert await run(code) == result


@pytest.mark.parametrize(
    "code", ["local function put(t, k) t[k] = 1 end put({}, nil)", "local t, o = {}, {} t[o.id] = 1"]
)
async def test_a_key_that_cannot_be_seen_to_be_nil_is_refused(code: str) -> None:
    with pytest.raises(HandlerError, match="index is nil"):
        await run(code)


async def test_errors_keep_their_lines() -> None:
    with pytest.raises(HandlerError, match=r"script\.lua:3: stop"):
        await run("local t = {}\nt[missing] = 1\nerror('stop')")


def test_loops_of_honest_scripts_are_left_alone() -> None:
    for source in (
        "for i = 1, 9 do t[i] = i end",
        "for k, v in pairs(t) do u[k], u[v] = v, k end",
        "local function put(k, v) t[k] = v end",
        "local n = 0 while n < 9 do n = n + 1 t[n] = n end",
        "function o.put(self, k) o[k] = 1 end function o:set(k) o[self] = k end",
    ):
        assert ignore_nil_keys(source) == source


async def test_the_table_that_keeps_nothing_is_no_way_to_keep_something() -> None:
    assert await run("__ignored.a = 1 return {__ignored.a, next(__ignored)}") == []
    with pytest.raises(HandlerError, match="Immutable"):
        await run("rawset(__ignored, 'a', 1)")
    with pytest.raises(HandlerError, match="Immutable"):
        await run("setmetatable(__ignored, {})")
