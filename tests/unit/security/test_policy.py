from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.errors import HandlerError
from tasuki.security.actor import Actor, PolicyRequest, read_actor
from tasuki.security.condition import parse_condition
from tasuki.security.expression import parse_expression
from tasuki.security.policy import MAX_LENGTH, Effect, Policy, PolicyFinding, Scope, parse_pattern, ruling_of


def policy(
    effect: Effect = "allow",
    actions: str = "*",
    resources: str = "*",
    id: str = "app:p",
    conditions: Sequence[tuple[Any, ...]] = (),
    expression: str | None = None,
) -> Policy:
    return Policy(
        id,
        tuple(map(parse_pattern, actions.split())),
        tuple(map(parse_pattern, resources.split())),
        effect,
        tuple(parse_condition(*condition) for condition in conditions),
        parse_expression(expression) if expression else None,
    )


def request(action: str = "queue.publish", resource: str = "app:tasks", **meta: object) -> PolicyRequest:
    return PolicyRequest(Actor("me", {"role": "admin"}), action, resource, meta)


def test_actions_and_resources_must_both_be_meant() -> None:
    one = policy(actions="queue.publish store.*", resources="app:* other:x")
    assert one.judge(request()).ruling == "allow"
    assert one.judge(request("store.get", "other:x")).ruling == "allow"
    assert one.judge(request("env.get")) == PolicyFinding("app:p", "undefined", "its actions do not match")
    assert one.judge(request(resource="x")) == PolicyFinding("app:p", "undefined", "its resources do not match")


def test_all_conditions_must_hold() -> None:
    one = policy("deny", conditions=[("actor.meta.role", "eq", "admin"), ("meta.size", "gt", 3)])
    assert one.judge(request(size=4)) == PolicyFinding("app:p", "deny", "its conditions hold")
    assert one.judge(request(size=3)).why == "the condition does not hold: meta.size gt 3"
    found = one.judge(request(size="big"))
    assert found == PolicyFinding(
        "app:p", "undefined", "the condition does not hold: meta.size gt 3 (only numbers can be compared by size)"
    )


def test_an_expression_must_hold() -> None:
    one = policy(expression="meta.ok == true")
    assert one.judge(request(ok=True)).ruling == "allow"
    assert one.judge(request(ok=1)).why == "its expression does not hold"
    one = policy(expression="meta.ok")
    assert one.judge(request()).why == "its expression does not hold (expected true or false, not nothing)"


def test_without_conditions_it_speaks_at_once() -> None:
    assert policy("deny").judge(request()) == PolicyFinding("app:p", "deny", "it has no conditions")


def test_any_deny_denies_else_one_allow_allows_else_nothing_is_said() -> None:
    allow, deny, silent = policy(id="a"), policy("deny", id="d"), policy(actions="x", id="s")
    assert Scope().evaluate(request()) == "undefined"
    assert Scope([silent]).evaluate(request()) == "undefined"
    assert Scope([silent, allow]).evaluate(request()) == "allow"
    assert Scope([allow, silent, deny]).evaluate(request()) == "deny"
    assert ruling_of(Scope([silent, allow, policy(id="b")]).judge(request())).policy == "a"
    assert ruling_of([]) == PolicyFinding("", "undefined", "no policy allows it")


def test_a_scope_has_one_policy_an_id() -> None:
    one, two = policy(id="1"), policy("deny", id="2")
    assert Scope([one, two]).policies == (one, two)
    again = policy("deny", id="1")
    assert Scope([one, two, again]).policies == (again, two)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["", "a", "app:tasks"], []),
        ("app:tasks", ["app:tasks"], ["", "app:task", "app:tasks2", "xapp:tasks"]),
        ("app:*", ["app:", "app:tasks"], ["app", "xapp:tasks"]),
        ("queue.*", ["queue", "queue.publish", "queuex"], ["que", "a.queue"]),
        (".*", [".", ".x"], ["", "x"]),
        ("*.read", [".read", "doc.read"], ["read", "doc.reads"]),
        ("*mail*", ["mail", "app:mails", "x.mail"], ["mai", ""]),
        ("*.queue.*", [".queue", "a.queue.b", "x.queues"], ["queue"]),
        ("**", ["", "anything"], []),
        ("*.*", ["", "a.b", "ab"], []),
    ],
)
def test_what_patterns_match(pattern: str, yes: list[str], no: list[Any] | list[str]) -> None:
    parsed = parse_pattern(pattern)
    assert [value for value in yes if not parsed.matches(value)] == []
    assert [value for value in no if parsed.matches(value)] == []


@pytest.mark.parametrize(
    "trick",
    [
        "app:tasks\n",
        "APP:tasks",
        "app:Tasks",
        " app:tasks",
        "app:tasks/../x",
        "app:tasks.",
        "app:t\u0430sks",
        "app:tasks\u200b",
        "app:*",
        "app:tas\x00ks",
        "app:tasks" * 1200,
        "\uff41pp:tasks",
    ],
)
def test_an_exact_pattern_is_exact(trick: str) -> None:
    assert not parse_pattern("app:tasks").matches(trick)


def test_a_star_in_a_value_is_a_character() -> None:
    assert parse_pattern("app:*").matches("app:*")
    assert not parse_pattern("app:tasks").matches("*")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "a pattern is empty"),
        ("a*b", "'a*b' has a wildcard in the middle; put '*' at the start or at the end"),
        ("***", "has a wildcard in the middle"),
        ("a" * (MAX_LENGTH + 1), "a pattern has 1001 characters; at most 1000 are allowed"),
    ],
)
def test_what_is_no_pattern(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("*", r"\*").replace("(", r"\(")):
        parse_pattern(pattern)


def test_matching_takes_time_in_proportion() -> None:
    pattern, value = parse_pattern("*" + "a" * 500 + "b" + "*"), "a" * 1_000_000
    start = time.thread_time()
    assert not pattern.matches(value)
    assert time.thread_time() - start < 1


def test_an_actor_of_plain_data() -> None:
    assert read_actor({"id": "me"}) == Actor("me", {})
    assert read_actor({"id": "me", "meta": None}) == Actor("me", {})
    assert read_actor({"id": "me", "meta": {"team": "blue"}, "more": 1}) == Actor("me", {"team": "blue"})


@pytest.mark.parametrize(
    "value",
    [
        {}, {"id": None}, {"id": 1}, {"id": b"me"}, {"id": ["me"]}, "me", ["me"], 5, Actor("me"),
        {"id": "me", "meta": "blue"}, {"id": "me", "meta": ["team"]}, {"id": "me", "meta": {1: "blue"}},
    ],
)  # fmt: skip
def test_anything_else_is_invalid(value: Any) -> None:
    with pytest.raises(HandlerError) as caught:
        read_actor(value)
    assert (caught.value.kind, caught.value.retryable) == ("Invalid", False)
