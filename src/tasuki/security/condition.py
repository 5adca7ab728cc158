"""Condition: one test of a declarative policy; checked when it is made, so that a mistake is never a silent no.

===================================  =======================================================================
operator                             holds if
===================================  =======================================================================
``eq`` ``ne``                        equal, as numbers if one is a number and the other looks like one, else as text
``lt`` ``lte`` ``gt`` ``gte``        less, … : numbers only
``in`` ``nin``                       equal to an item of the list (a text is a list of one); or not
``contains`` ``ncontains``           the field is a text with that text in it, or a list with that item; or not
``matches`` ``nmatches``             the field, as text, matches the regular expression; or not
``exists`` ``nexists``               the field is there; or not (``value: false`` turns it round)
===================================  =======================================================================

Fields: ``actor.id``, ``actor.meta.*``, ``action``, ``resource``, ``meta.*``. The first, ``action`` and ``resource`` are
names, and equal to the same text alone. A field that is missing satisfies only
``exists`` and ``nexists``. Values that cannot be compared raise ComparisonError; then the policy does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasuki.security.actor import PolicyRequest
from tasuki.security.compare import ComparisonError, contains, equals, is_container, is_in, number, order, text
from tasuki.security.regex import compile_regex

Test = Callable[[Any, Any], bool]

_TESTS: Mapping[str, Test] = {
    "eq": equals,
    "ne": lambda left, right: not equals(left, right),
    "lt": lambda left, right: order(left, right) < 0,
    "lte": lambda left, right: order(left, right) <= 0,
    "gt": lambda left, right: order(left, right) > 0,
    "gte": lambda left, right: order(left, right) >= 0,
    "in": is_in,
    "nin": lambda left, right: not is_in(left, right),
    "contains": contains,
    "ncontains": lambda left, right: not contains(left, right),
}
_PRESENCE = ("exists", "nexists")
_REGEX = ("matches", "nmatches")
_ORDER = ("lt", "lte", "gt", "gte")
OPERATORS = (*_TESTS, *_PRESENCE, *_REGEX)

Path = tuple[str, ...]

_ALIKE = ("eq", "ne", "in", "nin")
_TEXTS: tuple[Path, ...] = (("actor", "id"), ("action",), ("resource",))
"""Names: ``01`` and ``1`` are two of them, also where the other value was written as a number."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``field operator value``; made by :func:`parse_condition`."""

    field: Path
    operator: str
    value: Any
    value_from: Path | None
    test: Test

    def __str__(self) -> str:
        """As an author reads it: ``actor.meta.role eq 'admin'``."""
        right = ".".join(self.value_from) if self.value_from else repr(self.value)
        return f"{'.'.join(self.field)} {self.operator} {right}"

    def holds(self, request: PolicyRequest) -> bool:
        """Whether it holds. Raises ComparisonError for values that cannot be compared."""
        left = look_up(request, self.field)
        if left is None and self.operator not in _PRESENCE:
            return False
        right = look_up(request, self.value_from) if self.value_from else self.value
        if self.operator in _ALIKE and (self.field in _TEXTS or self.value_from in _TEXTS):
            left, right = _as_text(left), _as_text(right)
        return self.test(left, right)


def _as_text(value: Any) -> Any:
    """A number or a boolean as text, also within a list; other values as they are."""
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return value if value is None or is_container(value) else text(value)


def parse_condition(field: str, operator: str, value: Any = None, value_from: str | None = None) -> Condition:
    """The condition of its parts.

    Raises:
        ValueError: an unknown field or operator, or a value that the operator can never be used with.
    """
    path = parse_field(field)
    if operator not in OPERATORS:
        raise ValueError(f"{operator!r} is not an operator; the operators are: {', '.join(OPERATORS)}")
    if operator in _PRESENCE and value is None and value_from is None:
        value = True
    if (value is None) == (value_from is None):
        raise ValueError(f"{field} {operator}: give either a value or a value_from")
    source = None if value_from is None else parse_field(value_from)
    if source is not None and operator in (*_PRESENCE, *_REGEX):
        raise ValueError(f"{field} {operator}: write the value in the policy, not a value_from")
    return Condition(path, operator, value, source, _test(operator, value, is_given=source is None))


def _test(operator: str, value: Any, *, is_given: bool) -> Test:
    if operator in _PRESENCE:
        if not isinstance(value, bool):
            raise ValueError(f"{operator}: expected true or false")
        wanted = value == (operator == "exists")
        return lambda left, _: (left is not None) == wanted
    if operator in _REGEX:
        return _regex_test(value, is_wanted=operator == "matches")
    if is_given and operator in _ORDER and number(value) is None:
        raise ValueError(f"{operator}: expected a number, not {value!r}")
    if is_given and operator in ("in", "nin") and not isinstance(value, list | tuple | str):
        raise ValueError(f"{operator}: expected a list, not {value!r}")
    if is_given and operator in ("eq", "ne") and is_container(value):
        raise ValueError(f"{operator}: expected a single value; use in for a list")
    return _TESTS[operator]


def _regex_test(value: Any, *, is_wanted: bool) -> Test:
    if not isinstance(value, str):
        raise ValueError("a regular expression is a text")
    matches = compile_regex(value)

    def test(left: Any, _: Any) -> bool:
        words = text(left)
        if words is None:
            raise ComparisonError("only a text matches a regular expression")
        return matches(words) is is_wanted

    return test


def parse_field(dotted: str) -> Path:
    """The path of a field. Raises ValueError for one that no request has."""
    path = tuple(dotted.split("."))
    is_known = (
        path in (("actor", "id"), ("action",), ("resource",)) or path[:2] == ("actor", "meta") or path[0] == "meta"
    )
    if not is_known or path == ("meta",) or "" in path:
        hint = f"; a key of the resource's meta is written meta.{dotted}" if len(path) == 1 and dotted else ""
        raise ValueError(
            f"{dotted!r} is not a field; fields are actor.id, actor.meta.*, action, resource and meta.*{hint}"
        )
    return path


def look_up(request: PolicyRequest, path: Sequence[str]) -> Any:
    """The value of a field; None if it is missing."""
    head, *rest = path
    if head == "action":
        return request.action
    if head == "resource":
        return request.resource
    if head == "actor":
        which, *rest = rest
        if which == "id":
            return request.actor.id
    value: Any = request.actor.meta if head == "actor" else request.meta
    for key in rest:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value
