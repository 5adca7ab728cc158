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

from collections.abc import Callable, Sequence
from decimal import Decimal
from time import thread_time
from typing import Any

import msgspec

from tasuki.errors import HandlerError, LuaLimitError
from tasuki.handlers.lua.limits import LuaLimits

MAX_DEPTH = 128

MAX_PARTS = 250_000
"""Parts of a value that values.lua takes; some formats can say more than that in a few bytes."""

MAX_STRAYS = 1_000
"""Integer keys of one value beside 1…n. Lua puts an integer at its remainder by the size of the table, so that a
publisher can choose keys which all share one place; the time for them grows with the square of their number."""

SCALARS = frozenset({str, int, float, bool, type(None), bytes})
_FEW = 500
"""Parts from which on a conversion takes so long that it is measured."""
_PART = 16
"""Bytes that a part needs in Lua at least; a table needs four times as many."""
_CONTAINERS = frozenset({dict, list, tuple})


class Outbound:
    """Makes values safe for ``table_from``: only known types, bounded depth, empty dicts marked, holes kept.

    What it walks counts for the script's limits of memory and time: ``table_from`` itself cannot be interrupted.

    Args:
        new_object: makes the marked empty table.
        new_list: makes a table of its arguments; None leaves a hole that ``#`` counts.
        new_error: makes an error object of message, kind, retryable and details.
        to_table: converts a prepared list or dict.
        limits: of the script.
    """

    def __init__(
        self,
        new_object: Callable[[], Any],
        new_list: Callable[..., Any],
        new_error: Callable[..., Any],
        to_table: Callable[[Any], Any],
        limits: LuaLimits,
    ) -> None:
        self._new_object = new_object
        self._new_list = new_list
        self._new_error = new_error
        self._to_table = to_table
        self._limits = limits
        self._parts = 0
        self._next_look = _FEW
        self._since: float | None = None

    def begin(self) -> None:
        """What comes next is another conversion."""
        self._parts = 0
        self._next_look = _FEW
        self._since = None

    def prepare(self, value: Any, depth: int = 0) -> Any:
        """The value itself where nothing must change, else a copy of that level.

        Raises:
            HandlerError: kind Invalid: nested too deep, of a type that has no place in Lua, or with more than
                MAX_STRAYS integer keys that are not 1…n, in one table.
            LuaLimitError: it needs more memory or time than the script may use.
        """
        kind = type(value)
        if kind in SCALARS:
            return value
        if depth >= MAX_DEPTH:
            raise HandlerError(f"value is nested deeper than {MAX_DEPTH} levels", kind="Invalid", retryable=False)
        if kind is dict:
            return self._object(value, depth)
        if kind is list or kind is tuple:
            return self._list(value, depth)
        if isinstance(value, HandlerError):
            return self._error(value, depth)
        return self.prepare(_to_builtins(value), depth)

    def _object(self, value: dict[Any, Any], depth: int) -> Any:
        if not value:
            return self._new_object()
        self._count(len(value))
        changed: dict[Any, Any] | None = None
        strays = 0
        for key, item in value.items():
            if type(key) is not str:
                if type(key) is not int and type(key) is not bytes:
                    return self._object({str(key): item for key, item in value.items()}, depth)
                strays += type(key) is int and not 0 < key <= len(value)
                if strays > MAX_STRAYS:
                    problem = f"value has more than {MAX_STRAYS} integer keys that are not 1…n; write them as texts"
                    raise HandlerError(problem, kind="Invalid", retryable=False)
            if type(item) in SCALARS:
                continue
            prepared = self.prepare(item, depth + 1)
            if prepared is not item:
                changed = changed or dict(value)
                changed[key] = prepared
        return changed or value

    def _count(self, parts: int) -> None:
        """A container of this number of parts is about to be walked."""
        self._parts += parts + 4
        if self._parts < self._next_look:
            return
        self._next_look = self._parts + _FEW
        if self._parts * _PART > self._limits.memory:
            raise LuaLimitError(self._limits.describe("memory"), limit="memory")
        if self._since is None:
            self._since = thread_time()
        elif (thread_time() - self._since) * 2 > self._limits.time:  # the conversion itself takes longer than the walk
            raise LuaLimitError(self._limits.describe("time"), limit="time")

    def seconds(self) -> float:
        """Processor time of this conversion until now; none for a small one, which is exact enough.

        Raises:
            LuaLimitError: it is more than the script may use.
        """
        if self._since is None:
            return 0.0
        took = thread_time() - self._since
        if took > self._limits.time:
            raise LuaLimitError(self._limits.describe("time"), limit="time")
        return took

    def _list(self, value: Sequence[Any], depth: int) -> Any:
        self._count(len(value))
        changed: list[Any] | None = None
        for index, item in enumerate(value):
            if type(item) in SCALARS:
                continue
            prepared = self.prepare(item, depth + 1)
            if prepared is not item:
                changed = changed or list(value)
                changed[index] = prepared
        items = changed or value
        if None not in items or len(items) > 5000:
            return items
        return self._new_list(*[self._to_table(item) if type(item) in _CONTAINERS else item for item in items])

    def _error(self, error: HandlerError, depth: int) -> Any:
        details = self.prepare(dict(error.details), depth + 1) if error.details else None
        table = self._to_table(details) if type(details) is dict else details
        return self._new_error(error.message, error.kind, error.retryable, table)


def _to_builtins(value: Any) -> Any:
    try:
        result = msgspec.to_builtins(value, builtin_types=(bytes,))
    except (TypeError, RecursionError):
        result = value
    if type(result) is type(value):
        name = type(value).__name__
        raise HandlerError(f"a value of type {name} cannot be passed to Lua", kind="Invalid", retryable=False)
    return result


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
