from typing import Any

import pytest

from tasuki.security.actor import Actor, PolicyRequest
from tasuki.security.compare import ComparisonError
from tasuki.security.condition import OPERATORS, parse_condition

ACTOR = Actor("user:1", {"role": "admin", "clearance": 3, "tags": ["a", "b"], "team": {"name": "blue"}, "none": None})
REQUEST = PolicyRequest(ACTOR, "queue.publish", "app:tasks", {"owner": "user:1", "size": "10"})


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (("actor.id", "eq", "user:1"), True),
        (("actor.id", "ne", "user:1"), False),
        (("action", "eq", "queue.publish"), True),
        (("resource", "ne", "app:mail"), True),
        (("actor.meta.role", "eq", "admin"), True),
        (("actor.meta.team.name", "eq", "blue"), True),
        (("actor.meta.clearance", "lt", 3), False),
        (("actor.meta.clearance", "lte", 3), True),
        (("actor.meta.clearance", "gt", "2"), True),
        (("actor.meta.clearance", "gte", 4), False),
        (("meta.size", "gt", 9), True),
        (("actor.meta.role", "in", ["admin", "root"]), True),
        (("actor.meta.role", "in", "admin"), True),
        (("actor.meta.role", "nin", ["root"]), True),
        (("actor.meta.tags", "contains", "a"), True),
        (("actor.meta.tags", "ncontains", "a"), False),
        (("resource", "contains", ":task"), True),
        (("resource", "matches", "^app:"), True),
        (("resource", "nmatches", "^app:"), False),
        (("actor.meta.clearance", "matches", "^[0-9]$"), True),
        (("actor.meta.role", "exists"), True),
        (("actor.meta.role", "exists", False), False),
        (("actor.meta.role", "nexists"), False),
        (("actor.meta.role", "nexists", False), True),
        (("actor.meta.team", "exists"), True),
        (("meta.owner", "eq", None, "actor.id"), True),
        (("meta.owner", "ne", None, "actor.meta.gone"), True),
    ],
)
def test_what_holds(condition: tuple[Any, ...], holds: bool) -> None:
    assert parse_condition(*condition).holds(REQUEST) is holds


@pytest.mark.parametrize("id", ["01", "1.0", "+1", "1e0"])
def test_a_name_is_equal_to_the_same_text_alone(id: str) -> None:
    request = PolicyRequest(Actor(id, {"owner": 1, "flag": True}), id, id, {"owner": 1, "owners": [1, [1]]})
    for field in ("actor.id", "action", "resource"):
        assert not parse_condition(field, "eq", 1).holds(request)
        assert parse_condition(field, "ne", 1).holds(request)
        assert not parse_condition(field, "in", [1, 2]).holds(request)
        assert parse_condition(field, "nin", [1, True]).holds(request)
        assert not parse_condition(field, "eq", None, "actor.meta.owner").holds(request)
        assert not parse_condition("meta.owner", "eq", None, field).holds(request)
        assert not parse_condition(field, "in", None, "meta.owners").holds(request)
        assert parse_condition(field, "eq", id).holds(request)
    same = PolicyRequest(Actor("1", {}), "1", "1", {"owners": [1]})
    assert parse_condition("actor.id", "eq", 1).holds(same)
    assert parse_condition("actor.id", "in", None, "meta.owners").holds(same)
    assert not parse_condition("actor.id", "eq", None, "meta.gone").holds(same)
    assert parse_condition("actor.meta.owner", "eq", "01").holds(request), "a field of meta may be a number"


@pytest.mark.parametrize("field", ["actor.meta.gone", "meta.gone", "meta.owner.name", "actor.meta.none", "meta.a.b.c"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_field_satisfies_only_a_question_whether_it_exists(field: str, operator: str) -> None:
    values = {"in": ["x"], "nin": ["x"], "exists": False, "nexists": True, "lt": 1, "lte": 1, "gt": 1, "gte": 1}
    condition = parse_condition(field, operator, values.get(operator, "x"))
    assert condition.holds(REQUEST) is (operator in ("exists", "nexists"))


@pytest.mark.parametrize(
    "condition",
    [
        ("actor.meta.role", "lt", 3),
        ("actor.meta.tags", "eq", "a"),
        ("actor.meta.team", "contains", "a"),
        ("actor.meta.tags", "matches", "a"),
        ("actor.meta.role", "in", None, "actor.meta.clearance"),
        ("actor.meta.role", "gt", None, "meta.gone"),
    ],
)
def test_what_cannot_be_compared_is_an_error_not_a_no(
    condition: tuple[str | None, ...] | tuple[str, str, int] | tuple[str, str, str],
) -> None:
    with pytest.raises(ComparisonError):
        parse_condition(*condition).holds(REQUEST)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (("actor", "eq", 1), "'actor' is not a field"),
        (("actor.name", "eq", 1), "'actor.name' is not a field"),
        (("actor.id.x", "eq", 1), "'actor.id.x' is not a field"),
        (("meta", "eq", 1), "'meta' is not a field"),
        (("actor.meta.", "eq", 1), "'actor.meta.' is not a field"),
        (("owner", "eq", 1), "a key of the resource's meta is written meta.owner"),
        (("", "eq", 1), "'' is not a field"),
        (("action", "equals", 1), "'equals' is not an operator; the operators are: eq, ne, lt"),
        (("action", "eq"), "action eq: give either a value or a value_from"),
        (("action", "eq", 1, "resource"), "action eq: give either a value or a value_from"),
        (("action", "eq", None, "resorce"), "'resorce' is not a field"),
        (("action", "matches", None, "resource"), "write the value in the policy"),
        (("action", "exists", None, "resource"), "write the value in the policy"),
        (("action", "exists", "yes"), "exists: expected true or false"),
        (("action", "lt", "many"), "lt: expected a number, not 'many'"),
        (("action", "in", 5), "in: expected a list, not 5"),
        (("action", "eq", ["a"]), "eq: expected a single value; use in for a list"),
        (("action", "matches", 5), "a regular expression is a text"),
        (("action", "matches", "("), "unclosed group"),
    ],
)
def test_mistakes_are_found_when_it_is_made(condition: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_condition(*condition)


def test_it_reads_as_it_was_written() -> None:
    assert str(parse_condition("actor.meta.role", "eq", "admin")) == "actor.meta.role eq 'admin'"
    assert str(parse_condition("meta.owner", "eq", None, "actor.id")) == "meta.owner eq actor.id"
