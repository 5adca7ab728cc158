"""Fields that name a variable: its value goes where the plain field is, and never into an error."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.registry.entry import Entry
from tasuki.registry.overrides import Variables, filled
from tasuki.scalars import Substituted

VARIABLES = Variables(
    {"REGION": "eu-west-3"},
    {
        "app:id": Entry("app:id", "env.variable", {"variable": "KEY_ID", "default": "AKIA"}),
        "app:empty": Entry("app:empty", "env.variable", {"variable": "EMPTY"}),
        "app:kept": Entry("app:kept", "env.variable", {"storage": "app:file"}),
        "app:file": Entry("app:file", "env.storage.file", {"file_path": "x"}),
    },
)


def fill(data: dict[str, Any], kind: str = "config.aws") -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    problems: list[tuple[Any, ...]] = []
    result = filled(kind, "app", data, VARIABLES, lambda *problem: problems.append(problem))
    return dict(result), problems


@pytest.mark.parametrize(
    ("name", "value"), [("REGION", "eu-west-3"), ("KEY_ID", "AKIA"), ("id", "AKIA"), ("app:id", "AKIA")]
)
def test_a_variable_is_named_in_each_way_that_placeholders_know(name: str, value: str) -> None:
    data, problems = fill({"region_env": name, "region": "elsewhere"})
    assert (data, problems) == ({"region_env": name, "region": value}, [])
    assert type(data["region"]) is Substituted


def test_one_without_a_value_leaves_the_plain_field() -> None:
    assert fill({"region_env": "EMPTY", "region": "us-east-1"}) == ({"region_env": "EMPTY", "region": "us-east-1"}, [])
    assert fill({"region_env": "EMPTY"}) == ({"region_env": "EMPTY"}, [])
    assert fill({"region_env": "NONE", "region": "us-east-1"})[1] == []


def test_one_that_is_not_there_is_reported() -> None:
    assert fill({"region_env": "NONE"})[1] == [
        (("region_env",), "the variable 'NONE' is not set", "set the variable, or give region")
    ]
    (problem,) = fill({"region_env": Substituted("secret")})[1]
    assert "secret" not in str(problem)
    (problem,) = fill({"region_env": "kept"})[1]
    assert problem[:2] == (("region_env",), "variable 'app:kept' is stored in a file, which placeholders cannot read")


def test_nested_fields_and_those_of_other_kinds() -> None:
    data, problems = fill({"tls": {"ca_env": "REGION", "enabled": True}}, "queue.driver.amqp")
    assert (data, problems) == ({"tls": {"ca_env": "REGION", "enabled": True, "ca": "eu-west-3"}}, [])
    for kind, fields in (
        ("queue.driver.amqp", {"tls": None}),
        ("function.lua", {"region_env": "NONE"}),
        ("config.aws", {"region_env": 5}),
    ):
        assert fill(fields, kind) == (fields, [])
