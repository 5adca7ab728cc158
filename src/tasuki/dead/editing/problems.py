"""Problems of an edited message, and the line of a JSON text that each is about; no I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from tasuki.errors import PublishError

BODY = "body"


class Problem(NamedTuple):
    """Why an edited message cannot be sent."""

    field: str
    """``body``, ``to``, ``header.`` and a name, or empty: of the message as a whole."""
    text: str
    line: int = 0
    """Of the text of the body, from 1; 0: no line of its own."""

    def __str__(self) -> str:
        """On one line."""
        place = f"{self.field}, line {self.line}" if self.line else self.field
        return f"{place}: {self.text}" if place else self.text


class EditError(PublishError):
    """An edited message that must not be sent; nothing was changed. ``problems`` has all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


_BYTE = re.compile(r"\(byte (\d+)\)$")

_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`$")

_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.([^.\[\]]+)")

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)

_ANY = "..."
"""The step of msgspec into a mapping, whose key it does not say."""

_ENDED = ("Input data was truncated", "it ends too early")

_DEEPEST = 50


@dataclass(slots=True)
class _Open:
    """An open container, and where in it the walk is."""

    is_object: bool
    step: str | int = 0
    is_key: bool = True
    """Whether the next text is a key."""


def line_of(text: str, error: str) -> int:
    """The line of a JSON text that an error of msgspec is about, from 1; 0: it names none."""
    if byte := _BYTE.search(error):
        return _line_at(text.encode(), int(byte[1]))
    if error.endswith(_ENDED):
        return text.rstrip().count("\n") + 1
    if path := _PATH.search(error):
        data = text.encode()
        return _line_at(data, offset_of(data, path[1]))
    return 0


def offset_of(data: bytes, path: str) -> int:
    """Where the value of a path begins in a JSON text, or of the part of the path that can be followed."""
    named = takewhile(lambda step: step[1] != _ANY, _STEP.finditer(path))
    steps = [int(step[1]) if step[1] else step[2] for step in named][:_DEEPEST]
    stack: list[_Open] = []
    found, deepest = 0, -1
    for token in _TOKEN.finditer(data):
        mark, top = token[0], stack[-1] if stack else None
        if mark in (b"]", b"}"):
            del stack[-1:]
        elif mark == b",":
            if top is not None:
                top.step, top.is_key = top.step if isinstance(top.step, str) else top.step + 1, True
        elif top is not None and top.is_object and top.is_key and mark != b":":
            top.step, top.is_key = mark[1:-1].decode("utf-8", "replace"), False
        elif mark != b":":
            depth = len(stack)
            if deepest < depth <= len(steps) and [each.step for each in stack] == steps[:depth]:
                found, deepest = token.start(), depth
                if depth == len(steps):
                    break
            if mark in (b"[", b"{"):
                stack.append(_Open(mark == b"{"))
    return found


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
