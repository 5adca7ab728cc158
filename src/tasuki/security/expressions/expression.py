"""Expression: ``actor.meta.role == "admin" || meta.owner == actor.id``, the boolean part of Wippy's expr-lang.

Literals (texts, numbers, true, false, nil, lists), names (of a policy these four) with ``.field``, ``?.field`` and
``["field"]``, and, from loose to tight: ``? :`` · ``||`` ``or`` · ``&&`` ``and`` · ``== != < <= > >= in contains
startsWith endsWith matches`` (words also after ``not``) · ``not`` · ``??`` · ``!``. No functions and no arithmetic: an
expression cannot call anything, takes time in proportion to its length, and sees plain data only. It is read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasuki.security.expressions.lexer import ExpressionError, Token, tokens_of
from tasuki.security.expressions.nodes import (
    COMPARISONS,
    JOINS,
    Node,
    as_bool,
    choice,
    comparison,
    constant,
    member_of,
    negation,
    regex,
)
from tasuki.security.regex import compile_regex

MAX_LENGTH = 4000

MAX_TOKENS = 500

MAX_DEPTH = 40


_NAMES: Mapping[str, Node] = {
    "actor": lambda request: {"id": request.actor.id, "meta": request.actor.meta},
    "action": lambda request: request.action,
    "resource": lambda request: request.resource,
    "meta": lambda request: request.meta,
}

_FIELDS: Mapping[Node, tuple[str, ...]] = {
    _NAMES["actor"]: ("id", "meta"),
    _NAMES["action"]: (),
    _NAMES["resource"]: (),
}
"""The fields of the names that do not hold whatever their author likes."""

_OR, _AND, _COMPARE, _NOT, _ELSE = 10, 15, 20, 50, 500

_BINDING = {"||": _OR, "&&": _AND, "??": _ELSE, "matches": _COMPARE, **dict.fromkeys(COMPARISONS, _COMPARE)}

_NEGATABLE = frozenset({"in", "contains", "startsWith", "endsWith", "matches"})


@dataclass(frozen=True, slots=True)
class Expression:
    """A boolean expression about a request, or another object with these names; made by :func:`parse_expression`."""

    text: str
    node: Node
    names: frozenset[str]
    """Which of the names it asks for."""

    def holds(self, subject: Any) -> bool:
        """Its result. Raises ComparisonError where a value has the wrong type for its operator."""
        return as_bool(self.node(subject))


def parse_expression(text: str, names: Mapping[str, Node] = _NAMES) -> Expression:
    """The expression of a text; ``names``: how to find what each name stands for, default the names of a policy.

    Raises:
        ExpressionError: it cannot be read, or is larger than is allowed; says at which line and column.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"it has {len(text)} characters; at most {MAX_LENGTH} are allowed", text, MAX_LENGTH)
    parser = _Parser(text, names)
    return Expression(text, parser.parse(), frozenset(parser.asked))


