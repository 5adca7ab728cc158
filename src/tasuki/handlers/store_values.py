"""Values of handlers as bytes and back: MessagePack of plain data, so that a value comes back as it went in."""

from __future__ import annotations

from typing import Any

import msgspec

from tasuki.errors import HandlerError

MAX_DEPTH = 128

_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})

_REMEDY = "store plain data: bool, int, float, str, bytes, and lists and dicts of these"


_encode = msgspec.msgpack.Encoder().encode

_decode = msgspec.msgpack.Decoder().decode


def check(key: str, value: Any) -> None:
    """Refuse a value that would not come back as it is. Raises HandlerError (Invalid)."""
    if value is None:
        raise HandlerError("value is required", kind="Invalid", retryable=False)
    _check(key, value, 0)


def pack(key: str, value: Any) -> bytes:
    """The bytes of a value. Raises HandlerError (Invalid), which names the key and the type."""
    check(key, value)
    try:
        return _encode(value)
    except OverflowError:
        raise _refused(key, "an int beyond 64 bits") from None
    except UnicodeEncodeError:
        raise _refused(key, "a str that is not valid Unicode") from None
    except (TypeError, ValueError) as error:
        raise _refused(key, f"a value that MessagePack refuses ({error})") from None


def packed(name: str, result: object) -> msgspec.Raw:
    """The bytes of a step's result, which may be None. Raises HandlerError (Invalid), which names the step."""
    try:
        return msgspec.Raw(pack(name, [result])[1:])  # without the byte of the list
    except HandlerError as error:
        why = error.message.partition(": ")[2].replace("; store plain data", "; return plain data")
        problem = f"step {name!r}: its result cannot be recorded: {why}"
        raise HandlerError(problem, kind="Invalid", retryable=False) from None


def unpack(key: str, data: bytes) -> Any:
    """The value of the bytes. Raises HandlerError (Internal): no handler has written them."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        problem = f"the value of key {key[:40]!r} was not written by a handler, and cannot be read by one"
        raise HandlerError(problem, kind="Internal", retryable=False) from None


def _check(key: str, value: Any, depth: int) -> None:
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is not dict and kind is not list:
        raise _refused(key, f"a value of type {kind.__name__}")
    if depth == MAX_DEPTH:
        raise _refused(key, f"a {kind.__name__} nested deeper than {MAX_DEPTH} levels (it may contain itself)")
    for item in value.values() if kind is dict else value:
        if type(item) not in _SCALARS:
            _check(key, item, depth + 1)
    if kind is dict:
        for name in value:
            if type(name) not in (str, int):
                raise _refused(key, f"a dict with a key of type {type(name).__name__}")


def _refused(key: str, what: str) -> HandlerError:
    problem = f"key {key[:40]!r}: {what} cannot be stored; {_REMEDY}"
    return HandlerError(problem, kind="Invalid", retryable=False)
