"""json: encode and decode."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.handlers.lua.support import run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("nil", "null"),
        ("", "null"),
        ("true", "true"),
        ("5", "5"),
        ("5.0", "5"),
        ("1e15", "1000000000000000"),
        ("0.1", "0.1"),
        ("1e-7", "1e-7"),
        ("1e-5", "0.00001"),
        ("1e21", "1e+21"),
        ("1.5e300", "1.5e+300"),
        ("{1e-7}", "[0.0000001]"),
        ("{1e22}", "[10000000000000000000000]"),
        ("2^63", "9223372036854776000"),
        ("0/0", "null"),
        ("{math.huge, -math.huge}", "[null,null]"),
        ("9007199254740993", "9007199254740993"),
        ("'<a>&\\u{2028}é'", '"\\u003ca\\u003e\\u0026\\u2028é"'),
        ("'\\255'", '"\ufffd"'),
        ("'a\\255b\\254'", '"a\ufffdb\ufffd"'),
        ("{}", "[]"),
        ("{1, {2}}", "[1,[2]]"),
        ("{a = {b = 1}}", '{"a":{"b":1}}'),
        ("{[0] = 1}", "{}"),
        ("{[true] = 1}", '{"true":1}'),
        ("{[1.5] = 1}", '{"1.5":1}'),
        ("errors.wrap(errors.new('m'), 'c')", '"c: m"'),
        ("{f = print}", '{"f":null}'),
        ("json.decode('{}')", "{}"),
        ("json.decode('[]')", "[]"),
        ("json.decode('[null]')", "[]"),
        ('json.decode(\'{"a":{},"b":[]}\').a', "{}"),
        ("setmetatable({1}, {__pairs = error, __len = error, __index = error})", "[1]"),
        ("(function() local t = {} return {t, t} end)()", "[[],[]]"),
    ],
)
async def test_encode(value: str, text: str) -> None:
    assert await run(f"return (json.encode({value}))") == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{1, nil, 3}", "cannot encode sparse array: non-contiguous numeric keys found"),
        ("{1, x = 2}", "cannot encode mixed-key table: table has both numeric and non-numeric keys"),
        ("(function() local t = {} t[1] = t return t end)()", "cannot encode recursively nested tables to JSON"),
        ("deep(130)", "exceeded maximum nesting depth for JSON encoding"),
    ],
)
async def test_encode_refuses(value: str, message: str) -> None:
    deep = "local function deep(n) local t = {} for i = 2, n do t = {t} end return t end"
    found = await run(
        f"{deep} local v, e = json.encode({value}) return {{v == nil, e:kind(), e:retryable(), e:message()}}"
    )
    prefix = "json: error calling MarshalJSON for type *json.jsonValue: "
    assert found == [True, "Internal", False, prefix + message]
    assert await run(f"{deep} return json.encode(deep(129)) ~= nil") is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None),
        ("5", 5),
        ("5.0", 5.0),
        ("1e2", 100.0),
        ('"é"', "é"),
        ('{"a": [1, {"b": null}]}', {"a": [1, []]}),
        ("[1, null, 3]", [1, None, 3]),
        ('  {"a": "x:y"}', {"a": "x:y"}),
        ('{"a": 1} trailing', {"a": 1}),
        ("9223372036854775808", 2**63 - 1),
        ("[-99999999999999999999]", [-(2**63)]),
        ("[1] [2]", [1]),
    ],
)
async def test_decode(text: str, expected: Any) -> None:
    assert await run("local v, e = json.decode(body) return v, e", text) == expected


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        ("json.decode()", "Invalid", "string expected"),
        ("json.decode(print)", "Invalid", "string expected"),
        ("json.decode(errors.new('x'))", "Invalid", "string expected"),
        ("json.decode('')", "Invalid", "empty string is not valid JSON"),
        ("json.decode('nope')", "Internal", "json: "),
        ("json.decode('{')", "Internal", "json: "),
        ("json.decode('NaN')", "Internal", "NaN is not valid JSON"),
        ("json.decode('\\255')", "Internal", "invalid UTF-8"),
        ('json.decode(\'{"a":1,"a":2}\')', "Internal", "duplicate object name"),
        ("json.decode(('['):rep(129) .. (']'):rep(129))", "Internal", "maximum nesting depth exceeded"),
        ("json.decode(('['):rep(129) .. (']'):rep(129) .. 'x')", "Internal", "maximum nesting depth exceeded"),
    ],
)
async def test_decode_refuses(call: str, kind: str, message: str) -> None:
    found = await run(f"local v, e = {call} return {{v == nil, e:kind(), e:message()}}")
    assert found[:2] == [True, kind]
    assert message in found[2]


async def test_what_is_decoded_already_comes_back_unchanged() -> None:
    code = "local v, e = json.decode(body) return rawequal(v, body) and e == nil"
    for body in ({"a": 1}, [1], 5, True, None):
        assert await run(code, body) is True


async def test_128_levels_are_decoded() -> None:
    text = "[" * 128 + "]" * 128
    assert await run("return json.encode(json.decode(body)) == body", text) is True


async def test_a_text_may_stand_for_250_000_parts_and_no_more() -> None:
    assert await run("return json.decode(body) ~= nil", "[" + "1," * 249_998 + "1]") is True
    code = "local v, e = json.decode(body) return {v == nil, e:kind(), e:message()}"
    told = [True, "Internal", "json: value has more than 250000 parts"]
    assert await run(code, "[" + "[]," * 250_000 + "1]") == told
    assert await run("return #json.decode(body)[1]", '["' + ",[{" * 500_000 + '\\""]') == 1_500_001
