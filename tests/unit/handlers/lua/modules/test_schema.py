"""json.validate and json.validate_string: results, errors, and that no schema does harm."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from tasuki.handlers.lua.modules.data import schema
from tests.unit.handlers.lua.support import run

pytestmark = pytest.mark.anyio

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
