"""Assignments with the key nil, which Wippy's Lua ignores and Lua 5.4 refuses: those that can be seen are redirected.

``t[k] = v`` becomes ``;(k == nil and __ignored or t)[k] = v``, where the table ``__ignored`` keeps nothing, if ``k`` is
``nil``, a global, or a local that was declared without a value. Other keys are left alone, for the check of each would
slow the loops of honest scripts by half; with nil they are the error that they are in Lua 5.4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasuki.handlers.lua.types.lexer import LuaToken, tokens

_HINT = re.compile(r"\[\s*[A-Za-z_]\w*\s*\]\s*=(?!=)")
"""Matches in every source that has something to redirect, also in others."""

Scope = dict[str, bool]
"""The locals of one block; whether each was declared without a value."""


def ignore_nil_keys(source: str) -> str:
    """The source with these assignments redirected, each in its line; types must be stripped already."""
    if _HINT.search(source) is None:
        return source
    parts, done = [], 0
    found = tokens(source)
    for first, key in _Reader(found).assignments():
        start, end = found[first].start, found[key - 1].start
        name = found[key].text
        parts.append(f"{source[done:start]};({name} == nil and __ignored or {source[start:end]})")
        done = end
    return "".join([*parts, source[done:]])


class _Reader:
    """Walks over the tokens once, and knows the locals that each can see."""

    def __init__(self, found: Sequence[LuaToken]) -> None:
        self._tokens = found
        self._scopes: list[Scope] = [{}]
        self._of_loop: Scope = {}

    def assignments(self) -> list[tuple[int, int]]:
        """Where the table and the key of each assignment to redirect stand."""
        found = []
        for at, (kind, text, _) in enumerate(self._tokens):
            if kind == "word":
                self._word(at, text)
            if (kind == "name" or text == "nil") and self._is_key(at) and self._may_be_nil(text):
                first = self._table(at - 2)
                if first is not None:
                    found.append((first, at))
        return found

    def _text(self, at: int) -> str:
        return self._tokens[min(at, len(self._tokens) - 1)].text if at >= 0 else ""

    def _is_name(self, at: int) -> bool:
        return 0 <= at < len(self._tokens) and self._tokens[at].kind == "name"

    def _is_key(self, at: int) -> bool:
        return self._text(at - 1) == "[" and self._text(at + 1) == "]" and self._text(at + 2) == "="

    def _table(self, at: int) -> int | None:
        """The start of the names ``a.b.c`` that end here, if a statement starts with them."""
        while self._is_name(at) and self._text(at - 1) == "." and self._is_name(at - 2):
            at -= 2
        return at if self._is_name(at) and self._text(at - 1) not in {",", ".", ":"} else None

    def _may_be_nil(self, name: str) -> bool:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), True)

    def _word(self, at: int, text: str) -> None:
        if text == "local":
            self._local(at + 1)
        elif text == "for":
            self._of_loop = dict.fromkeys(self._names(at + 1), False)
        elif text == "function":
            self._scopes.append(dict.fromkeys(self._parameters(at + 1), False))
        elif text in {"do", "then", "else", "repeat"}:
            if text == "else":
                self._close()
            self._scopes.append(self._of_loop if text == "do" else {})
            self._of_loop = {} if text == "do" else self._of_loop
        elif text in {"end", "until", "elseif"}:
            self._close()

    def _close(self) -> None:
        if len(self._scopes) > 1:
            self._scopes.pop()

    def _local(self, at: int) -> None:
        if self._text(at) == "function":
            self._scopes[-1][self._text(at + 1)] = False
            return
        names = self._names(at)
        end = self._end_of_names(at)
        is_empty = self._text(end) != "=" or (len(names) == 1 and self._text(end + 1) == "nil")
        self._scopes[-1].update(dict.fromkeys(names, is_empty))

    def _end_of_names(self, at: int) -> int:
        while self._is_name(at):
            at += 4 if self._text(at + 1) == "<" else 1
            if self._text(at) != ",":
                break
            at += 1
        return at

    def _names(self, at: int) -> list[str]:
        return [token.text for token in self._tokens[at : self._end_of_names(at)] if token.kind == "name"]

    def _parameters(self, at: int) -> list[str]:
        while self._is_name(at) or self._text(at) in {".", ":"}:
            at += 1
        return [*self._names(at + 1), "self"]
