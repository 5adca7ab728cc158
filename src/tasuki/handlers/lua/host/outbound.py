"""Python values on their way to Lua, of bounded depth and large ones in steps; and the flattened values that return.

``table_from`` converts a value in one call, which nothing can interrupt: 0.3 s for 250,000 parts. So a value of more
than STEP parts becomes a table piece by piece, and others may run between two pieces.

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

from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from time import thread_time
from typing import Any, NamedTuple

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


MAX_DEPTH = 128


MAX_STRAYS = 1_000
"""Integer keys of one value beside 1…n. Lua puts an integer at its remainder by the size of the table, so that a
publisher can choose keys which all share one place; the time for them grows with the square of their number."""


STEP = 5_000
"""Parts that are converted at a time: some milliseconds."""


MOST_WITH_HOLES = 5_000
"""Entries of a list up to which ``#`` counts its holes."""


SCALARS = frozenset({str, int, float, bool, type(None), bytes})

_CONTAINERS = frozenset({dict, list, tuple})

_KEYS = frozenset({str, int, bytes})

_FEW = 500
"""Parts from which on a conversion takes so long that it is measured."""


Steps = Generator[None, None, Any]
"""Yields after each step; returns a scalar or a Lua table."""


class LargeValueError(Exception):
    """A value has more than STEP parts."""


class Guest(NamedTuple):
    """What a conversion needs of a runtime."""

    new_object: Callable[[], Any]
    """Makes the marked empty table."""
    new_list: Callable[..., Any]
    """Makes a table of its arguments; None leaves a hole that ``#`` counts."""
    new_error: Callable[..., Any]
    """Makes an error object of message, kind, retryable and details."""
    extend: Callable[[Any, Any, int, int], Any]
    """Adds to a table the entries of a second one: behind an index that number of a list, or all of an object (0)."""
    to_table: Callable[[Any], Any]
    """Converts a prepared list or dict."""


