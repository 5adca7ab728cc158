"""The tokens of a Lua source, with the few operators that the type syntax adds; blanks and comments are between them.

``>`` is always its own token: in ``local x: List<T>= y`` it closes a list although ``=`` follows at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WORDS = frozenset({
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
})  # fmt: skip

# Possessive throughout: no text makes it go back. A long bracket that is never closed takes all the rest.
_TOKEN = re.compile(
    r"""
      (?P<blank>  (?> \s++ | --\[(?P<c>=*+)\[ (?> .*? \](?P=c)\] | .*+ ) | --[^\n]*+ )++ )
    | (?P<name>   [A-Za-z_][A-Za-z0-9_]*+ )
    | (?P<text>   "(?> \\z\s*+ | \\\r\n | \\. | [^"\\\n] )*+"
                | '(?> \\z\s*+ | \\\r\n | \\. | [^'\\\n] )*+'
                | \[(?P<s>=*+)\[ (?> .*? \](?P=s)\] | .*+ ) )
    | (?P<number> 0[xX][0-9A-Fa-f]*+(?:\.[0-9A-Fa-f]*+)?(?:[pP][+-]?[0-9]++)?
                | (?:[0-9]++(?:\.(?!\.)[0-9]*+)? | \.[0-9]++)(?:[eE][+-]?[0-9]++)? )
    | (?P<op>     \.\.\. | \.\. | :: | -> | \?: | == | ~= | <= | << | // | . )
    """,
    re.VERBOSE | re.DOTALL,
)


class LuaToken(NamedTuple):
    """``kind`` is name, word, text, number, op, or empty after the last; the source is ``text`` from ``start``."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next one may start."""
        return self.start + len(self.text)


def tokens(source: str) -> list[LuaToken]:
    """All tokens, and a last one without a kind."""
    found = []
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or ""
        if kind == "blank":
            continue
        text = match[kind]
        found.append(LuaToken("word" if text in WORDS else kind, text, match.start()))
    found.append(LuaToken("", "", len(source)))
    return found
