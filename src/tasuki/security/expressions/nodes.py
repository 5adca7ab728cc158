"""Nodes: the parts of an expression as functions of its subject: a request, a dead letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasuki.security.compare import ComparisonError
from tasuki.security.expressions.operators import COMPARISONS, as_bool, kind
from tasuki.security.regex import Match

Node = Callable[[Any], Any]


def constant(value: Any) -> Node:
    """Always the same value."""
    return lambda _: value


def member_of(node: Node, key: Node, *, is_optional: bool) -> Node:
    """A field of a mapping, or an item of a list; a missing field of a mapping is None."""

    def member(subject: Any) -> Any:
        whole, which = node(subject), key(subject)
        if isinstance(whole, Mapping) and isinstance(which, str):
            return whole.get(which)
        if isinstance(whole, list | tuple) and type(which) is int and -len(whole) <= which < len(whole):
            return whole[which]
        if whole is None and is_optional:
            return None
        raise ComparisonError(f"{kind(whole)} has no such field")

    return member


def negation(node: Node) -> Node:
    """Not."""
    return lambda subject: not as_bool(node(subject))


def choice(condition: Node, then: Node, otherwise: Node) -> Node:
    """One of two, by a condition."""
    return lambda subject: then(subject) if as_bool(condition(subject)) else otherwise(subject)


def comparison(operator: str, left: Node, right: Node) -> Node:
    """Two values compared; see operators.py."""
    test = COMPARISONS[operator]
    return lambda subject: test(left(subject), right(subject))


def either(left: Node, right: Node) -> Node:
    """Or; the right side is looked at only if it matters."""
    return lambda subject: as_bool(left(subject)) or as_bool(right(subject))


def both(left: Node, right: Node) -> Node:
    """And; likewise."""
    return lambda subject: as_bool(left(subject)) and as_bool(right(subject))


def fallback(left: Node, right: Node) -> Node:
    """The left value, or the right one if that is missing."""

    def node(subject: Any) -> Any:
        value = left(subject)
        return right(subject) if value is None else value

    return node


def regex(left: Node, matches: Match) -> Node:
    """Whether a text has a match."""

    def node(subject: Any) -> bool:
        value = left(subject)
        if not isinstance(value, str):
            raise ComparisonError(f"only a text matches a regular expression, not {kind(value)}")
        return matches(value)

    return node


JOINS: Mapping[str, Callable[[Node, Node], Node]] = {"||": either, "&&": both, "??": fallback}
