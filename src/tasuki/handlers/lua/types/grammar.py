"""Reads types and interfaces: every method takes the index of a token and returns the index after the type.

A type ends where nothing can continue it. A parenthesis or a brace never continues a name, so a statement that starts
with one is safe after ``local x: T``. In a cast ``<`` opens type arguments only if they are well formed and closed on
the same line; else it compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasuki.handlers.lua.types.lexer import Token

_MAX_DEPTH = 60

_BRACKETS = {"(": ")", "[": "]", "{": "}"}

_CLOSING = frozenset(_BRACKETS.values())

_LITERALS = frozenset({"nil", "true", "false", "function"})


class Malformed(Exception):  # noqa: N818 - it never leaves this package
    """No type stands here."""


class TypeReader:
    """Finds the ends of types in a list of tokens."""

    def __init__(self, source: str, tokens: Sequence[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._closing = _pairs(tokens)
        self._depth = 0
        self._in_cast = False

    def text(self, at: int) -> str:
        """The text of a token; empty after the last."""
        return self._tokens[min(at, len(self._tokens) - 1)].text

    def kind(self, at: int) -> str:
        """The kind of a token; empty after the last."""
        return self._tokens[min(at, len(self._tokens) - 1)].kind

    def is_one_line(self, first: int, last: int) -> bool:
        """Whether there is no line end between the starts of two tokens."""
        return "\n" not in self._source[self._tokens[first].start : self._tokens[last].start]

    def expect(self, at: int, text: str) -> int:
        """Step over a token that must be there."""
        if self.text(at) != text:
            raise Malformed
        return at + 1

    def starts_type(self, at: int) -> bool:
        """Whether a type can start with this token."""
        return self.kind(at) in ("name", "text", "number") or self.text(at) in {"{", "(", *_LITERALS}

    def cast(self, at: int) -> int:
        """The type of a cast."""
        self._in_cast = True
        try:
            return self.type(at)
        finally:
            self._in_cast = False

    def type(self, at: int) -> int:
        """A whole type."""
        return self._deeper(lambda: self._rest(self._primary(at)))

    def _deeper(self, read: Callable[[], int]) -> int:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Malformed
        try:
            return read()
        finally:
            self._depth -= 1

    def _rest(self, at: int) -> int:
        end = self._suffixes(at)
        if self.text(end) == "extends":
            end = self._suffixes(self._primary(end + 1), conditional=True)
            end = self.type(self.expect(end, "?"))
            return self.type(self.expect(end, ":"))
        while self.text(end) in {"|", "&"}:
            end = self._suffixes(self._primary(end + 1))
        return end

    def _suffixes(self, at: int, *, conditional: bool = False) -> int:
        while True:
            text = self.text(at)
            if text == "[":
                at = at + 2 if self.text(at + 1) == "]" else self.expect(self.type(at + 1), "]")
            elif text == "@":
                at = self._annotation(at)
            elif text == "?" and not (conditional and self.starts_type(at + 1)):
                at += 1
            else:
                return at

    def _annotation(self, at: int) -> int:
        if self.kind(at + 1) != "name":
            raise Malformed
        if self.text(at + 2) == "(" and self.is_one_line(at, at + 2):
            return self.matching(at + 2) + 1
        return at + 2

    def _primary(self, at: int) -> int:
        text = self.text(at)
        if text == "{":
            return self._braces(at)
        if text == "(":
            return self._parenthesised(at)
        if self.kind(at) in ("text", "number") or text in _LITERALS:
            return at + 1
        if self.kind(at) != "name":
            raise Malformed
        return self._worded(at, text) or self._named(at)

    def _worded(self, at: int, text: str) -> int | None:
        """A type that a contextual word introduces; None if it is an ordinary name here."""
        after = self.text(at + 1)
        if text == "fun" and after == "(":
            end = self.parameters(at + 1)
            return self.results(end + 1) if self.text(end) == ":" else end
        if text in ("readonly", "interface") and after == "{":
            return self._braces(at + 1)
        if text == "typeof" and after == "(":
            return self.matching(at + 1) + 1
        if text == "keyof" and after == "(":
            return self.expect(self.type(at + 2), ")")
        if text == "asserts" and self.kind(at + 1) == "name" and self.is_one_line(at, at + 1):
            return self.type(at + 3) if self.text(at + 2) == "is" else at + 2
        return None

    def _named(self, at: int) -> int:
        at += 1
        while self.text(at) == "." and self.kind(at + 1) == "name":
            at += 2
        if self.text(at) != "<" or (self.text(at + 1) in {"const", "close"} and self.text(at + 2) == ">"):
            return at
        if not self._in_cast:
            return self.arguments(at)
        try:
            end = self.arguments(at)
        except Malformed:
            return at
        return end if self.is_one_line(at, end - 1) else at

    def arguments(self, at: int) -> int:
        """``<T, U>``."""
        return self.expect(self.types(at + 1), ">")

    def types(self, at: int) -> int:
        """One type or more, with commas."""
        at = self.type(at)
        while self.text(at) == ",":
            at = self.type(at + 1)
        return at

    def generics(self, at: int) -> int:
        """``<T, K: Bound>`` of a declaration."""
        while True:
            if self.kind(at + 1) != "name":
                raise Malformed
            at += 2
            if self.text(at) == ":":
                at = self.type(at + 1)
            if self.text(at) != ",":
                return self.expect(at, ">")

    def _braces(self, at: int) -> int:
        at += 1
        while self.text(at) != "}":
            at = self._field(at)
            if self.text(at) not in {",", ";"}:
                break
            at += 1
        return self.expect(at, "}")

    def _field(self, at: int) -> int:
        if self.text(at) == "[":
            return self.type(self.expect(self.expect(self.type(at + 1), "]"), ":"))
        if self.kind(at) == "name" and self.text(at + 1) in {":", "?:"}:
            return self.type(at + 2)
        return self.type(at)

    def _parenthesised(self, at: int) -> int:
        if self.text(self.matching(at) + 1) == "->":
            return self.results(self.parameters(at) + 1)
        return self.expect(self.type(at + 1), ")")

    def parameters(self, at: int) -> int:
        """The parentheses of a function type: types, each with a name or without."""
        at = self.expect(at, "(")
        while self.text(at) != ")":
            if self.text(at) == "...":
                at += 2 if self.text(at + 1) == ":" else 1
                at = self.type(at) if self.starts_type(at) else at
            else:
                at = self._field(at)
            if self.text(at) != ",":
                break
            at += 1
        return self.expect(at, ")")

    def results(self, at: int) -> int:
        """One type, or several (or none) in parentheses."""
        if self.text(at) != "(" or self.text(self.matching(at) + 1) == "->":
            return self.type(at)
        if self.text(at + 1) == ")":
            return at + 2
        end = self._deeper(lambda: self.type(at + 1))
        if self.text(end) == ",":
            return self.expect(self.types(end + 1), ")")
        return self._rest(self.expect(end, ")"))

    def declared_results(self, at: int) -> int:
        """The results of a function's head: in parentheses or a bare list."""
        at = self.results(at)
        while self.text(at) == ",":
            at = self.type(at + 1)
        return at

    def matching(self, at: int) -> int:
        """The bracket that closes this one."""
        if at not in self._closing:
            raise Malformed
        return self._closing[at]