class Outbound:
    """Makes values safe for ``table_from``: only known types, bounded depth, empty dicts marked, holes kept."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self.since: float | None = None
        """When its conversion began, by the thread's processor time; None for a small value, which takes no time."""
        self._left = _FEW

    @property
    def parts(self) -> int:
        """Of the value that is prepared, until now."""
        return (_FEW if self.since is None else STEP) - self._left

    def prepare(self, value: Any, depth: int = 0) -> Any:
        """The value itself where nothing must change, else a copy of that level.

        Raises:
            HandlerError: kind Invalid: nested too deep, of a type that has no place in Lua, or with more than
                MAX_STRAYS integer keys that are not 1…n, in one table.
            LargeValueError: it has more than STEP parts.
        """
        self.since, self._left = None, _FEW
        return self._object(value, depth) if type(value) is dict else self._prepare(value, depth)

    def _prepare(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in SCALARS:
            return value
        if kind is dict:
            return self._object(value, depth)
        if kind is list or kind is tuple:
            return self._list(value, depth)
        if isinstance(value, HandlerError):
            return self._error(value, depth)
        return self._prepare(_to_builtins(value), depth)

    def _object(self, value: dict[Any, Any], depth: int) -> Any:
        if not value:
            return self._guest.new_object()
        self._left = left = self._left - len(value)
        if left < 0 or depth >= MAX_DEPTH:
            self._look(depth)
        changed: dict[Any, Any] | None = None
        strays = 0
        for key, item in value.items():
            if type(key) is not str:
                if type(key) not in _KEYS:
                    return self._object(_with_texts(value), depth)
                strays = _counted(strays, key, len(value))
            kind = type(item)
            if kind in SCALARS:
                continue
            if kind is dict:
                prepared = self._object(item, depth + 1)
            elif kind is list:
                prepared = self._list(item, depth + 1)
            else:
                prepared = self._prepare(item, depth + 1)
            if prepared is not item:
                changed = changed or dict(value)
                changed[key] = prepared
        return changed or value

    def _list(self, value: Sequence[Any], depth: int) -> Any:
        self._left = left = self._left - len(value)
        if left < 0 or depth >= MAX_DEPTH:
            self._look(depth)
        changed: list[Any] | None = None
        for index, item in enumerate(value):
            kind = type(item)
            if kind in SCALARS:
                continue
            if kind is dict:
                prepared = self._object(item, depth + 1)
            elif kind is list:
                prepared = self._list(item, depth + 1)
            else:
                prepared = self._prepare(item, depth + 1)
            if prepared is not item:
                changed = changed or list(value)
                changed[index] = prepared
        items = changed or value
        return self._guest.new_list(*map(self._whole, items)) if None in items else items

    def _look(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise _invalid(f"value is nested deeper than {MAX_DEPTH} levels")
        if self.since is None:
            self.since = thread_time()
            self._left += STEP - _FEW
        if self._left < 0:
            raise LargeValueError

    def _whole(self, item: Any) -> Any:
        return self._guest.to_table(item) if type(item) in _CONTAINERS else item

    def _error(self, error: HandlerError, depth: int) -> Any:
        details = self._prepare(dict(error.details), depth + 1) if error.details else None
        return self._guest.new_error(error.message, error.kind, error.retryable, self._whole(details))


class Conversion:
    """A large value becomes a Lua table in steps."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._outbound = Outbound(guest)
        self.parts = 0
        """Of the value, until now."""

    def steps(self, value: Any, depth: int = 0) -> Steps:
        """Convert it; raises the HandlerError of ``Outbound.prepare``."""
        if type(value) is dict:
            return (yield from self._object(value, depth))
        if type(value) is list or type(value) is tuple:
            return (yield from self._list(value, depth))
        if isinstance(value, HandlerError):
            details = (yield from self._item(dict(value.details), depth + 1)) if value.details else None
            return self._guest.new_error(value.message, value.kind, value.retryable, self._whole(details))
        return (yield from self.steps(_to_builtins(value), depth))

    def _item(self, value: Any, depth: int) -> Steps:
        """One that is prepared only, if it is not large itself."""
        try:
            prepared = self._outbound.prepare(value, depth)
        except LargeValueError:
            yield
            return (yield from self.steps(value, depth))
        self.parts += self._outbound.parts
        return prepared

    def _object(self, value: dict[Any, Any], depth: int) -> Steps:
        kinds = set(map(type, value))
        if not kinds <= _KEYS:
            value = _with_texts(value)
        elif int in kinds:
            strays = 0
            for key in value:
                strays = _counted(strays, key, len(value))
        table, piece, done = None, {}, self.parts
        for key, item in value.items():
            self.parts += 1
            piece[key] = item if type(item) in SCALARS else (yield from self._item(item, depth + 1))
            if self.parts - done >= STEP:
                table, piece, done = self._extended(table, piece, 0), {}, self.parts
                yield
        return self._extended(table, piece, 0)

    def _list(self, value: Sequence[Any], depth: int) -> Steps:
        has_holes = len(value) <= MOST_WITH_HOLES and None in value
        table, piece, done, start = None, [], self.parts, 0
        for item in value:
            self.parts += 1
            piece.append(item if type(item) in SCALARS else (yield from self._item(item, depth + 1)))
            if self.parts - done >= STEP:
                if has_holes:
                    piece = [self._whole(item) for item in piece]
                else:
                    table, start, piece = self._extended(table, piece, start), start + len(piece), []
                done = self.parts
                yield
        if has_holes:
            return self._guest.new_list(*map(self._whole, piece))
        return self._extended(table, piece, start)

    def _whole(self, item: Any) -> Any:
        return self._guest.to_table(item) if type(item) in _CONTAINERS else item

    def _extended(self, table: Any, piece: Any, start: int) -> Any:
        """The table with the piece of this step; ``start``: entries of the list before it."""
        made = self._guest.to_table(piece)
        if table is None:
            return made
        self._guest.extend(table, made, start, len(piece) if type(piece) is list else 0)
        return table


def _with_texts(value: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()}


def _counted(strays: int, key: Any, size: int) -> int:
    if type(key) is int and not 0 < key <= size:
        strays += 1
        if strays > MAX_STRAYS:
            raise _invalid(f"value has more than {MAX_STRAYS} integer keys that are not 1…n; write them as texts")
    return strays


def _invalid(message: str) -> HandlerError:
    return HandlerError(message, kind="Invalid", retryable=False)


def _to_builtins(value: Any) -> Any:
    try:
        result = msgspec.to_builtins(value, builtin_types=(bytes,))
    except (TypeError, RecursionError):
        result = value
    if type(result) is type(value):
        raise _invalid(f"a value of type {type(value).__name__} cannot be passed to Lua")
    return result
