"""Lexer: an expression as tokens, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Sort = Literal["value", "name", "operator", "end"]


_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?(?![\w.]))
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<raw>`[^`]*`)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>\|\||&&|==|!=|<=|>=|\?\?|\?\.|[<>!?:.,()\[\]-])
    """,
    re.VERBOSE | re.ASCII,
)

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}

_SPELLED = {"or": "||", "and": "&&"}

_WORDS = frozenset({"not", "in", "contains", "startsWith", "endsWith", "matches"})

_CONSTANTS = {"true": True, "false": False, "nil": None}


class ExpressionError(ValueError):
    """An expression that cannot be read; the text says where."""

    def __init__(self, problem: str, source: str, at: int) -> None:
        before = source[:at]
        line, column = before.count("\n") + 1, at - before.rfind("\n")
        place = f"column {column}" if "\n" not in source.strip("\n") else f"line {line}, column {column}"
        super().__init__(f"{problem} (at {place} of the expression)")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression: a literal, a name, an operator (words included), or the end."""

    sort: Sort
    value: Any
    at: int

    def __str__(self) -> str:
        """As it is named in a message."""
        return "the end" if self.sort == "end" else repr(self.value)


def tokens_of(source: str) -> list[Token]:
    """The tokens, the last of them the end. Raises ExpressionError for a character that starts none."""
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            if source[at] == "=":
                raise ExpressionError("'=' has no meaning here; write ==", source, at)
            raise ExpressionError(f"{source[at]!r} has no meaning here", source, at)
        if match.lastgroup != "space":
            found.append(_token(match, source))
        at = match.end()
    return [*found, Token("end", "", at)]


def _token(match: re.Match[str], source: str) -> Token:
    words, at = match.group(), match.start()
    if match.lastgroup == "number":
        return Token("value", float(words) if set(words) & set(".eE") else int(words), at)
    if match.lastgroup == "text":
        return Token("value", _ESCAPE.sub(lambda escape: _unescaped(escape, source, at), words[1:-1]), at)
    if match.lastgroup == "raw":
        return Token("value", words[1:-1], at)
    if match.lastgroup == "name" and words in _CONSTANTS:
        return Token("value", _CONSTANTS[words], at)
    is_operator = match.lastgroup == "operator" or words in _WORDS or words in _SPELLED
    return Token("operator" if is_operator else "name", _SPELLED.get(words, words), at)


def _unescaped(escape: re.Match[str], source: str, at: int) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    if escape[2] not in _ESCAPES:
        raise ExpressionError(f"{escape[0]!r} is no escape; use a text in `backquotes` as it stands", source, at)
    return _ESCAPES[escape[2]]
