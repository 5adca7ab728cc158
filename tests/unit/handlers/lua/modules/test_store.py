"""store: what scripts see of a store."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, LuaError
from tasuki.handlers.store import HandlerStore
from tasuki.kinds.stores import memory_store
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import delivery, run

pytestmark = pytest.mark.anyio


def context() -> RecordingContext:
    made = delivery()
    made.resources["app:s"] = memory_store("app:s", max_size=3)
    made.resources["app:other"] = object()
    return made


async def in_store(code: str) -> Any:
    return await run(f"local s = store.get('app:s') {code}", context=context())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("local ok, e = s:set('k', {a = {1, 2}}) return {ok, e == nil, s:get('k')}", [True, True, {"a": [1, 2]}]),
        ("s:set('k', {1, nil, 3, x = 1}) return s:get('k')", [1, None, 3]),
        ("s:set('k', {[0] = 1}) return s:get('k')", {"0": 1}),
        ("s:set('k', 5) s:set('f', 5.0) return {math.type(s:get('k')), math.type(s:get('f'))}", ["integer", "float"]),
        ("s:set('k', errors.new('e')) return s:get('k')", "e"),
        ("s:set('k', '\\255') return #s:get('k')", 1),
        ("s:set('k', 1, 60) s:set('l', 1, '60') s:set('m', 1, 0) return {s:has('k'), s:has('l'), s:has('m'), s:has('x')}", [True, True, True, False]),
        ("s:set('k', 1) return {s:delete('k'), (s:delete('k')), s:has('k')}", [True, False, False]),
        ("s:set(5, 1) return s:entry('5')", {"key": "5", "value": 1, "version": "1"}),
        ("return s:put('k', 1, {only_if_absent = true, ttl = 5}).version", "1"),
        ("s:set('k', 1) return s:put('k', 2, {if_version = '1'})", {"key": "k", "value": 2, "version": "2"}),
        ("s:set('a', 1) s:set('b', 2) s:set('c', 3) return s:list({limit = 2})", {"items": [{"key": "a", "value": 1, "version": "1"}, {"key": "b", "value": 2, "version": "2"}], "cursor": "b", "has_more": True}),
        ("s:set('a', 1) return {#s:list().items, s:list({after = 'a'}).cursor, #s:list({prefix = 'x'}).items}", [1, "", 0]),
        ("return s:info().backend .. s:info().consistency", "memorylocal"),
        ("return {tostring(s), s:release(), s:release(), tostring(s), type(s)}", ["store.Store{}", True, True, "store.Store{released}", "userdata"]),
        ("return {store.backend.MEMORY, store.consistency.LOCAL}", ["memory", "local"]),
    ],
)  # fmt: skip
async def test_what_it_does(code: str, expected: Any) -> None:
    assert await in_store(code) == expected


@pytest.mark.parametrize(
    ("call", "first", "kind", "message", "retryable"),
    [
        ("s:get('x')", None, "NotFound", "key not found", False),
        ("s:entry('x')", None, "NotFound", "key not found", False),
        ("s:get('')", None, "Invalid", "key is required", False),
        ("s:set('k')", None, "Invalid", "value is required", False),
        ("s:set('k', loop)", None, "Invalid", "value refers to itself", False),
        ("fill(); s:set('k', 1)", None, "Unavailable", "store is full", True),
        ("s:list(5)", None, "Invalid", "options must be a table", False),
        ("s:list({prefix = 5})", None, "Invalid", "prefix must be a string", False),
        ("s:list({limit = -1})", None, "Invalid", "limit must be a non-negative integer", False),
        ("s:put('k', 1, 5)", None, "Invalid", "options must be a table", False),
        ("s:put('k', 1, {ttl = -1})", None, "Invalid", "ttl must be a non-negative number", False),
        ("s:put('k', 1, {if_version = 1})", None, "NotFound", "key not found", False),
        ("s:set('k', 1); s:put('k', 1, {if_version = 9})", None, "Conflict", "version mismatch", True),
        ("s:set('k', 1); s:put('k', 1, {only_if_absent = true})", None, "AlreadyExists", "key already exists", False),
        ("released():get('k')", None, "Invalid", "store is released", False),
        ("released():has('k')", False, "Invalid", "store is released", False),
        ("released():set('k', 1)", None, "Invalid", "store is released", False),
        ("released():list()", None, "Invalid", "store is released", False),
        ("released():info()", None, "Invalid", "store is released", False),
        ("store.get('')", None, "Invalid", "resource id is required", False),
        ("store.get('app:none')", None, "NotFound", "resource 'app:none' is not defined", False),
        ("store.get('app:other')", None, "Invalid", "resource is not a store: app:other", False),
    ],
)  # fmt: skip
async def test_what_it_refuses(call: str, first: Any, kind: str, message: str, retryable: bool) -> None:
    before, _, call = call.rpartition("; ")
    code = f"""
    local loop = {{}} loop.loop = loop
    local function fill() for i = 1, 3 do s:set('f' .. i, i) end end
    local function released() local r = store.get('app:s') r:release() return r end
    {before}
    local v, e = {call}
    return {{tostring(v), e:kind(), e:message(), e:retryable()}}
    """
    assert await in_store(code) == ["nil" if first is None else "false", kind, message, retryable]


async def test_a_store_whose_broker_is_away_is_unavailable() -> None:
    async def opened() -> Store:
        raise BrokerUnavailableError("the broker is unavailable")

    made = context()
    made.resources["app:s"] = HandlerStore("app:s", opened, "redis")
    code = "local s = store.get('app:s') local v, e = s:get('k') return {e:kind(), e:message(), e:retryable(), e:details().outcome}"
    assert await run(code, context=made) == ["Unavailable", "the broker is unavailable", True, "rejected"]


async def test_a_store_with_plain_methods_works() -> None:
    class Plain:
        set = has = delete = entry = list = put = info = staticmethod(lambda *args, **options: True)

        def get(self, key: str) -> str:
            return key * 2

    made = context()
    made.resources["app:s"] = Plain()
    assert await run("local s = store.get('app:s') s:set('k', 7) return s:get('k')", context=made) == "kk"


async def test_other_coroutines_run_while_a_store_works() -> None:
    made, reached = context(), asyncio.Event()
    driver = MemoryDriver("app:d")
    await driver.open()
    memory = driver.store("s")

    async def opened() -> Store:
        await reached.wait()
        await memory.open()
        return memory

    made.resources["app:s"] = HandlerStore("app:s", opened, "memory")
    made.functions["app:go"] = reached.set
    code = """
    local s, done = store.get('app:s'), channel.new(1)
    coroutine.spawn(function() done:send({s:set('k', 7), s:get('k')}) end)
    funcs.call('app:go')
    return (done:receive())
    """
    assert await run(code, context=made) == [True, 7]


@pytest.mark.parametrize(
    "value",
    [
        "{}", "{1, {}, {a = {}}}", "{{}}", "true", "false", "0", "-0.0", "1e300", "math.huge", "math.mininteger",
        "'\\0\\255\\n'", "'日本'", "{['\\1'] = 1}", "{a = {b = {c = {1, 2.5, 'x'}}}}",
    ],
)  # fmt: skip
async def test_values_come_back_as_they_went_in(value: str) -> None:
    code = f"""
    local function same(a, b)
      if type(a) ~= 'table' then return a == b and math.type(a) == math.type(b) and tostring(a) == tostring(b) end
      for k, v in pairs(a) do if not same(v, b[k]) then return false end end
      for k in pairs(b) do if a[k] == nil then return false end end
      return #a == #b
    end
    local value = {value}
    s:set('k', value)
    return {{same(value, s:get('k')), same(value, s:entry('k').value), same(value, s:put('k', value).value)}}
    """
    assert await in_store(code) == [True, True, True]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("store.get({})", "bad argument #1 to get (string expected, got table)"),
        ("s:get({})", "bad argument #1 to get (string expected, got table)"),
        ("s:set({}, 1)", "bad argument #1 to set (string expected, got table)"),
        ("s:set('k', 1, nil)", "bad argument #3 to set (number expected, got nil)"),
        ("s:set('k', 1, {})", "bad argument #3 to set (number expected, got table)"),
        ("s.get({}, 'k')", "store.Store expected"),
        ("s.info({})", "store.Store expected"),
        ("s.list(1)", "store.Store expected"),
        ("s.release(1)", "store.Store expected"),
        ("s.x = 1", "attempt to modify a store.Store"),
    ],
)
async def test_wrong_arguments_raise(code: str, message: str) -> None:
    with pytest.raises(LuaError) as raised:
        await in_store(code)
    assert str(raised.value) == f"script.lua:1: {message}"