def _pairs(tokens: Sequence[Token]) -> dict[int, int]:
    """Index of the opening bracket → index of its closing one, up to the first that does not fit."""
    found: dict[int, int] = {}
    open_brackets: list[int] = []
    for at, (_, text, _) in enumerate(tokens):
        if text in _BRACKETS:
            open_brackets.append(at)
        elif text in _CLOSING:
            if not open_brackets or _BRACKETS[tokens[open_brackets[-1]].text] != text:
                break
            found[open_brackets.pop()] = at
    return found


def read_interface(reader: TypeReader, at: int) -> int:
    """The index after ``interface Name<T>: A, B … end``, which starts at this token."""
    at += 2
    if reader.text(at) == "<":
        at = reader.generics(at)
    if reader.text(at) == ":":
        at = reader.types(at + 1)
    while reader.text(at) != "end":
        at = _member(reader, at)
        if reader.text(at) in {",", ";"}:
            at += 1
    return at + 1


def _member(reader: TypeReader, at: int) -> int:
    if reader.text(at) == "function" and reader.kind(at + 1) == "name":
        at += 2
        if reader.text(at) == "<":
            at = reader.generics(at)
        at = reader.parameters(at)
        return reader.declared_results(at + 1) if reader.text(at) == ":" else at
    if reader.kind(at) == "name" and reader.text(at + 1) in {":", "?:"}:
        return reader.type(at + 2)
    raise Malformed
