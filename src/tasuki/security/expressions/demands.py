"""Demands: the value that an expression requires of a name, so that an index can be used; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tasuki.security.expressions.lexer import Token, tokens_of

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
