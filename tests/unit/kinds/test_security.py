import pytest

from tasuki.errors import HandlerError
from tasuki.kinds.check.rights import Rights
from tasuki.kinds.entries.security import PolicyConfig, SecurityConfig
from tasuki.security.actor import Actor, PolicyRequest
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make, Problems

WIPPY = """\
  - name: admin_policy
    kind: security.policy
    meta: {comment: "Global admin access"}
    policy:
      actions: "*"
      resources: "*"
      effect: "allow"
      conditions:
        - field: "actor.meta.role"
          operator: "eq"
          value: "admin"
    groups: ["admin"]
  - name: readonly
    kind: security.policy
    policy: {actions: ["*.read", "*.get"], resources: "*", effect: allow}
    groups: [default, "other:group"]
  - name: owner
    kind: security.policy
    policy:
      actions: [read, write]
      resources: "document:*"
      effect: allow
      conditions:
        - {field: meta.owner, operator: eq, value_from: actor.id}
    groups:
      - default
  - name: flexible
    kind: security.policy.expr
    policy:
      actions: [read, write]
      resources: "file:*"
      effect: allow
      expression: |
        (actor.meta.role == "editor" && action == "write") ||
        (action == "read" && meta.public == true) ||
        actor.id == meta.owner
    groups: [editors]
"""


def test_policies_as_wippy_writes_them(project: Make) -> None:
    rights = Rights(project(WIPPY))
    assert list(rights.policies) == ["app:admin_policy", "app:readonly", "app:owner", "app:flexible"]
    assert {group: [one.id for one in scope.policies] for group, scope in rights.groups.items()} == {
        "app:admin": ["app:admin_policy"],
        "app:default": ["app:readonly", "app:owner"],
        "other:group": ["app:readonly"],
        "app:editors": ["app:flexible"],
    }
    me = Actor("me", {"role": "admin"})
    assert rights.policies["app:admin_policy"].judge(PolicyRequest(me, "x", "y")).ruling == "allow"
    assert (
        rights.policies["app:owner"].judge(PolicyRequest(me, "read", "document:1", {"owner": "me"})).ruling == "allow"
    )
    assert (
        rights.policies["app:flexible"].judge(PolicyRequest(me, "read", "file:1", {"public": True})).ruling == "allow"
    )
    assert (rights.application, rights.strict) == (None, False)


CONSUMER = """\
  - {name: d, kind: queue.driver.memory}
  - {name: q, kind: queue.queue, driver: d}
  - {name: f, kind: function.lua, source: "return print"}
  - {name: c, kind: queue.consumer, queue: q, func: f, lifecycle: {LIFECYCLE}}
  - {name: p, kind: security.policy, policy: {actions: "*", resources: "*", effect: allow}, groups: [g]}
"""


def test_the_guards_of_consumers(project: Make) -> None:
    rights = Rights(project(CONSUMER.replace("{LIFECYCLE}", "{}")))
    assert rights.consumer("app:c") is None
    text = "{security: {actor: {id: me, meta: {n: 010}}, groups: [g], policies: [p]}}"
    guard = present(Rights(project(CONSUMER.replace("{LIFECYCLE}", text))).consumer("app:c"))
    actor = present(guard.actor)
    assert (actor.id, actor.meta, guard.strict) == ("me", {"n": "010"}, False)
    assert [policy.id for policy in present(guard.scope).policies] == ["app:p"]
    text = "{security: {actor: {id: me}}}"
    guard = present(Rights(project(CONSUMER.replace("{LIFECYCLE}", text))).consumer("app:c"))
    assert present(guard.scope).policies == ()
    assert not guard.decide("queue.consume.queue", "app:q").allowed


def test_strictness(project: Make) -> None:
    text = CONSUMER.replace("{LIFECYCLE}", "{}") + "  - {name: s, kind: security.config, strict: true}\n"
    rights = Rights(project(text))
    assert rights.strict
    for guard in map(present, (rights.application, rights.consumer("app:c"))):
        assert (guard.actor, guard.scope, guard.strict) == (None, None, True)
    text = text.replace("strict: true", "application: {actor: {id: web}, groups: [g]}")
    guard = present(Rights(project(text)).application)
    assert (guard.actor, guard.strict) == (Actor("web"), False)
    checked = project(text, overrides=("app:s:strict=true",))
    assert checked.of(SecurityConfig)["app:s"].strict
    assert len(checked.of(PolicyConfig)) == 1


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("{actions: [], resources: '*', effect: allow}", "policy.actions: "),
        ("{actions: '', resources: '*', effect: allow}", "policy.actions.0: a pattern is empty"),
        ("{actions: 5, resources: '*', effect: allow}", "policy.actions must be a list, not the number 5"),
        ("{resources: '*', effect: allow}", "the field 'policy.actions' is missing"),
        ("{actions: '*', resources: 'a*b', effect: allow}", "policy.resources.0: 'a*b' has a wildcard in the middle"),
        ("{actions: '*', resources: '*', effect: maybe}", "policy.effect must be 'allow' or 'deny'"),
        (
            "{actions: '*', resources: '*', effect: deny, conditions: [{field: actor.nam, operator: eq, value: 1}]}",
            "policy.conditions.0: 'actor.nam' is not a field",
        ),
        (
            "{actions: '*', resources: x, effect: deny, conditions: [{field: action, operator: matches, value: '('}]}",
            "policy.conditions.0: '(' cannot be used as a regular expression: unclosed group",
        ),
        (
            "{actions: '*', resources: '*', effect: deny, conditions: [{field: action}]}",
            "the field 'policy.conditions.0.operator' is missing",
        ),
        (
            "{actions: '*', resources: '*', effect: deny, expression: 'true'}",
            "unknown field 'policy.expression'",
        ),
    ],
)
def test_mistakes_in_policies(problems: Problems, policy: str, problem: str) -> None:
    [text] = problems(f"  - {{name: p, kind: security.policy, policy: {policy}}}\n")
    assert text.partition("app:p: ")[2].startswith(problem)


