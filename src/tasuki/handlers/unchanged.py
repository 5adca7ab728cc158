"""Which part of a body a codec would change, and what to write in its place; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tasuki.errors import HandlerError
from tasuki.handlers.body import has_converter

_TYPED = "or publish an object with fields of these types (a dataclass, msgspec.Struct or pydantic model)"
_MOST_SHOWN = 40
"""Characters of a key in an error."""


class _Carried(NamedTuple):
    """How a codec carries values of a type that it does not keep, and what to publish in their place."""

    types: type | tuple[type, ...]
    as_what: str
    instead: str


_OTHERS = (
    _Carried((date, time), "a text", "{}.isoformat()"),
    _Carried(timedelta, "a text", "{}.total_seconds()"),
    _Carried((Decimal, UUID, PurePath), "a text", "str({})"),
    _Carried(Enum, "its value", "{}.value"),
    _Carried((set, frozenset), "a list", "sorted({})"),
)
_BYTES = _Carried((bytes, bytearray, memoryview), "base64 text", "base64.b64encode({}).decode()")
JSON_CHANGES = (_BYTES, *_OTHERS)
MSGPACK_CHANGES = _OTHERS
"""Values of no list are kept; a tuple becomes a list, and an object with fields an object of its fields."""

Changes = tuple[_Carried, ...]


def problem_of_change(value: Any, format_: str, changes: Changes, *, keeps_keys: bool, place: str = "body") -> str:
    """The first part of a body that would arrive as something else, with the remedy; empty: all of it is kept.

    What an object of a class with fields holds is not looked into: its class says the types of its values.

    Args:
        value: the body, or a part of it.
        format_: its name in the text.
        changes: what the codec does not keep.
        keeps_keys: whether numbers stay numbers as keys of objects.
        place: what the part is called in the text.
    """
    if isinstance(value, float):
        return "" if isfinite(value) else f"{place} is a number that is not finite (NaN, infinity); send null"
    if value is None or isinstance(value, str | int):
        return ""
    if isinstance(value, Mapping):
        odd = next((key for key in value if not isinstance(key, str)), None)
        if odd is not None and not keeps_keys:
            return (
                f"{place} has the key {odd!r:.40} ({type(odd).__name__}), which {format_} carries as a text; "
                f"publish the keys as texts, or give the queue a type such as dict[{type(odd).__name__}, …]"
            )
    elif not isinstance(value, list | tuple):
        return "" if has_converter(value) else _problem_of(value, format_, changes, place)
    found = (
        problem_of_change(item, format_, changes, keeps_keys=keeps_keys, place=where)
        for where, item in _parts(value, place)
    )
    return next(filter(None, found), "")


def crossing(body: Any) -> Any:
    """A body for the worker of an isolated function, which publishes it: objects as what they hold.

    Raises:
        HandlerError: kind Invalid: a part of it would be changed on its way.
    """
    if problem := problem_of_change(body, "the way to the worker", MSGPACK_CHANGES, keeps_keys=True):
        raise HandlerError(f"the body cannot be published unchanged: {problem}", kind="Invalid", retryable=False)
    try:
        return msgspec.to_builtins(body, builtin_types=(bytes,))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return body  # the encoder says which type


def _parts(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((f"{place}[{key!r:.{_MOST_SHOWN}}]", item) for key, item in value.items())
    return ((f"{place}[{index}]", item) for index, item in enumerate(value))


def _problem_of(value: Any, format_: str, changes: Changes, place: str) -> str:
    for each in changes:
        if isinstance(value, each.types):
            name = type(value).__name__
            how = f"publish {each.instead.format(place)}, {_TYPED}"
            return f"{place} is {_with_article(name)}, which {format_} carries as {each.as_what}; {how}"
    return ""


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"
