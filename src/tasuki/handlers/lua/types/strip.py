"""The stripper: walks over the tokens of a source and notes the parts to blank out.

It knows at every token whether an operand must follow, a value is complete, or a statement starts; no more is needed
to tell ``a::b`` from a label, ``x as T`` from a name, and a declaration from the function ``type``. What the types
do to the meaning is kept: a cast cuts a call to one value (it gets parentheses), and ends its statement (it gets a
semicolon where the next line starts with a parenthesis).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tasuki.handlers.lua.types.grammar import Malformed, TypeReader, read_interface
from tasuki.handlers.lua.types.lexer import tokens

START, OPERAND, VALUE, CLOSED = range(4)
"""A statement starts; an operand must follow; a value that a call can continue; one that nothing can continue."""

_HINT = re.compile(
    r"""!|::|\bas\b|\b(?:type|interface)\s+[A-Za-z_]|\bfunction\b[\w\s.:]{0,200}<|\)\s*:|\blocal\b[\w\s,<>]{0,200}:
    |\b(?:fun|typeof|keyof)\s*\(|\b(?:readonly|interface)\s*\{
    |:(?!\s*\w+[ \t]*(?:[({"']|\[[\[=]))""",
    re.VERBOSE,
)
"""Matches in every typed source; a source without a match is not even split into tokens."""

_VALUES = frozenset({"nil", "true", "false", "end"})
_STARTERS = frozenset({"then", "do", "else", "repeat", "return", "break", ";"})
_VISIBLE = re.compile(r"[^\r\n]")


def strip(source: str) -> str:
    """The source without types; what has none comes back unchanged.

    Where a type is malformed the rest is left as it is: Lua then reports the mistake with its line.
    """
    if _HINT.search(source) is None:
        return source
    stripper = _Stripper(source)
    try:
        stripper.walk()
    except (Malformed, RecursionError):
        pass
    return stripper.result()


class _Stripper:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokens(source)
        self._reader = TypeReader(source, self._tokens)
        self._replaced: dict[int, str] = {}
        self._opened: set[int] = set()
        self._state = START
        self._first = 0  # token that the value under way starts with
        self._is_call = False  # whether it may be several values
        self._brackets: list[tuple[int, bool]] = []
        self._special: Mapping[str, Callable[[int], int | None]] = {
            ".": self._field,
            ":": self._field,
            "::": self._colons,
            "!": self._bang,
            "as": self._as,
            "function": self._function,
            "goto": self._goto,
            "interface": self._interface,
            "local": self._local,
            "type": self._type,
        }

    def walk(self) -> None:
        at, last = 0, len(self._tokens) - 1
        while at < last:
            special = self._special.get(self._tokens[at].text)
            end = special(at) if special else None
            at = self._plain(at) if end is None else end

    def result(self) -> str:
        if not self._replaced:
            return self._source
        parts, done = [], 0
        for at in sorted(self._opened | self._replaced.keys()):
            token = self._tokens[at]
            parts.append(self._source[done : token.start])
            done = token.start
            if at in self._opened:
                parts.append("(")
            if at in self._replaced:
                parts.append(self._replaced[at])
                done = token.end
        return "".join([*parts, self._source[done:]])

    def _erase(self, first: int, end: int) -> int:
        for at in range(first, end):
            self._replaced[at] = _VISIBLE.sub(" ", self._tokens[at].text)
        return end

    def _is_complete(self) -> bool:
        return self._state in (VALUE, CLOSED)

    # Ordinary Lua ----------------------------------------------------------------------------------------------------

    def _plain(self, at: int) -> int:
        kind, text, _ = self._tokens[at]
        if kind == "text" and self._state == VALUE:
            self._is_call = True
        elif kind in ("name", "number", "text") or text in _VALUES or text == "...":
            self._first, self._state, self._is_call = at, VALUE, text == "..."
        elif text in {"(", "[", "{"}:
            self._open(at, text)
        elif text in {")", "]", "}"}:
            if self._brackets:
                self._first, self._is_call = self._brackets.pop()
            self._state = VALUE
        else:
            self._state = START if text in _STARTERS else OPERAND
        return at + 1

    def _open(self, at: int, text: str) -> None:
        continues = self._state == VALUE
        if text == "(" and self._state == CLOSED and at - 1 in self._replaced:
            blank = self._replaced[at - 1]
            self._replaced[at - 1] = ";" + blank[1:]
        self._brackets.append((self._first if continues else at, continues and text != "["))
        self._state = OPERAND

    def _field(self, at: int) -> int | None:
        if not self._is_complete() or self._reader.kind(at + 1) != "name":
            return None
        self._is_call, self._state = False, VALUE
        return at + 2

    def _goto(self, at: int) -> int:
        self._state = START
        return at + 2

    # Declarations ----------------------------------------------------------------------------------------------------

    def _annotation(self, at: int) -> int:
        return self._erase(at, self._reader.type(at + 1)) if self._reader.text(at) == ":" else at

    def _attribute(self, at: int) -> int:
        return at + 3 if self._reader.text(at) == "<" else at

    def _local(self, at: int) -> int:
        reader = self._reader
        self._state = START
        if reader.text(at + 1) == "function":
            return at + 1
        while reader.kind(at + 1) == "name":
            at = self._attribute(self._annotation(self._attribute(at + 2)))
            if reader.text(at) != ",":
                self._state = CLOSED
                return at
        return at + 1

    def _function(self, at: int) -> int:
        reader = self._reader
        at += 1
        while reader.kind(at) == "name" or reader.text(at) in {".", ":"}:
            at += 1
        if reader.text(at) == "<":
            at = self._erase(at, reader.generics(at))
        at = self._parameters(at)
        if reader.text(at) == ":":
            at = self._erase(at, reader.declared_results(at + 1))
        self._state = START
        return at

    def _parameters(self, at: int) -> int:
        reader = self._reader
        at = reader.expect(at, "(")
        while reader.kind(at) == "name" or reader.text(at) == "...":
            at = self._annotation(at + 1)
            if reader.text(at) != ",":
                break
            at += 1
        return reader.expect(at, ")")

    def _type(self, at: int) -> int | None:
        reader = self._reader
        if self._state == OPERAND or reader.kind(at + 1) != "name" or reader.text(at + 2) not in {"=", "<"}:
            return None
        end = reader.generics(at + 2) if reader.text(at + 2) == "<" else at + 2
        return self._declared(at, reader.type(reader.expect(end, "=")))

    def _interface(self, at: int) -> int | None:
        if self._state == OPERAND or self._reader.kind(at + 1) != "name":
            return None
        return self._declared(at, read_interface(self._reader, at))

    def _declared(self, at: int, end: int) -> int:
        self._state = CLOSED
        return self._erase(at, end)

    # Casts -----------------------------------------------------------------------------------------------------------

    def _as(self, at: int) -> int | None:
        reader = self._reader
        is_cast = self._is_complete() and reader.is_one_line(at - 1, at) and reader.starts_type(at + 1)
        return self._cast(at, reader.cast(at + 1)) if is_cast else None

    def _colons(self, at: int) -> int | None:
        reader, complete = self._reader, self._is_complete()
        is_label = reader.kind(at + 1) == "name" and reader.text(at + 2) == "::"
        if is_label and (reader.is_one_line(at, at + 2) or not complete or not reader.is_one_line(at - 1, at)):
            self._state = START
            return at + 3
        if not complete:
            return None
        if reader.text(at + 1) == "<":
            return self._erase(at, reader.arguments(at + 1))
        return self._cast(at, reader.cast(at + 1))

    def _bang(self, at: int) -> int | None:
        return self._cast(at, at + 1) if self._is_complete() else None

    def _cast(self, at: int, end: int) -> int:
        self._erase(at, end)
        if self._is_call:
            self._opened.add(self._first)
            blank = self._replaced[at]
            self._replaced[at] = ")" + blank[2:]  # one column for the parenthesis that was added
        self._state, self._is_call = CLOSED, False
        return end
