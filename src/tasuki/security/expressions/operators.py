"""The operators of expressions on plain values; a wrong type is an error, never a guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasuki.security.compare import ComparisonError

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
