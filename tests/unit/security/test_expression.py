from __future__ import annotations

import time

import pytest

from tasuki.security.actor import Actor, PolicyRequest
from tasuki.security.compare import ComparisonError
from tasuki.security.expression import MAX_LENGTH, RequiredValue, demand_of, parse_expression
from tasuki.security.expression_tokens import ExpressionError

ACTOR = Actor("user:1", {"role": "admin", "level": 3, "tags": ["a", "b"], "in": "word", "deep": {"x": {"y": 1.5}}})


REQUEST = PolicyRequest(ACTOR, "queue.publish", "app:tasks", {"owner": "user:1", "public": True, "none": None})


def holds(text: str, request: PolicyRequest = REQUEST) -> bool:
    return parse_expression(text).holds(request)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("true", True),
        ("false", False),
        ('actor.meta.role == "admin"', True),
        ("actor.meta.role == 'root' || meta.owner == actor.id", True),
        (
            '(actor.meta.role == "editor" && action == "write") ||\n(action == "queue.publish" && meta.public == true)',
            True,
        ),
        ('actor.id == meta.owner_id || actor.meta.role == "admin"', True),
        ('(action == "registry.get" && resource == "x") || action == "registry.snapshot"', False),
        ('resource matches "^app:.*" && action == "queue.publish"', True),
        ('resource not matches "^app"', False),
        ("meta.public", True),
        ("!meta.public", False),
        ("!meta.public == false", True),
        ("not meta.public", False),
        ("not (meta.public and false)", True),
        ("not not meta.public", True),
        ("!!meta.public", True),
        ("false && false || true", True),
        ("true || true && false", True),
        ("true or true and false", True),
        ('action in ["queue.publish", "queue.consume"]', True),
        ('action not in ["queue.publish"]', False),
        ('"role" in actor.meta', True),
        ('"a" in actor.meta.tags && "z" not in actor.meta.tags', True),
        ('"a" in meta.gone', False),
        ("1 in actor.meta", False),
        ('resource startsWith "app:" && resource endsWith "tasks" && resource contains "p:t"', True),
        ('resource not startsWith "x"', True),
        ("actor.meta.level >= 3 && actor.meta.level <= 3.0 && actor.meta.level > -1 && 2 < actor.meta.level", True),
        ("actor.meta.level == 3.0", True),
        ('actor.meta.level == "3"', False),
        ("true == 1", False),
        ("true != 1", True),
        ('"a" < "b" && "b" >= "b"', True),
        ('meta["owner"] == actor.id', True),
        ('actor.meta.tags[0] == "a" && actor.meta.tags[-1] == "b"', True),
        ("actor.meta.deep.x.y == 1.5", True),
        ("actor.meta.deep == meta.deep", False),
        ("actor.meta == actor.meta && actor.meta.tags == ['a', `b`]", True),
        ("actor.meta.tags == ['a']", False),
        ('actor.meta.in == "word"', True),
        ("meta.gone == nil && meta.none == nil", True),
        ("meta.gone?.name == nil", True),
        ('(meta.gone ?? "x") == "x" && meta.gone ?? "x" == "x"', True),
        ('meta.public ? action == "queue.publish" : false', True),
        ("meta.public ? false : true", False),
        (r'"a\"\\\n\u0041" == `a"\` + "" ? true : true', None),
        (r"""'it\'s' == "it's" && "\t" != '\n' && "\u0041" == "A" """, True),
        (".5 == 0.5 && 1e3 == 1000", True),
        ("[] == []", True),
    ],
)
def test_what_holds(text: str, result: bool | None) -> None:
    if result is None:
        with pytest.raises(ExpressionError, match=r"'\+' has no meaning here"):
            parse_expression(text)
    else:
        assert holds(text) is result


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("actor.meta.role", "expected true or false, not a text"),
        ("meta.gone", "expected true or false, not nothing"),
        ("1", "expected true or false, not a number"),
        ("[1]", "not a list"),
        ("actor", "not a mapping"),
        ("meta.gone.name == 1", "nothing has no such field"),
        ("actor.meta.tags[9] == 1", "a list has no such field"),
        ("actor.meta.tags[true] == 1", "a list has no such field"),
        ("actor.meta.role > 3", "a number and a text cannot be compared by size"),
        ("true < false", "a boolean and a boolean cannot be compared by size"),
        ('"a" in actor.id', "in needs a list or a mapping on its right, not a text"),
        ("actor.meta.level contains 'a'", "expected two texts, not a number and a text"),
        ("actor.meta.level matches 'a'", "only a text matches a regular expression, not a number"),
        ("true && meta.gone", "expected true or false"),
        ("1 ? true : false", "expected true or false"),
    ],
)
def test_what_makes_no_sense_for_a_request_is_an_error_not_a_no(text: str, problem: str) -> None:
    with pytest.raises(ComparisonError, match=problem):
        holds(text)


