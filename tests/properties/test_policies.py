"""The evaluator of policies against a slow reference that is obviously right."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tasuki.security.actor import Actor, Request
from tasuki.security.compare import ComparisonError
from tasuki.security.condition import OPERATORS, parse_condition
from tasuki.security.expressions.expression import parse_expression
from tasuki.security.expressions.lexer import ExpressionError
from tasuki.security.policy import Policy, Scope, parse_pattern

FIELDS = ("actor.id", "actor.meta.a", "actor.meta.b.c", "action", "resource", "meta.a", "meta.b")
WORDS = st.sampled_from(
    ["", "a", "b", "ab", "a.b", "1", "01", "1.0", "2", "true", "-1", "1e1", "10", "app:a", "queue.a"]
)
SCALARS = WORDS | st.integers(-3, 11) | st.sampled_from([0.5, 1.0, 10.0]) | st.booleans()
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from(["c", "d"]), SCALARS, max_size=2)
METAS = st.dictionaries(st.sampled_from(["a", "b"]), VALUES | st.none(), max_size=2)
REQUESTS = st.builds(Request, st.builds(Actor, WORDS, METAS), WORDS, WORDS, METAS)
PATTERNS = st.sampled_from(
    ["*", "a", "b", "ab", "a*", "*b", "*a*", "a.*", "queue.*", "app:*", "**", ".*", "1", "app:a"]
)


class Wrong(Exception):
    """The reference cannot compare these."""


def ref_field(request: Request, field: str) -> Any:
    data = {
        "actor": {"id": request.actor.id, "meta": request.actor.meta},
        "action": request.action,
        "resource": request.resource,
        "meta": request.meta,
    }
    value: Any = data
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def ref_number(value: Any) -> Fraction | None:
    if isinstance(value, str) and not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value):
        return None
    return None if isinstance(value, bool | list | dict) else Fraction(str(value))


def ref_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return None
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def ref_equal(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise Wrong
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    if ref_number(left) is not None and ref_number(right) is not None:
        return ref_number(left) == ref_number(right)
    return ref_text(left) == ref_text(right)


def ref_condition(request: Request, field: str, verb: str, value: Any, value_from: str | None) -> bool:
    left, right = ref_field(request, field), ref_field(request, value_from) if value_from else value
    if verb in ("exists", "nexists"):
        return (left is not None) == bool(right == (verb == "exists"))
    if left is None:
        return False
    if verb in ("eq", "ne", "in", "nin") and {field, value_from} & {"actor.id", "action", "resource"}:
        left, right = ref_as_text(left), ref_as_text(right)
    positive = {"ne": "eq", "nin": "in", "ncontains": "contains", "nmatches": "matches"}.get(verb)
    return REFERENCE[verb](left, right) if positive is None else not REFERENCE[positive](left, right)


def ref_as_text(value: Any) -> Any:
    """Names are compared as texts."""
    if isinstance(value, list):
        return [ref_as_text(item) for item in value]
    return value if value is None or isinstance(value, dict) else ref_text(value)


def ref_in(left: Any, right: Any) -> bool:
    if isinstance(right, str):
        return ref_equal(left, right)
    if not isinstance(right, list):
        raise Wrong
    return any(ref_equal(left, item) for item in right)


def ref_contains(left: Any, right: Any) -> bool:
    whole, part = ref_text(left), ref_text(right)
    if right is not None and whole is not None and part is not None:
        return part in whole
    if not isinstance(left, list):
        raise Wrong
    return any(ref_equal(item, right) for item in left)


def ref_search(left: Any, right: Any) -> bool:
    text = ref_text(left)
    if text is None:
        raise Wrong
    return re.search(right, text) is not None


def ref_order(compare: Callable[[Any, Any], bool]) -> Any:
    def test(left: Any, right: Any) -> bool:
        if right is None or ref_number(left) is None or ref_number(right) is None:
            raise Wrong
        return compare(ref_number(left), ref_number(right))

    return test


REFERENCE = {
    "eq": ref_equal,
    "in": ref_in,
    "contains": ref_contains,
    "matches": ref_search,
    "lt": ref_order(operator.lt),
    "lte": ref_order(operator.le),
    "gt": ref_order(operator.gt),
    "gte": ref_order(operator.ge),
}


@st.composite
def condition_parts(draw: st.DrawFn) -> tuple[str, str, Any, str | None]:
    field, verb = draw(st.sampled_from(FIELDS)), draw(st.sampled_from(OPERATORS))
    if verb in ("matches", "nmatches"):
        return field, verb, draw(st.sampled_from(["a", "^a", "b$", "^[0-9]+$", "a|b", "^$"])), None
    if verb in ("exists", "nexists"):
        return field, verb, draw(st.booleans()), None
    if draw(st.booleans()):
        return field, verb, None, draw(st.sampled_from(FIELDS))
    if verb in ("in", "nin"):
        return field, verb, draw(st.lists(SCALARS, max_size=3) | WORDS), None
    if verb in ("lt", "lte", "gt", "gte"):
        return field, verb, draw(st.integers(-3, 11) | st.sampled_from(["1", "0.5", "1e1"])), None
    return field, verb, draw(SCALARS), None


def outcome(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except (ComparisonError, Wrong):
        return "error"


@given(REQUESTS, condition_parts())
@settings(max_examples=600, deadline=None)
def test_conditions(request: Request, parts: tuple[str, str, Any, str | None]) -> None:
    assert outcome(parse_condition(*parts).holds, request) == outcome(ref_condition, request, *parts)


def ref_matches(pattern: str, value: str) -> bool:
    if len(pattern) > 2 and pattern.endswith(".*"):
        pattern = pattern[:-2] + "*"
    return re.fullmatch("".join(".*" if c == "*" else re.escape(c) for c in pattern), value, re.DOTALL) is not None


@given(PATTERNS, st.text(alphabet="ab.1*:\n", max_size=5) | WORDS)
@settings(max_examples=300, deadline=None)
def test_patterns(pattern: str, value: str) -> None:
    assert parse_pattern(pattern).matches(value) == ref_matches(pattern, value)


POLICIES = st.lists(
    st.tuples(
        st.lists(PATTERNS, min_size=1, max_size=2),
        st.lists(PATTERNS, min_size=1, max_size=2),
        st.sampled_from(["allow", "deny"]),
        st.lists(condition_parts(), max_size=2),
    ),
    max_size=4,
)


@given(REQUESTS, POLICIES)
@settings(max_examples=300, deadline=None)
def test_scopes(request: Request, policies: list[Any]) -> None:
    scope = Scope(
        Policy(
            str(number),
            tuple(map(parse_pattern, actions)),
            tuple(map(parse_pattern, resources)),
            effect,
            tuple(parse_condition(*parts) for parts in conditions),
        )
        for number, (actions, resources, effect, conditions) in enumerate(policies)
    )
    said = {
        effect
        for actions, resources, effect, conditions in policies
        if any(ref_matches(pattern, request.action) for pattern in actions)
        and any(ref_matches(pattern, request.resource) for pattern in resources)
        and all(outcome(ref_condition, request, *parts) is True for parts in conditions)
    }
    assert scope.evaluate(request) == ("deny" if "deny" in said else "allow" if "allow" in said else "undefined")


@st.composite
def boolean_texts(draw: st.DrawFn, depth: int = 0) -> tuple[str, str]:
    """The same question in Tasuki's words and in Python's, fully bracketed in the latter."""
    shape = draw(st.integers(0, 5 if depth < 4 else 1))
    if shape == 0:
        return draw(st.sampled_from([("true", "True"), ("false", "False")]))
    if shape == 1:
        return draw(
            st.sampled_from(
                [
                    ("action == 'a'", "(action == 'a')"),
                    ('resource contains "a"', "('a' in resource)"),
                    ("action not in ['a', 'b']", "(action not in ['a', 'b'])"),
                    ("resource startsWith action", "resource.startswith(action)"),
                    ("action < resource", "(action < resource)"),
                ]
            )
        )
    first, python_first = draw(boolean_texts(depth + 1))
    if shape == 2:
        return f"!({first})", f"(not {python_first})"
    second, python_second = draw(boolean_texts(depth + 1))
    if shape == 3:
        return f"({first}) || ({second})", f"({python_first} or {python_second})"
    if shape == 4:
        return f"({first}) && {second if second.isalpha() else f'({second})'}", f"({python_first} and {python_second})"
    return f"({first}) ? ({second}) : ({first})", f"({python_second} if {python_first} else {python_first})"


@given(boolean_texts(), WORDS, WORDS)
@settings(max_examples=300, deadline=None)
def test_expressions(texts: tuple[str, str], action: str, resource: str) -> None:
    text, python = texts
    expected = eval(python, {"action": action, "resource": resource})
    assert parse_expression(text).holds(Request(Actor("x"), action, resource)) == expected


@given(st.text(alphabet="ab !&|=<>()[]'\"`.?:,-019natrue\\", max_size=40) | st.text(max_size=20))
@settings(max_examples=600, deadline=None)
def test_any_text_is_an_expression_or_a_mistake_with_a_place(text: str) -> None:
    request = Request(Actor("x"), "a", "b")
    try:
        answer = outcome(parse_expression(text).holds, request)
    except ExpressionError as error:
        answer = "error" if "column" in str(error) else str(error)
    assert answer in (True, False, "error")
