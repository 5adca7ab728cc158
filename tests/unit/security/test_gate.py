import pytest

from tasuki.security.actor import Actor
from tasuki.security.guard import Decision, decide, decide_publish
from tasuki.security.policy import Policy, Scope
from tests.unit.security.test_policy import policy

ME = Actor("me")


@pytest.mark.parametrize(("actor", "scope"), [(None, None), (ME, None), (None, Scope([policy()]))])
def test_without_actor_and_scope_everything_is_allowed_unless_strict(actor: Actor | None, scope: Scope | None) -> None:
    assert decide(actor, scope, "a", "r") == Decision(True, "", "there is no actor, and security is not strict")
    assert decide(actor, scope, "a", "r", strict=True) == Decision(
        False, "", "there is no actor, and security is strict"
    )


@pytest.mark.parametrize("strict", [False, True])
def test_with_both_the_scope_must_say_allow(strict: bool) -> None:
    assert not decide(ME, Scope(), "a", "r", strict=strict).allowed
    assert decide(ME, Scope([policy()]), "a", "r", strict=strict).allowed
    denied = decide(ME, Scope([policy(), policy("deny", id="no")]), "a", "r", strict=strict)
    assert denied == Decision(False, "no", "it has no conditions", is_denied=True)


def test_meta_reaches_the_policies() -> None:
    scope = Scope([policy(conditions=[("meta.key", "eq", "k")])])
    assert decide(ME, scope, "a", "r", {"key": "k"}).allowed
    assert not decide(ME, scope, "a", "r").allowed


def may_publish(queue: str, *policies: Policy, strict: bool = False) -> bool:
    return decide_publish(ME, Scope(policies), queue, strict=strict).allowed


@pytest.mark.parametrize("actions", ["*", "queue.*", "queue.publish.*", "queue.publish*", "queue.publish.queue"])
def test_one_policy_on_queues_covers_both_permissions_of_a_publish(actions: str) -> None:
    one = policy(actions=actions, resources="app.queue:*")
    assert may_publish("app.queue:tasks", one)
    assert not may_publish("app.other:tasks", one)


def test_the_general_permission_alone_is_not_enough() -> None:
    assert not may_publish("app:q", policy(actions="queue.publish"))
    assert may_publish(
        "app:q",
        policy(actions="queue.publish", id="1"),
        policy(actions="queue.publish.queue", resources="app:q", id="2"),
    )


@pytest.mark.parametrize(
    ("actions", "resources"),
    [("queue.publish", "*"), ("queue.publish", "app:q"), ("queue.publish.queue", "app:q"), ("*", "app:*")],
)
def test_a_deny_on_either_permission_denies(actions: str, resources: str) -> None:
    assert not may_publish("app:q", policy(), policy("deny", actions, resources, id="no"))


def test_nobody() -> None:
    assert decide_publish(None, None, "app:q").allowed
    assert not decide_publish(None, None, "app:q", strict=True).allowed
