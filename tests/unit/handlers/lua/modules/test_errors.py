"""errors: error objects and their functions."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

from typing import Any

import pytest

from tasuki.errors import LuaError
from tests.unit.handlers.lua.support import run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "local e = errors.new('x') return {e:kind(), e:message(), e:retryable() == nil, e:details() == nil}",
            ["", "x", True, True],
        ),
        (
            "local e = errors.new({message = 'x', kind = 'K', retryable = false}) return {e:kind(), e:retryable()}",
            ["K", False],
        ),
        ("return errors.new('TIMEOUT', 'text'):message()", "TIMEOUT"),
        (
            "local e = errors.new({message = 'x', kind = 1, retryable = 'y', details = 5}) return {e:kind(), e:retryable() == nil}",
            ["", True],
        ),
        (
            "return errors.new({message = 'x', details = {a = 1, b = {c = true, 7}, [1] = 2, d = print}}):details().b",
            {"c": True},
        ),
        ("return errors.new({message = 'x', details = {1, 2}}):details() == nil", True),
        ("return errors.new({message = 'x', details = {l = {1}}}):details().l", []),
        ("return errors.new({message = 'x', details = {e = errors.new('in')}}):details().e", "in"),
        ("local e = errors.new({message = 'x', details = {a = 1}}) e:details().a = 2 return e:details().a", 1),
        (
            "local e = errors.new('x') return {type(e), tostring(e), e .. '!', '!' .. e, e .. e, 1 .. e}",
            ["userdata", "x", "x!", "!x", "xx", "1x"],
        ),
        ("return errors.new('x') == errors.new('x')", False),
        ("return errors.is(errors.new({message = 'x', kind = 'A'}), 'A')", True),
        (
            "return {errors.is(nil, 'A'), errors.is('A', 'A'), errors.is({}, 'A'), errors.is(errors.new('x'), '')}",
            [False, False, False, True],
        ),
        ("local ok, e = pcall(error, errors.new('x')) return {type(e), e:message()}", ["userdata", "x"]),
        ("return {errors.NOT_FOUND, errors.RATE_LIMITED, errors.UNKNOWN}", ["NotFound", "RateLimited", ""]),
        ("local m = errors.new('x').kind return {m('no'), errors.new('x').message({})}", ["", ""]),
        ("local e = errors.new('x') return {e.retryable(1) == nil, e.details(1) == nil, e.stack(1)}", [True, True, ""]),
        ("return errors.call_stack('x') == nil", True),
        (
            "local s = errors.call_stack(errors.new('x')) return {s.thread, s.frames[1].source, s.frames[1].line, s.frames[1].level}",
            ["main", "script.lua", 1, 0],
        ),
        ("return errors.new('x'):stack():find('script.lua:1', 1, true) ~= nil", True),
    ],
)
async def test_what_they_do(code: str, expected: Any) -> None:
    assert await run(code) == expected


async def test_wrap_moves_the_context_into_the_message_when_wrapped_again() -> None:
    code = """
    local inner = errors.new({message = 'disk', kind = 'Unavailable', retryable = true, details = {a = 1}})
    local once = errors.wrap(inner, 'save')
    local twice = errors.wrap(once, errors.new('order'))
    return {tostring(once), once:stack():match('^(.-)\\n'), tostring(twice), twice:kind(), twice:retryable(),
            twice:details(), errors.wrap('text', 'c'):kind(), json.encode(once), tostring(errors.wrap(errors.wrap('t', ''), 'c'))}
    """
    assert await run(code) == [
        "disk", "save", "save: disk", "Unavailable", True, {"a": 1}, "", '"save: disk"', "t",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("errors.new(5)", "expected string or table"),
        ("errors.new(errors.new('x'))", "expected string or table"),
        ("errors.new({})", "message field is required"),
        ("errors.new({message = 5})", "message must be a string"),
        ("errors.wrap(5, 'x')", "expected string or error object"),
        ("errors.wrap('x', 5)", "bad argument #2 to wrap (expected string or error object)"),
        ("errors.wrap('x')", "value expected"),
        ("errors.is()", "bad argument #2 to is"),
        ("errors.is(1, 2)", "string expected"),
        ("return #errors.new('x')", "attempt to get length of a userdata value"),
        ("return errors.new('x') .. {}", "attempt to concatenate a table value"),
        ("return errors.new('x') < errors.new('y')", "attempt to compare two"),
        ("return errors.new('x'):nothing()", "attempt to call a nil value"),
    ],
)
async def test_what_they_refuse(code: str, message: str) -> None:
    with pytest.raises(LuaError) as raised:
        await run(code)
    assert message in str(raised.value)
    assert str(raised.value).startswith("script.lua:1:")


async def test_deep_details_are_cut() -> None:
    code = "local d = {} local t = d for i = 1, 60 do t.a = {} t = t.a end return errors.new({message = 'x', details = d}):details()"
    assert "..." in str(await run(code))
