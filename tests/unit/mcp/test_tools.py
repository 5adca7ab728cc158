"""What a client gives is checked, and the error names the argument."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasuki.mcp.tools import ACTING, READING, read, schema_of

TAKEN: dict[str, Any] = {tool.name: tool.arguments for tool in (*READING, *ACTING)}


@pytest.mark.parametrize(
    ("given", "tool", "told"),
    [
        ({"limit": "a"}, "list_queues", "argument limit: Expected `int`, got `str`"),
        ({"q": "x" * 201}, "list_queues", "argument q: Expected `str` of length <= 200"),
        ({}, "list_messages", "argument queue is missing; the arguments are: queue, limit, cursor, state"),
        ({"queue": "a", "state": "dead"}, "list_messages", "argument state: Invalid enum value 'dead'"),
        (
            {"queue": "a", "quee\u202e": 1},
            "list_messages",
            r"argument quee\u202e is not known; the arguments are: queue",
        ),
        ({"x": 1}, "overview", "argument x is not known; the arguments are: none"),
        ({"queue": "a", "ids": ["b", 3]}, "redrive", "argument ids[1]: Expected `str`, got `int`"),
        ({"queue": "a", "dry": "false"}, "redrive", "argument dry: Expected `bool`, got `str`"),
        ({"queue": "a", "rate": float("inf")}, "redrive", "argument rate: "),
        (
            {"kind": "queue", "id": "x" * 70_000},
            "pause",
            "the arguments have 70024 bytes, and may have 65536; the longest",
        ),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, Any], tool: str, told: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its text is what matters
        read(given, TAKEN[tool])
    assert told in str(error.value)
    assert len(str(error.value)) < 600


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        read({"q": deep}, TAKEN["list_queues"])


def test_every_schema_is_one_object_that_refuses_other_arguments() -> None:
    for tool in (*READING, *ACTING):
        schema = schema_of(tool.arguments)
        assert (schema["type"], schema["additionalProperties"]) == ("object", False), tool.name
        assert "$ref" not in json.dumps(schema), tool.name
