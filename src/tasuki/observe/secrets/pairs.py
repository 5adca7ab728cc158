"""Pairs: the values of telling names in a text, as JSON, Python, YAML, headers and command lines write them; no I/O.

The text may be cut off anywhere: a value that is cut off is masked whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tasuki.observe.secrets.names import is_secret_name

# A name, in quotes or bare, and what parts it from its value. In a text within a text the quotes are escaped.
_NAMED = re.compile(
    r"""(?x)
    (?: (?P<quote>["']) (?P<quoted>[^"'\n:=]{1,256}+) (?P=quote)
      | (?<![\w.$-]) (?P<bare>[\w.$-]++) (?P<late>\\{0,8}["'])?
    )
    \s{0,4} (?: =>? | ==? | :(?!:|//) =? ) \s{0,4}
    """
)
_SCHEME = re.compile(r"(?i)(?:bearer|basic|digest|negotiate|token|apikey)\s{1,4}")
_QUOTE = re.compile(r"""(?<!\\)(\\*+)(["'])""")
_TOKEN = re.compile(r"""(?<!\\)(?P<escapes>\\*+)(?P<quote>["'])|[\[\](){}]""")
_BARE = re.compile(r"""\\{0,8}["']?[^\s,;&{}\[\]()"'\\]++""")
_REST_OF_LINE = re.compile(r"""(?:="[^"\n]*+"|[^\n"'\\])++""")
"""The value of a header, up to the end of the line or of the text around it: all cookies, all parts of a digest."""
_HEADER = re.compile(r"(?i)(?:cookies?|auth|authorization)$")
_BEFORE_PROSE = re.compile(r"(?i)\b(?:an?|no)\s$")
_PROSE = re.compile(r"[a-z]{1,20} [a-z]")
"""A sentence of words: "needs a token: write one into a file"."""
_DEEPEST_QUOTE = 8
"""Most escapes before a quote: texts within texts within texts."""
_MOST_OPEN = 8
"""Containers of one text that may stay open, before all that follows is masked: each was read to the end."""


class _Value(NamedTuple):
    end: int
    """Where it ends in the text."""
    shown: str
    """What stands in its place; empty: it is no secret."""


class Masker:
    """Masks one text; ``mask`` stands for each secret, ``plain`` are bare values in lower case that are none."""

    def __init__(self, text: str, mask: str, plain: frozenset[str]) -> None:
        self._text = text
        self._mask = mask
        self._plain = plain
        self._open = 0

    def masked(self) -> str:
        """The text without the values of telling names."""
        text = self._text
        parts, done, at = [], 0, 0
        while (found := _NAMED.search(text, at)) is not None:
            at = found.end()
            if self._is_telling(found):
                value = self._value(found)
                if value.shown:
                    parts += [text[done:at], value.shown]
                    done = value.end
                at = max(value.end, at)
        return "".join([*parts, text[done:]])

    def _is_telling(self, found: re.Match[str]) -> bool:
        bare: str | None = found["bare"]
        if bare is None:
            return is_secret_name(found["quoted"].rstrip("\\"))
        if is_secret_name(bare):
            return True
        # An escaped line feed, and a name.
        is_escaped = found.start() > 0 and self._text[found.start() - 1] == "\\" and bare[0] in "nrtbfv"
        return is_escaped and is_secret_name(bare[1:])

    def _value(self, found: re.Match[str]) -> _Value:
        at, quote = found.end(), _quote_of(found)
        if not quote and _PROSE.match(self._text, at) and self._is_prose(found.start()):
            return _Value(at, "")
        if not quote and (scheme := _SCHEME.match(self._text, at)) is not None:
            at = scheme.end()
        kept = self._text[found.end() : at]
        if (own := _QUOTE.match(self._text, at)) is not None and len(own[1]) <= _DEEPEST_QUOTE:
            return self._quoted(own, kept)
        if self._text[at : at + 1] in ("{", "[", "("):
            return self._container(at, kept, quote)
        is_header = not quote and ":" in found[0] and _HEADER.search(found["bare"]) is not None
        value = (_REST_OF_LINE if is_header else _BARE).match(self._text, at)
        if value is None or value[0].casefold() in self._plain:
            return _Value(at, "")
        return _Value(value.end(), f"{kept}{quote}{self._mask}{quote}")

    def _is_prose(self, at: int) -> bool:
        """Whether an indefinite article stands before a name: no field has one."""
        return _BEFORE_PROSE.search(self._text[max(at - 4, 0) : at]) is not None

    def _quoted(self, quote: re.Match[str], kept: str) -> _Value:
        """The value is a text in quotes; cut off, it ends with its line."""
        escapes = len(quote[1])
        for other in _QUOTE.finditer(self._text, quote.end()):
            if _closes(other[2], len(other[1]), quote[2], escapes):
                is_empty = other.start() == quote.end()
                return _Value(other.end(), "" if is_empty else f"{kept}{quote[0]}{self._mask}{quote[0]}")
            if other[2] == quote[2] and len(other[1]) < escapes:  # the text around it ends
                return _Value(other.start(), kept + self._mask)
        return _Value(self._end_of_line(quote.end()), kept + self._mask)

    def _container(self, at: int, kept: str, quote: str) -> _Value:
        """The value is a list, a mapping or a tuple, whose texts have quotes like the name."""
        end = self._closing(at, quote)
        if end is None:  # in prose a bracket may stay open; in a document the rest was cut off
            self._open += 1
            is_prose = not quote and self._open <= _MOST_OPEN
            end = self._end_of_line(at) if is_prose else len(self._text)
        elif end - at > 1 and not self._text[at + 1 : end - 1].strip():
            return _Value(end, "")
        return _Value(end, f"{kept}{quote}{self._mask}{quote}")

    def _closing(self, at: int, around: str) -> int | None:
        """Where the container ends, or the text around it; None: it is cut off."""
        depth, inside, escapes = 0, "", max(len(around) - 1, 0)
        for token in _TOKEN.finditer(self._text, at):
            quote: str | None = token["quote"]
            if quote is not None:
                count = len(token["escapes"])
                if count < escapes and quote == around[-1]:
                    return token.start()
                if not inside:
                    inside = quote if count == escapes else ""
                elif _closes(quote, count, inside, escapes):
                    inside = ""
            elif not inside:
                depth += 1 if token[0] in "[({" else -1
                if not depth:
                    return token.end()
        return None

    def _end_of_line(self, at: int) -> int:
        end = self._text.find("\n", at)
        return len(self._text) if end < 0 else end


def _quote_of(found: re.Match[str]) -> str:
    """The quote after the name, with its escapes; empty: the name is bare."""
    if found["bare"] is not None:
        return found["late"] or ""
    quoted: str = found["quoted"]
    return "\\" * (len(quoted) - len(quoted.rstrip("\\"))) + found["quote"]


def _closes(quote: str, escapes: int, opened: str, level: int) -> bool:
    """Whether a quote ends a text that was opened with ``escapes``; an even number of them are backslashes."""
    return quote == opened and (escapes == level or (not level and escapes % 2 == 0))
