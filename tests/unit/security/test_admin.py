"""Rights of the desk: which policies count there, whatever their patterns look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tasuki.desk.acts.acts import ACTS, right_of
from tasuki.errors import PolicyDeniedError
from tasuki.security.actor import Actor
from tasuki.security.admin import ADMIN, OFF, RIGHTS, AdminRights
from tasuki.security.condition import parse_condition
from tasuki.security.expressions.expression import parse_expression
from tasuki.security.guard import Guard
from tasuki.security.policy import Policy, Scope, parse_pattern

MAILS, OTHER = "app:mails", "app:other"
KANA = parse_condition("actor.id", "eq", "kana")

OF_PURGE = (
    "*", "queue.*", "q*", "queue*", "queue.a*", "queue.admin*", "queue.admin.*", "queue.admin.p*", "queue.admin.purge*",
    "queue.admin.purge", "*admin*", "*.admin.*", "*queue.admin*", "*.purge", "*purge", "*urge", "*.admin.purge", "*e",
    "*.*", "*.purge*",
)  # fmt: skip
"""Patterns that match the right to purge."""
OF_OTHERS = ("queue.admin.pause", "queue.publish.*", "funcs.*", "*.pause", "queue.purge", "*.Purge", "*publish*")
"""Patterns that do not."""


def policy(*actions: str, effect: Any = "allow", resources: str = "*", id: str = "p", **more: Any) -> Policy:
    return Policy(id, tuple(map(parse_pattern, actions)), (parse_pattern(resources),), effect, **more)


def may(rights: AdminRights, actor: str = "kana", act: str = "purge", id: str = MAILS) -> bool:
    """The answer, which every form of the question must give."""
    decision = rights.decide(actor, act, id)
    assert rights.may(actor, act, id) == decision.allowed
    if decision.allowed:
        rights.require(actor, act, id)
    else:
        with pytest.raises(PolicyDeniedError, match=f"{actor} may not {act} {id}") as caught:
            rights.require(actor, act, id)
        assert (caught.value.action, caught.value.policy or "") == (ADMIN + act, decision.policy)
    return decision.allowed


def test_every_act_of_the_desk_has_a_right_that_patterns_are_matched_with() -> None:
    assert {right_of(act) for act in ACTS} <= RIGHTS
    assert RIGHTS - set(ACTS) == {"peek", "secrets", "audit"}


@pytest.mark.parametrize("pattern", OF_PURGE)
def test_a_deny_counts_wherever_its_pattern_matches(pattern: str) -> None:
    everything = policy("*", id="all", conditions=(parse_condition("actor.id", "exists"),))
    for others in ([], [everything]):
        rights = AdminRights([*others, policy(pattern, effect="deny", resources=MAILS, id="never")], None)
        assert not may(rights)
        assert rights.decide("kana", "purge", MAILS).policy == "never"
        assert may(rights, id=OTHER) == (bool(others) or "queue.admin" not in pattern)


@pytest.mark.parametrize("pattern", OF_PURGE)
def test_an_allow_for_one_actor_closes_the_desk_to_others(pattern: str) -> None:
    for more in ({"conditions": (KANA,)}, {"expression": parse_expression('actor.id == "kana"')}):
        rights = AdminRights([policy(pattern, **more)], None)
        assert (may(rights), may(rights, "mika"), rights.are_declared) == (True, False, True)
        assert not may(rights, "mika", "pause"), "what no policy allows is refused"


@pytest.mark.parametrize("act", sorted(OFF))
@pytest.mark.parametrize("pattern", ["*", "queue.*", "queue.adm*", "*admin*", "*dry_run", "*.secrets"])
def test_rights_that_are_off_need_a_policy_that_names_the_desk(act: str, pattern: str) -> None:
    wide = policy(pattern, conditions=(KANA,), id="wide")
    rights = AdminRights([wide], None)
    assert not may(rights, act=act)
    if wide.actions[0].matches(ADMIN + act):
        assert [each.ruling for each in rights.findings("kana", act, MAILS)] == ["undefined"]
        assert "names queue.admin" in rights.findings("kana", act, MAILS)[0].why
    named = policy(ADMIN + act, conditions=(KANA,), id="named")
    assert may(AdminRights([wide, named], None), act=act)
    denied = AdminRights([wide, named, policy(pattern, effect="deny", id="no")], None)
    assert may(denied, act=act) == (not wide.actions[0].matches(ADMIN + act))


@pytest.mark.parametrize("pattern", OF_OTHERS)
def test_a_policy_on_other_actions_says_nothing_about_purging(pattern: str) -> None:
    assert may(AdminRights([policy(pattern, effect="deny")], None)) == (not pattern.startswith("queue.admin"))
    rights = AdminRights([policy(pattern, conditions=(KANA,))], None)
    assert may(rights) == may(rights, "mika") == (pattern not in ("queue.admin.pause", "*.pause", "*publish*"))


@pytest.mark.parametrize("pattern", ["*", "queue.*", "q*", "*.purge", "*admin*"])
def test_an_allow_with_a_wildcard_for_code_neither_allows_nor_closes(pattern: str) -> None:
    rights = AdminRights([policy(pattern)], None)
    assert (may(rights), rights.are_declared, rights.ignored) == (True, False, [])
    assert may(AdminRights([policy(pattern, id="code"), policy("*", conditions=(KANA,))], None), "mika") is False


@pytest.mark.parametrize("pattern", ["queue.admin", "queue.admin.*", "queue.admin.purge", "queue.admin.purgee"])
def test_an_allow_that_names_the_desk_without_an_actor_closes_it_and_allows_nothing(pattern: str) -> None:
    rights = AdminRights([policy(pattern)], None)
    assert (may(rights), rights.are_declared, rights.ignored) == (False, True, ["p"])


@pytest.mark.parametrize(
    ("field", "operator", "value", "is_shut"),
    [
        ("actor.meta.team", "eq", "red", True),
        ("actor.meta.team", "in", ["red"], True),
        ("actor.meta.team", "exists", False, False),
        ("actor.id", "eq", "kana", False),
    ],
)
def test_a_policy_for_workers_closes_the_desk_and_is_known(
    field: str, operator: str, value: Any, is_shut: bool
) -> None:
    rights = AdminRights([policy("queue.*", conditions=(parse_condition(field, operator, value),))], None)
    assert (may(rights), rights.shut_by) == (not is_shut, ["p"] * is_shut)


def test_a_comparison_with_meta_never_holds_at_the_desk() -> None:
    compared = parse_condition("actor.id", "eq", value_from="actor.meta.owner")
    rights = AdminRights([policy("queue.*", conditions=(compared,))], None)
    assert (may(rights), rights.shut_by) == (False, ["p"])


def test_a_desk_that_another_policy_speaks_of_is_closed_on_purpose() -> None:
    worker = policy("queue.*", conditions=(parse_condition("actor.meta.team", "eq", "red"),))
    for other in (policy("queue.admin.*", effect="deny", id="d"), policy("*", conditions=(KANA,), id="a")):
        assert AdminRights([worker, other], None).shut_by == []


def test_findings_have_every_policy_that_could_be_meant_and_why_it_does_not_count() -> None:
    policies = [policy("queue.*", id="code"), policy("funcs.*", id="other"), policy("*", id="kana", conditions=(KANA,))]
    found = AdminRights(policies, None).findings("kana", "purge", MAILS)
    assert [(each.policy, each.ruling) for each in found] == [("kana", "allow"), ("code", "undefined")]
    assert "asks nothing about the actor" in found[1].why


def test_a_condition_about_something_else_is_none_on_the_actor() -> None:
    rights = AdminRights([policy("queue.admin.purge", conditions=(parse_condition("resource", "eq", MAILS),))], None)
    assert not may(rights)


def test_a_deny_for_one_actor_leaves_others_alone() -> None:
    rights = AdminRights([policy("*", effect="deny", conditions=(KANA,))], None)
    assert (may(rights), may(rights, "mika")) == (False, True)


@pytest.mark.parametrize("act", sorted(OFF))
def test_what_is_off_needs_a_policy_that_allows_it(act: str) -> None:
    is_off = f"this is off until a policy allows queue.admin.{act}"
    free = AdminRights([], None)
    assert (may(free, act=act), free.decide("kana", act, MAILS).why) == (False, is_off)
    assert may(AdminRights([policy("queue.admin.*", conditions=(KANA,))], None), act=act)
    denied = AdminRights([policy("*", effect="deny")], None)
    assert denied.decide("kana", act, MAILS).is_denied


def test_a_desk_without_rules_has_the_rights_of_the_application() -> None:
    web = Guard(Actor("web"), Scope([policy("queue.*", resources=MAILS)]), strict=True)
    rights = AdminRights([policy("*.pause", effect="deny", id="no_pauses")], web)
    assert (may(rights), may(rights, id=OTHER), may(rights, act="pause")) == (True, False, False)
    strict = AdminRights([], Guard(strict=True))
    assert not may(strict)


def test_the_reason_names_the_policy_or_the_right() -> None:
    found: Mapping[str, AdminRights] = {
        "kana may not purge app:mails: policy app:never denies queue.admin.purge": AdminRights(
            [policy("*", effect="deny", id="app:never")], None
        ),
        "kana may not purge app:mails: no policy allows queue.admin.purge": AdminRights(
            [policy("queue.admin.peek", conditions=(KANA,))], None
        ),
    }
    for text, rights in found.items():
        with pytest.raises(PolicyDeniedError) as caught:
            rights.require("kana", "purge", MAILS)
        assert str(caught.value) == text


def test_rights_of_many_actors_are_bounded_and_right() -> None:
    rights = AdminRights([policy("*", conditions=(parse_condition("actor.id", "eq", "a7"),))], None)
    for number in range(2100):
        assert rights.may(f"a{number}", "purge", MAILS) == (number == 7)
        assert rights.may_any(f"a{number}", "purge", [OTHER, MAILS]) == (number == 7)
    assert rights.may_any("a7", "purge", [MAILS]) is rights.may_any("a7", "purge", []) is True
