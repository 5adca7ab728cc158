"""Assignments with the key nil: ignored where the key can be seen to be nil, refused by Lua where it cannot."""

from __future__ import annotations

import pytest

from tasuki.errors import HandlerError
from tasuki.handlers.lua.nil_keys import ignore_nil_keys
from tests.unit.handlers.lua.support import run

pytestmark = pytest.mark.anyio


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