def test_a_mistake_in_an_expression_has_its_place(problems: Problems) -> None:
    policy = """\
  - name: p
    kind: security.policy.expr
    policy:
      actions: "*"
      resources: "*"
      effect: deny
      expression: |
        action == "x" &&
          roel == "admin"
"""
    [text] = problems(policy)
    assert text == (
        "9:7: app:p: policy.expression: 'roel' is not known; there are actor, action, resource and meta "
        "(at line 2, column 3 of the expression)"
    )


@pytest.mark.parametrize(
    ("security", "problem"),
    [
        ("{}", "the field 'lifecycle.security.actor' is missing"),
        ("{actor: {id: ''}}", "lifecycle.security.actor.id is empty"),
        ("{actor: {id: x}, groups: [h]}", "consumer 'app:c' names the group 'app:h', but no policy is in it"),
        ("{actor: {id: x}, policies: [o:p]}", "consumer 'app:c' refers to policy 'o:p', which is not defined"),
        ("{actor: {id: x}, policies: [q]}", "consumer 'app:c' refers to policy 'app:q', which is a queue.queue"),
        ("{actor: {id: x}, groups: g}", "lifecycle.security.groups must be a list"),
        ("{actor: {id: x}, policy: [p]}", "unknown field 'lifecycle.security.policy'; did you mean 'policies'?"),
    ],
)
def test_mistakes_in_the_identity_of_a_consumer(problems: Problems, security: str, problem: str) -> None:
    [text] = problems(CONSUMER.replace("{LIFECYCLE}", f"{{security: {security}}}"))
    assert text.partition("app:c: ")[2].startswith(problem)


def test_a_project_is_strict_or_not_once(problems: Problems) -> None:
    text = "  - {name: a, kind: security.config}\n  - {name: b, kind: security.config, strict: true}\n"
    [text] = problems(text)
    assert text == "4:15: app:b: a project has at most one security.config, and 'app:a' is the first"


def test_groups_of_the_application_are_checked_too(problems: Problems) -> None:
    [text] = problems("  - {name: a, kind: security.config, application: {actor: {id: x}, groups: [g]}}\n")
    assert "config 'app:a' names the group 'app:g', but no policy is in it" in text


ONE = """\
  - name: one
    kind: security.policy
    policy: {actions: "*", resources: "*", effect: allow}
"""


def test_somebody_else_has_what_is_given_and_else_what_the_caller_has(project: Make) -> None:
    text = CONSUMER.replace("{LIFECYCLE}", "{security: {actor: {id: me, meta: {a: 1}}, policies: [one]}}")
    rights = Rights(project(text + ONE))
    mine = present(rights.consumer("app:c"))
    other = rights.other(mine, {"id": "you"}, None)
    assert (present(other.actor).id, present(other.actor).meta, other.scope) == ("you", {}, mine.scope)
    narrow = rights.other(mine, None, [])
    assert (narrow.actor, present(narrow.scope).policies) == (mine.actor, ())
    fresh = rights.other(None, {"id": "you", "meta": {"b": 2}}, ["app:one"])
    assert (present(fresh.actor).meta, [policy.id for policy in present(fresh.scope).policies]) == (
        {"b": 2},
        ["app:one"],
    )
    with pytest.raises(HandlerError, match="policy not found: app:gone"):
        rights.other(mine, None, ["app:one", "app:gone"])
    for scope in ("app:one", {"app:one": 1}, [1], 5):
        with pytest.raises(HandlerError, match="a scope is a list of ids of policies") as caught:
            rights.other(mine, None, scope)  # type: ignore[arg-type]
        assert caught.value.kind == "Invalid"
    with pytest.raises(HandlerError, match="an actor is a mapping with an id"):
        rights.other(mine, {"name": "you"}, None)