class _Parser:
    """Precedence climbing; every method leaves the next token in ``self._next``."""

    def __init__(self, source: str, names: Mapping[str, Node]) -> None:
        self._source = source
        self._names = names
        self._tokens = tokens_of(source)
        self._index = 0
        self._depth = 0
        self.asked: set[str] = set()
        if len(self._tokens) > MAX_TOKENS:
            raise ExpressionError(f"it is too long; at most {MAX_TOKENS} words are allowed", source, len(source))

    def parse(self) -> Node:
        node = self._choice()
        if self._next.sort != "end":
            raise self._error(f"{self._next} is not expected here")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._next
        self._index += token.sort != "end"
        return token

    def _error(self, problem: str, token: Token | None = None) -> ExpressionError:
        return ExpressionError(problem, self._source, (token or self._next).at)

    def _is(self, *operators: str) -> bool:
        return self._next.sort == "operator" and self._next.value in operators

    def _expect(self, operator: str) -> None:
        if not self._is(operator):
            raise self._error(f"expected {operator!r}, not {self._next}")
        self._take()

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"it is nested deeper than {MAX_DEPTH} levels")
        node = self._binary(0)
        if self._is("?"):
            self._take()
            then = self._choice()
            self._expect(":")
            node = choice(node, then, self._choice())
        self._depth -= 1
        return node

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while (operator := self._operator()) is not None and _BINDING[operator] >= least:
            is_negated = self._take().value == "not"
            if is_negated:
                self._take()
            at = self._next
            right = self._binary(_BINDING[operator] + 1)
            left = self._joined(operator, left, right, at)
            left = negation(left) if is_negated else left
        return left

    def _operator(self) -> str | None:
        """The binary operator that comes next; of ``not in`` and the like the second word."""
        if self._is("not"):
            after = self._tokens[self._index + 1]
            return str(after.value) if after.sort == "operator" and after.value in _NEGATABLE else None
        return str(self._next.value) if self._is(*_BINDING) else None

    def _joined(self, operator: str, left: Node, right: Node, at: Token) -> Node:
        if operator == "matches":
            return self._regex(left, at)
        return JOINS[operator](left, right) if operator in JOINS else comparison(operator, left, right)

    def _regex(self, left: Node, pattern: Token) -> Node:
        is_alone = self._tokens.index(pattern) == self._index - 1
        if not is_alone or pattern.sort != "value" or not isinstance(pattern.value, str):
            raise self._error("a regular expression is a text that stands in the expression", pattern)
        try:
            return regex(left, compile_regex(pattern.value))
        except ValueError as error:
            raise self._error(str(error), pattern) from error

    def _unary(self) -> Node:
        if not self._is("!", "not"):
            return self._postfix(self._primary())
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"it is nested deeper than {MAX_DEPTH} levels")
        is_tight = self._take().value == "!"
        node = negation(self._unary() if is_tight else self._binary(_NOT))
        if not is_tight and _BINDING.get(self._operator() or "") == _COMPARE:
            raise self._error("'not' is ambiguous here: write 'a not in b', or put the negated part in brackets")
        self._depth -= 1
        return node

    def _primary(self) -> Node:
        token = self._take()
        if token.sort == "value":
            return constant(token.value)
        if token.sort == "name":
            if self._is("("):
                raise self._error(f"{token} would be a function, and there are none in expressions", token)
            if token.value not in self._names:
                *others, last = self._names
                raise self._error(f"{token} is not known; there are {', '.join(others)} and {last}", token)
            self.asked.add(str(token.value))
            return self._names[token.value]
        if token == Token("operator", "(", token.at):
            node = self._choice()
            self._expect(")")
            return node
        if token == Token("operator", "[", token.at):
            return self._list()
        if token == Token("operator", "-", token.at) and isinstance(self._next.value, int | float):
            return constant(-self._take().value)
        raise self._error(f"{token} is not expected here", token)

    def _list(self) -> Node:
        items = []
        while not self._is("]"):
            items.append(self._choice())
            if not self._is("]"):
                self._expect(",")
        self._take()
        return lambda request: [item(request) for item in items]

    def _postfix(self, node: Node) -> Node:
        while self._is(".", "?.", "["):
            how = self._take().value
            if how == "[":
                node = member_of(node, self._choice(), is_optional=False)
                self._expect("]")
            else:
                node = member_of(node, constant(self._field(node)), is_optional=how == "?.")
        return node

    def _field(self, whole: Node) -> str:
        token = self._take()
        if not str(token.value).isidentifier() or token.sort == "value":
            raise self._error(f"expected a field, not {token}", token)
        if token.value not in _FIELDS.get(whole, (token.value,)):
            known = " and ".join(_FIELDS[whole]) or "none: it is a text"
            raise self._error(f"there is no field {token}; there are {known}", token)
        return str(token.value)


_OPENING, _CLOSING = ("(", "["), (")", "]")

_LOOSER = ("||", "?")
"""Looser than ``&&``: beside one of them no part must hold."""


class Demand(NamedTuple):
    """``text``: the value that the name must equal; ``is_all``: the expression has no other condition."""

    text: str
    is_all: bool


def demand_of(expression: str, name: str) -> Demand | None:
    """What must hold wherever the expression holds: ``name == "text"``, alone or joined with others by ``&&``.

    None: no such thing is seen, which does not mean that there is none. The expression can be read.
    """
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens_of(expression)[:-1]:
        operator = token.value if token.sort == "operator" else ""
        depth += (operator in _OPENING) - (operator in _CLOSING)
        if not depth and operator in _LOOSER:
            return None
        if not depth and operator == "&&":
            parts.append([])
        else:
            parts[-1].append(token)
    texts = [text for part in parts if (text := _equal(part, name)) is not None]
    return Demand(texts[0], len(parts) == 1) if texts else None


def _equal(part: Sequence[Token], name: str) -> str | None:
    if len(part) != 3 or (part[1].sort, part[1].value) != ("operator", "=="):
        return None
    left, _, right = part
    if left.sort == "value":
        left, right = right, left
    is_so = (left.sort, left.value) == ("name", name) and right.sort == "value" and isinstance(right.value, str)
    return right.value if is_so else None