def test_the_right_side_is_looked_at_only_if_it_matters() -> None:
    assert holds("true || meta.gone.x")
    assert not holds("false && meta.gone.x")
    assert holds("'' ?? meta.gone.x == ''")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the end is not expected here (at column 1 of the expression)"),
        ("invalid syntax here", "'invalid' is not known; there are actor, action, resource and meta (at column 1"),
        ("true true", "True is not expected here (at column 6"),
        ("action ==", "the end is not expected here (at column 10"),
        ("(true", "expected ')', not the end (at column 6"),
        ("[true", "expected ',', not the end"),
        ("true ? true", "expected ':', not the end"),
        (
            "\naction ==\n  role",
            "'role' is not known; there are actor, action, resource and meta (at line 3, column 3 ",
        ),
        ("all(meta.tags)", "'all' would be a function, and there are none in expressions (at column 1"),
        ("actor.id.upper()", "'(' is not expected here"),
        ("__import__('os')", "'__import__' would be a function"),
        ("1 + 1 == 2", "'+' has no meaning here (at column 3"),
        ("action = 'x'", "'=' has no meaning here; write == (at column 8"),
        ("action == 'x", '"\'" has no meaning here (at column 11'),
        ("1x == 1", "'1' has no meaning here"),
        ("actor.name == 1", "there is no field 'name'; there are id and meta (at column 7"),
        ("action.x == 1", "there is no field 'x'; there are none: it is a text (at column 8"),
        ("actor.'x' == 1", "expected a field, not 'x' (at column 7"),
        ("actor.1 == 1", "0.1 is not expected here"),
        ("meta. == 1", "expected a field, not '=='"),
        ("resource matches action", "a regular expression is a text that stands in the expression (at column 18"),
        ("resource matches ('x')", "a regular expression is a text that stands in the expression"),
        ("resource matches 'x' ?? 'y'", "a regular expression is a text that stands in the expression"),
        ("resource matches '('", "unclosed group"),
        ("not action in ['x']", "'not' is ambiguous here: write 'a not in b', or put the negated part in brackets"),
        ("not action == 'x'", "'not' is ambiguous here"),
        (r"'\d' == action", r"use a text in `backquotes` as it stands (at column 1"),
        ("- action == 1", "'-' is not expected here"),
        ("true not", "'not' is not expected here"),
        ("(" * 50 + "true" + ")" * 50, "it is nested deeper than 40 levels"),
        ("!" * 50 + "true", "it is nested deeper than 40 levels"),
        ("true" + " && true" * 400, "it is too long; at most 500 words are allowed"),
        (" " * MAX_LENGTH + "true", "it has 4004 characters; at most 4000 are allowed"),
    ],
)
def test_mistakes_are_found_when_it_is_read_with_their_place(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "text", ["actor.__class__ == 1", "meta.__class__ == nil", "actor.meta.__init__.__globals__ == nil", "action.format"]
)
def test_no_python_attribute_is_reachable(text: str) -> None:
    try:
        expression = parse_expression(text)
    except ExpressionError:
        return
    try:
        assert expression.holds(REQUEST) is True  # a key that is missing, and nothing else
    except ComparisonError:
        pass


def test_the_largest_expressions_are_quick() -> None:
    texts = ["true" + " && true" * 240, "meta" + ".a" * 240 + " == 1", "(" * 39 + "true" + ")" * 39]
    start = time.thread_time()
    for text in texts:
        try:
            parse_expression(text).holds(REQUEST)
        except ComparisonError:
            pass
    assert time.thread_time() - start < 0.5


def test_plain_data_of_any_flavour() -> None:
    class Loose(str):
        """Text as the loader makes it."""

    request = PolicyRequest(Actor(Loose("a"), {"xs": (Loose("1"), 2)}), "act", "res")
    assert holds("actor.id == 'a' && actor.meta.xs[1] == 2 && '1' in actor.meta.xs", request)


@pytest.mark.parametrize(
    ("expression", "demand"),
    [
        ("cause == 'a'", ("a", True)),
        ("'a' == cause", ("a", True)),
        ("cause == `a` && age > 60", ("a", False)),
        ("(age > 60 || attempts > 3) and cause == 'a' && not (id == 'x')", ("a", False)),
        ("queue in ['a', 'b'] && cause == 'a'", ("a", False)),
        ("cause == 'a' && cause == 'b'", ("a", False)),
        ("cause == 'a' || age > 60", None),
        ("age > 60 && cause == 'a' or attempts > 3", None),
        ("age > 60 ? cause == 'a' : cause == 'b'", None),
        ("not cause == 'a'", None),
        ("!(cause == 'a')", None),
        ("(cause == 'a')", None),
        ("cause != 'a'", None),
        ("cause == 5", None),
        ("cause == place", None),
        ("headers.cause == 'a'", None),
        ("cause ?? 'a' == 'a'", None),
        ("type == 'a'", None),
        ("age > 60", None),
    ],
)
def test_only_what_must_hold_is_a_demand(expression: str, demand: tuple[str, bool] | None) -> None:
    assert demand_of(expression, "cause") == (None if demand is None else RequiredValue(*demand))
