import inspect
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from tasuki.fields.types import Config, Count, Duration, Flag, Text
from tasuki.kinds.problems import problems_of
from tasuki.kinds.schema import docstrings
from tasuki.registry.entry import Entry, describe
from tasuki.scalars import Loose, Substituted
from tests.unit.kinds.conftest import Problems


class InnerConfig(Config):
    """Inside."""

    wait: Duration = 1.0


class NeedyConfig(InnerConfig):
    """Inside, too."""

    needed: Text
    """What it cannot do without. And more about it."""


class OuterConfig(Config):
    """Outside."""

    other_names: ClassVar = {"called": "did you mean 'name'?"}

    one: NeedyConfig | None = None
    count: Count = 0
    inner: dict[str, InnerConfig] = Field(default_factory=dict)
    listed: list[InnerConfig] = Field(default_factory=list)
    on: Flag = False
    name: Text = "x"


def found(data: dict[str, Any]) -> list[str]:
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
        (object(), "an object of type object"),
        (ValueError, "the class ValueError"),
    ],
)
def test_values_are_described_as_their_author_knows_them(value: object, text: str) -> None:
    assert describe(value) == text


def test_near_fields_are_found_inside_mappings_and_lists() -> None:
    assert found({"inner": {"any": {"wiat": 1}}, "listed": [{"wayt": 1}]}) == [
        "a:b: unknown field 'inner.any.wiat'; did you mean 'wait'?",
        "a:b: unknown field 'listed.0.wayt'; did you mean 'wait'?",
    ]


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        ({"on": "yes"}, "write true"),
        ({"on": "OFF"}, "write false"),
        ({"on": "true"}, "write it without quotes"),
        ({"on": "maybe"}, ""),
        ({"count": "4"}, "write it without quotes"),
        ({"count": "four"}, ""),
        ({"count": "${COUNT}"}, "a placeholder is written ${env:NAME}"),
        ({"count": "$COUNT"}, "a placeholder is written ${env:NAME}"),
        ({"listed": "one"}, "put it in brackets: [one, two]"),
        ({"one": True}, "its fields are: wait, needed"),
        ({"one": {}}, "needed: what it cannot do without"),
        ({"one": {"wait": 1, "needed": "x", "want": 1}}, "did you mean 'wait'?"),
        ({"called": 1}, "did you mean 'name'?"),
    ],
)
def test_a_remedy_is_named_where_one_is_likely(data: dict[str, Any], remedy: str) -> None:
    [problem] = found(data)
    assert problem.partition("; ")[2] == remedy


def test_the_value_of_a_placeholder_is_never_shown() -> None:
    secret = Substituted("hunter2")
    texts = found({"inner": {"x": {"wait": secret}}, "on": secret, "listed": secret, "name": ""})
    assert texts == [
        "a:b: inner.x.wait: the value of a placeholder is not a duration; write it like 500ms, 30s or 1h30m",
        "a:b: listed must be a list, not the value of a placeholder",
        "a:b: on must be true or false, not the value of a placeholder",
        "a:b: name is empty",
    ]


def test_literals_hide_it_too(problems: Problems) -> None:
    text = "  - {name: d, kind: queue.driver.sqlite, synchronous: '${env:S}'}\n"
    assert problems(text, environ={"S": "hunter2"}) == [
        "3:42: app:d: synchronous must be 'full' or 'normal', not the value of a placeholder"
    ]


@pytest.mark.parametrize(
    "entry",
    [
        "kind: queue.driver.redis, url: '${env:GONE}', addrs: a",
        "kind: queue.driver.redis, connect_timeout: '${env:GONE}'",
        "kind: queue.driver.amqp, auth_mechanism: '${env:GONE}'",
        "kind: queue.driver.redis, tls: {ca: x, enabled: '${env:GONE}'}",
        "kind: queue.driver.nats, servers: ['nats://a', '${env:GONE}']",
        "kind: queue.queue, driver: '${env:GONE}'",
        "kind: queue.queue, driver: m, queue_name: '${env:GONE}'",
        "kind: queue.queue, driver: m, options: {max_length: '${env:GONE}'}",
        "kind: queue.queue, driver: m, driver_options: {memory: {max_length: '${env:GONE}'}}",
        "kind: queue.queue, driver: m, driver_options: {redis: {max_length: '${env:GONE}'}}",
        "kind: queue.queue, driver: m, dead_letter: '${env:GONE}'",
        "kind: queue.queue, driver: m, dead_letter: {queue: '${env:GONE}'}",
        "kind: queue.queue, driver: m, signing: {keys: [{id: a, secret: '${env:GONE}'}]}",
        "kind: queue.consumer, queue: q, func: '${env:GONE}'",
        "kind: queue.consumer, queue: q, func: f, lifecycle: {security: {actor: {id: a}, groups: ['${env:GONE}']}}",
        "kind: function.lua, source: '${env:GONE}'",
        "kind: function.lua, source: 'file://gone.lua'",
        "kind: function.python, source: 'file://gone.py', method: x",
        "kind: function.python, target: '${env:GONE}'",
        "kind: security.policy, groups: [g], policy: {actions: '${env:GONE}', resources: a, effect: allow}",
    ],
)
def test_a_value_that_cannot_be_read_is_one_problem(problems: Problems, entry: str) -> None:
    text = f"""\
  - {{name: m, kind: queue.driver.memory}}
  - {{name: q, kind: queue.queue, driver: m}}
  - {{name: f, kind: function.lua, source: 'return print'}}
  - name: c
    kind: queue.consumer
    queue: q
    func: f
    lifecycle: {{security: {{actor: {{id: a}}, groups: [g]}}}}
  - {{name: p, kind: security.policy, groups: [{"" if "groups: [g]" in entry else "g"}],
     policy: {{actions: a, resources: a, effect: allow}}}}
  - {{name: e, {entry}}}
"""
    (found,) = problems(text)
    assert "'GONE' is not set" in found or "does not exist" in found


def test_other_mistakes_of_the_entry_are_told_beside_it(problems: Problems) -> None:
    assert len(problems("  - {name: e, kind: queue.driver.redis, url: '${env:GONE}', db: x, clint: y}\n")) == 3


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("store.sql", "known are: store.memory, store.nats, store.postgres, store.redis, store.sqlite"),
        ("function.js", "known are: function.lua, function.python"),
        ("queue.consumr", "did you mean 'queue.consumer'?"),
        (
            "env.storage.redis",
            "known are: env.storage.file, env.storage.memory, env.storage.os, env.storage.router, "
            "env.storage.static, env.variable",
        ),
    ],
)
def test_the_hint_for_an_unknown_kind_stays_in_its_family(problems: Problems, kind: str, hint: str) -> None:
    (found,) = problems(f"  - {{name: e, kind: {kind}}}\n")
    assert found.endswith(f"is not known; {hint}")


def test_many_mistakes_read_a_source_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    getsource = inspect.getsource

    def counted(model: type) -> str:
        reads.append(model)
        return getsource(model)

    monkeypatch.setattr(inspect, "getsource", counted)
    docstrings.cache_clear()
    for _ in range(20):
        assert found({"one": {}})
    assert len(reads) == len(set(reads)) > 0
