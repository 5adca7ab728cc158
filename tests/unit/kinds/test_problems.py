from types import MappingProxyType

import pytest
from pydantic import Field, ValidationError

from tasuki.kinds.fields import Config, Duration, Flag, Text
from tasuki.kinds.problems import describe, problems_of
from tasuki.registry.entry import Entry
from tasuki.registry.scalars import Loose, Substituted


class InnerConfig(Config):
    """Inside."""

    wait: Duration = 1.0


class OuterConfig(Config):
    """Outside."""

    inner: dict[str, InnerConfig] = Field(default_factory=dict)
    listed: list[InnerConfig] = Field(default_factory=list)
    on: Flag = False
    name: Text = "x"


def found(data):
    with pytest.raises(ValidationError) as caught:
        OuterConfig.model_validate(data)
    return list(map(str, problems_of(caught.value, Entry("a:b", "k", data), OuterConfig)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("no", "the text 'no'"),
        ("x" * 61, f"the text '{'x' * 60}…'"),
        (Loose("010"), "the text '010'"),
        (Substituted("secret"), "the value of a placeholder"),
        (None, "nothing"),
        (True, "true"),
        (False, "false"),
        (4, "the number 4"),
        (1.5, "the number 1.5"),
        ([1], "a list"),
        ({}, "a mapping"),
        (MappingProxyType({}), "a mapping"),
        (object(), "something else"),
    ],
)
def test_values_are_described_as_their_author_knows_them(value, text):
    assert describe(value) == text


def test_near_fields_are_found_inside_mappings_and_lists():
    assert found({"inner": {"any": {"wiat": 1}}, "listed": [{"wayt": 1}]}) == [
        "a:b: unknown field 'inner.any.wiat'; did you mean 'wait'?",
        "a:b: unknown field 'listed.0.wayt'; did you mean 'wait'?",
    ]


def test_the_value_of_a_placeholder_is_never_shown():
    secret = Substituted("hunter2")
    texts = found({"inner": {"x": {"wait": secret}}, "on": secret, "listed": secret, "name": ""})
    assert texts == [
        "a:b: inner.x.wait: the value of a placeholder is not a duration; write it like 500ms, 30s or 1h30m",
        "a:b: listed: a list is wanted, not the value of a placeholder",
        "a:b: on: true or false is wanted, not the value of a placeholder",
        "a:b: name is empty",
    ]


def test_literals_hide_it_too(problems):
    text = "  - {name: d, kind: queue.driver.sqlite, synchronous: '${env:S}'}\n"
    assert problems(text, environ={"S": "hunter2"}) == [
        "3:42: app:d: synchronous: 'full' or 'normal' is wanted, not the value of a placeholder"
    ]
