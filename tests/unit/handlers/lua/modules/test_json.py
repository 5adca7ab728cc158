"""json: encode and decode."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from tasuki.handlers.lua.modules.data import schema
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


TASK = '[[{"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": {"type": "string"}}, "mail": {"format": "email"}}}]]'


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (f"json.validate({TASK}, {{id = 1}})", True),
        (f"json.validate({TASK}, {{id = 1.0, tags = {{'a'}}, mail = 'none'}})", True),
        (f"json.validate({TASK}, {{id = 1, tags = {{}}}})", True),
        (f"json.validate({TASK}, {{id = 'x'}})", False),
        (f"json.validate({TASK}, {{}})", False),
        (f"json.validate({TASK}, {{1}})", False),
        ("json.validate({type = 'object'}, {})", True),
        ("json.validate({type = 'array'}, {})", False),
        ("json.validate({type = 'array', items = {type = 'array'}}, {{}})", True),
        ("json.validate({type = 'number', maximum = 5}, 4.5)", True),
        ("json.validate({type = 'integer'}, 4.5)", False),
        ("json.validate({type = 'number'}, 1e-9)", True),
        ("json.validate({type = 'boolean'}, false)", True),
        ("json.validate('true', 'x')", True),
        ("json.validate({enum = {'a', 'b'}}, 'c')", False),
        ("json.validate({pattern = '^a+$'}, 'aaa')", True),
        ("json.validate({prefixItems = {{type = 'string'}}}, {1})", False),
        (f"json.validate_string({TASK}, '{{\"id\": 1}}')", True),
        (f"json.validate_string({TASK}, '{{\"id\": 0}}')", False),
        ("json.validate_string({type = 'array'}, '[]')", True),
    ],
)  # fmt: skip
async def test_validate(call: str, expected: bool) -> None:
    assert await run(f"return ({call})") is expected
    assert await run(f"return select('#', {call})") == (1 if expected else 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("json.validate()", "schema is required"),
        ("json.validate(nil, 1)", "schema is required"),
        ("json.validate({})", "data is required"),
        ("json.validate(5, 1)", "schema must be a string or table"),
        ("json.validate(errors.new('x'), 1)", "schema must be a string or table"),
        ("json.validate_string()", "schema is required"),
        ("json.validate_string('{}')", "data must be a JSON string"),
        ("json.validate_string('{}', {})", "data must be a JSON string"),
        ("json.validate_string(5, '1')", "schema must be a string or table"),
        ("json.validate_string('{}', 'no')", "evaluation failed"),
        ("json.validate_string('{}', '\\255')", "evaluation failed"),
        ("json.validate({type = 'string'}, 1)", "evaluation failed"),
        ("json.validate('{', 1)", "Input data was truncated"),
        ("json.validate({type = 'odd'}, 1)", "the value is not valid under any of the schemas listed in the 'anyOf' keyword (at /type)"),
        ("json.validate('{}', {1, nil, 3})", "json: error calling MarshalJSON for type *json.jsonValue: cannot encode sparse array: non-contiguous numeric keys found"),
        ("local t = {} t.t = t json.validate('{}', t)", "json: error calling MarshalJSON for type *json.jsonValue: cannot encode recursively nested tables to JSON"),
    ],
)  # fmt: skip
async def test_errors(call: str, message: str) -> None:
    head, _, call = call.rpartition(" json.")
    call = f"json.{call}" if head else call
    code = f"{head} local v, e = {call} return {{v, e:kind(), e:message(), e:retryable()}}"
    found = await run(code)
    assert found == [False, "Invalid", message, False]


async def test_the_reasons_are_in_the_details_without_the_values() -> None:
    code = f"local _, e = json.validate({TASK}, {{id = 0, tags = {{'a', 77}}}}) return e:details()"
    found = await run(code)
    assert found["reasons"] == {
        "/id": "the value is less than the minimum of 1",
        "/tags/1": 'the value is not of type "string"',
    }
    assert found["reason"] == found["reasons"][found["path"]]


@pytest.mark.parametrize(
    "text",
    ['{"$ref": "http://127.0.0.1:9/x"}', '{"$ref": "file:///etc/passwd"}'],
)
async def test_nothing_is_fetched(text: str) -> None:
    code = "local ok, e = json.validate(body, 1) return {ok, e and e:kind(), e and e:message()}"
    ok, kind, message = await run(code, text)
    assert (ok, kind) == (False, "Invalid")
    assert "not read" in message
    assert await run("return json.validate({['$schema'] = 'http://127.0.0.1:9/y'}, 1)") is True


async def test_patterns_take_linear_time() -> None:
    assert await run("return (json.validate({pattern = '^(a+)+$'}, ('a'):rep(5000) .. 'b'))") is False
    code = "local ok, e = json.validate({pattern = '(a)\\\\1'}, 'aa') return {ok, e:kind()}"
    assert await run(code) == [False, "Invalid"]


async def test_a_reference_to_itself_ends() -> None:
    assert await run('return (json.validate([[{"$ref": "#"}]], 1)) ~= nil') is True


async def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name == "jsonschema_rs":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "jsonschema_rs", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    schema._compile.cache_clear()
    code = "local ok, e = json.validate('{}', 1) return {ok, e:kind(), e:message()}"
    message = "json.validate needs a package that is not installed; install tasuki[schema]"
    assert await run(code) == [False, "Internal", message]
