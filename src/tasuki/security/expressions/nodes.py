"""The operators of expressions on plain values, where a wrong type is an error; and the nodes made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasuki.security.compare import ComparisonError
from tasuki.security.regex import Match

_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "a boolean"),
    ((int, float), "a number"),
    ((str,), "a text"),
    ((list, tuple), "a list"),
    ((Mapping,), "a mapping"),
)


def same(left: Any, right: Any) -> bool:
    """Equal values of the same type; whole numbers and fractions are one type, true and 1 are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return left is right or (_are_numbers(left, right) and left == right)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _ordered(left: Any, right: Any) -> tuple[Any, Any]:
    if _are_numbers(left, right) or (isinstance(left, str) and isinstance(right, str)):
        return left, right
    raise ComparisonError(f"{kind(left)} and {kind(right)} cannot be compared by size")


def _less(left: Any, right: Any) -> bool:
    left, right = _ordered(left, right)
    return bool(left < right)


def _less_or_same(left: Any, right: Any) -> bool:
    left, right = _ordered(left, right)
    return bool(left <= right)


def _is_in(left: Any, right: Any) -> bool:
    if right is None:
        return False
    if isinstance(right, list | tuple):
        return any(same(left, item) for item in right)
    if isinstance(right, Mapping):
        return isinstance(left, str) and left in right
    raise ComparisonError(f"in needs a list or a mapping on its right, not {kind(right)}")


def _texts(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def checked(left: Any, right: Any) -> bool:
        if not isinstance(left, str) or not isinstance(right, str):
            raise ComparisonError(f"expected two texts, not {kind(left)} and {kind(right)}")
        return test(left, right)

    return checked


def kind(value: Any) -> str:
    """What sort of thing a value is, for messages: never the value."""
    return next((name for types, name in _KINDS if isinstance(value, types)), "nothing")


def as_bool(value: Any) -> bool:
    """The boolean itself. Raises ComparisonError for anything else."""
    if isinstance(value, bool):
        return value
    raise ComparisonError(f"expected true or false, not {kind(value)}")


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": _less,
    "<=": _less_or_same,
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: _less_or_same(right, left),
    "in": _is_in,
    "contains": _texts(lambda whole, part: part in whole),
    "startsWith": _texts(str.startswith),
    "endsWith": _texts(str.endswith),
}


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
