from collections.abc import Sequence
from typing import Any

from tasuki.security.actor import Actor, Request
from tasuki.security.condition import parse_condition
from tasuki.security.expressions.expression import parse_expression
from tasuki.security.policy import Effect, Finding, Policy, Scope, parse_pattern, ruling_of


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


def request(action: str = "queue.publish", resource: str = "app:tasks", **meta: object) -> Request:
    return Request(Actor("me", {"role": "admin"}), action, resource, meta)


def test_actions_and_resources_must_both_be_meant() -> None:
    one = policy(actions="queue.publish store.*", resources="app:* other:x")
    assert one.judge(request()).ruling == "allow"
    assert one.judge(request("store.get", "other:x")).ruling == "allow"
    assert one.judge(request("env.get")) == Finding("app:p", "undefined", "its actions do not match")
    assert one.judge(request(resource="x")) == Finding("app:p", "undefined", "its resources do not match")


def test_all_conditions_must_hold() -> None:
    one = policy("deny", conditions=[("actor.meta.role", "eq", "admin"), ("meta.size", "gt", 3)])
    assert one.judge(request(size=4)) == Finding("app:p", "deny", "its conditions hold")
    assert one.judge(request(size=3)).why == "the condition does not hold: meta.size gt 3"
    found = one.judge(request(size="big"))
    assert found == Finding(
        "app:p", "undefined", "the condition does not hold: meta.size gt 3 (only numbers can be compared by size)"
    )


def test_an_expression_must_hold() -> None:
    one = policy(expression="meta.ok == true")
    assert one.judge(request(ok=True)).ruling == "allow"
    assert one.judge(request(ok=1)).why == "its expression does not hold"
    one = policy(expression="meta.ok")
    assert one.judge(request()).why == "its expression does not hold (expected true or false, not nothing)"


def test_without_conditions_it_speaks_at_once() -> None:
    assert policy("deny").judge(request()) == Finding("app:p", "deny", "it has no conditions")


def test_any_deny_denies_else_one_allow_allows_else_nothing_is_said() -> None:
    allow, deny, silent = policy(id="a"), policy("deny", id="d"), policy(actions="x", id="s")
    assert Scope().evaluate(request()) == "undefined"
    assert Scope([silent]).evaluate(request()) == "undefined"
    assert Scope([silent, allow]).evaluate(request()) == "allow"
    assert Scope([allow, silent, deny]).evaluate(request()) == "deny"
    assert ruling_of(Scope([silent, allow, policy(id="b")]).judge(request())).policy == "a"
    assert ruling_of([]) == Finding("", "undefined", "no policy allows it")


def test_a_scope_has_one_policy_an_id() -> None:
    one, two = policy(id="1"), policy("deny", id="2")
    assert Scope([one, two]).policies == (one, two)
    again = policy("deny", id="1")
    assert Scope([one, two, again]).policies == (again, two)
