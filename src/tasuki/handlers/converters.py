"""Converters: types of the user's own that bodies carry, as something that JSON and MessagePack know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec


class Converter(NamedTuple):
    """``to``: a value as plain data; ``from_``: plain data as a value, ValueError or TypeError for any other data."""

    to: Callable[[Any], Any]
    from_: Callable[[Any], Any]


_converters: dict[type, Converter] = {}
"""Of this process, as the codecs are: a body says nothing about the app that it is from."""


def register(type_: type, to: Callable[[Any], Any], from_: Callable[[Any], Any]) -> None:
    """Let bodies carry a type; the same again is the same.

    Raises:
        ValueError: bodies carry it already, by themselves or by another converter.
    """
    known = _converters.get(type_)
    if known is None and not is_custom(type_):
        raise ValueError(f"bodies carry {type_.__qualname__} as it is: a converter would never be called")
    if known is not None and [*map(_place, known)] != [_place(to), _place(from_)]:
        raise ValueError(f"{type_.__qualname__} has another converter: {' and '.join(map(_place, known))}")
    _converters[type_] = Converter(to, from_)


def forget(type_: type) -> None:
    """Undo ``register``."""
    _converters.pop(type_, None)


def is_custom(type_: type) -> bool:
    """Whether a type is none that bodies carry by themselves."""
    return isinstance(msgspec.inspect.type_info(type_), msgspec.inspect.CustomType) and not issubclass(type_, PurePath)


def is_converted(type_: Any) -> bool:
    """Whether a custom type can be a body, or a part of one."""
    return isinstance(type_, type) and (type_ in _converters or issubclass(type_, PurePath))


def has_converter(value: object) -> bool:
    """Whether a converter of the user's own writes this value."""
    return any(base in _converters for base in type(value).__mro__)


def to_plain(value: Any) -> Any:
    """What msgspec does not know as something that it knows: a path, a type with a converter, a pydantic model.

    Raises:
        TypeError: it is none of these.
    """
    kind = type(value)
    for base in kind.__mro__ if _converters else ():
        if base in _converters:
            return _converters[base].to(value)
    if isinstance(value, PurePath):
        return str(value)
    dump = getattr(kind, "model_dump", None)
    if dump is None:
        raise TypeError(
            f"a body cannot carry a {kind.__qualname__}; give its type a converter: app.converter({kind.__name__}, …)"
        )
    return dump(value, mode="json", by_alias=True)


def from_plain(type_: type, value: Any) -> Any:
    """The opposite. Raises ValueError or TypeError, which msgspec makes a ValidationError."""
    if (converter := _converters.get(type_)) is not None:
        return converter.from_(value)
    if issubclass(type_, PurePath):
        if not isinstance(value, str):
            raise TypeError(f"Expected a path as `str`, got `{type(value).__name__}`")
        return type_(value)
    raise TypeError(f"{type_.__qualname__} has no converter")


def _place(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"
