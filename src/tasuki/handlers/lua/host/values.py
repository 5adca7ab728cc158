"""Python values on their way to Lua, and the flattened values that come back.

====================  ==========================  =====================================================
Python                Lua                         note
====================  ==========================  =====================================================
None                  nil                         a dict key with None is absent; a list keeps its length
bool, int, float      the same                    an int beyond 64 bits is refused
str                   text in UTF-8
bytes                 text                        back: text that is not UTF-8 comes back as bytes
list, tuple           table 1…n                   an empty one comes back as ``[]``
dict                  table                       an empty one is marked, and comes back as ``{}``
HandlerError          error object                keeps message, kind, retryable and details
anything else         as msgspec.to_builtins      dates as ISO text, dataclasses and structs as tables
====================  ==========================  =====================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from tasuki.errors import HandlerError

MAX_PARTS = 250_000
"""Parts of a value that values.lua takes; some formats can say more than that in a few bytes."""


def clamp_integers(value: Any) -> Any:
    """The value with every int beyond 64 bits moved to the nearer end (what ``json.decode`` does)."""
    if type(value) is int:
        return min(max(value, -(2**63)), 2**63 - 1)
    if type(value) is dict:
        return {key: clamp_integers(item) for key, item in value.items()}
    if type(value) is list:
        return [clamp_integers(item) for item in value]
    return value


def build(shape: str | None, values: Sequence[Any]) -> list[Any]:
    """The values that ``host.flatten`` of values.lua took apart; without a shape they are scalars already."""
    if not shape:  # None, or the false of host.ask
        return list(values)
    reader = _Reader(shape, values)
    return [reader.next() for _ in iter(reader.more, False)]


class _Reader:
    """Walks the letters of a shape and the flattened values side by side."""

    __slots__ = ("_letter", "_shape", "_value", "_values")

    def __init__(self, shape: str, values: Sequence[Any]) -> None:
        self._shape = shape
        self._values = values
        self._letter = 0
        self._value = 0

    def more(self) -> bool:
        return self._letter < len(self._shape)

    def _take(self) -> Any:
        self._value += 1
        return self._values[self._value - 1]

    def next(self) -> Any:
        letter = self._shape[self._letter]
        self._letter += 1
        value = self._take()
        if letter == "v":
            return value
        if letter == "b":
            return value.encode("latin-1")
        if letter == "x":
            return msgspec.Raw(plain_decimal(value).encode())
        if letter == "e":
            kind, retryable, details = self.next(), self.next(), self.next()
            details = details if isinstance(details, dict) else None
            return HandlerError(value, kind=kind, retryable=retryable, details=details)
        return self._container(letter, value)

    def _container(self, letter: str, count: int) -> Any:
        if letter in "OA":
            width = count * 2 if letter == "O" else count
            flat = self._values[self._value : self._value + width]
            self._value += width
            return dict(zip(flat[::2], flat[1::2], strict=True)) if letter == "O" else list(flat)
        if letter == "a":
            return [self.next() for _ in range(count)]
        return {self._take(): self.next() for _ in range(count)}


def plain_decimal(number: float) -> str:
    """Shortest text of a float that reads back the same, never with an exponent: 1e-7 is ``0.0000001``."""
    return format(Decimal(repr(number)), "f")
