"""json: encode and decode, byte for byte as Wippy does. See json.lua for the functions of scripts.

========================  ========================  ===================================================================
operation                 arguments                 returns
========================  ========================  ===================================================================
``json.encode``           value                     text
``json.decode``           text (bytes: not UTF-8)   the first value in it; Internal if there is none, or one too deep
``json.validate``         schema (text, value),     True; Invalid with reasons in its details, see schema.py
                          value
``json.validate_string``  schema, text              the same for a text
========================  ========================  ===================================================================
"""

from __future__ import annotations

import contextlib
import json as stdlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.lua.host.outbound import MAX_DEPTH, MAX_PARTS, clamp_integers, plain_decimal
from tasuki.handlers.lua.modules.data import schema

NAME = "json"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029]")
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"')
_BLANK = re.compile(r"[ \t\n\r]*")
_CONTAINERS = frozenset({dict, list})
_LEAST, _MOST = -(2**63), 2**63 - 1


def encode(_: Context, value: Any) -> str:
    """Text of a value that values.lua flattened in its json mode."""
    if type(value) is msgspec.Raw:
        return _lone_float(float(bytes(value)))
    text = _encode(value).decode()
    if _ESCAPED.search(text):
        return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)
    return text


def _lone_float(number: float) -> str:
    """A float that is the whole document has an exponent below 1e-6 and from 1e21; inside a table it never has."""
    if 1e-6 <= abs(number) < 1e21:
        return plain_decimal(number)
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def decode(_: Context, text: str | bytes) -> Any:
    """The first value of a text; numbers without fraction and exponent are integers, clamped to 64 bits."""
    if isinstance(text, bytes):
        raise _error("json: invalid UTF-8")
    if len(text) > MAX_PARTS and _marks(text) > MAX_PARTS and _marks(_TEXTS.sub("", text)) > MAX_PARTS:
        raise _error(f"json: value has more than {MAX_PARTS} parts")
    try:
        value = _decode(text)
        keys = _count_keys(value, 0)
    except (ValueError, RecursionError, OverflowError):
        return _first(text)
    if keys and text.count(":") > keys:  # perhaps a name that occurs twice, perhaps a colon in a text
        return _first(text)
    return value if type(value) is not int else clamp_integers(value)


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _count_keys(value: Any, depth: int) -> int:
    """How many object members there are in all; each has its own colon in the text."""
    if type(value) not in _CONTAINERS:
        return 0
    children: Iterable[Any] = value.values() if type(value) is dict else value
    keys = len(value) if type(value) is dict else 0
    if depth >= MAX_DEPTH:
        raise _error("json: maximum nesting depth exceeded")
    for child in children:
        if type(child) in _CONTAINERS:
            keys += _count_keys(child, depth + 1)
        elif type(child) is int and not _LEAST <= child <= _MOST:
            raise OverflowError
    return keys


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate object name")
    return found


def _whole(digits: str) -> int:
    """A number of any length, moved to the nearer end of 64 bits before anybody has to work it out."""
    if len(digits) > 40:
        return _LEAST if digits.startswith("-") else _MOST
    return int(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


_scanner = stdlib.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_int=_whole)


def _first(text: str) -> Any:
    """The slow way: stops after the first value, and sees names that occur twice."""
    try:
        blank = _BLANK.match(text)
        value, _ = _scanner.raw_decode(text, blank.end() if blank else 0)
    except RecursionError:
        raise _error("json: maximum nesting depth exceeded") from None
    except ValueError as error:
        raise _error(f"json: {error}") from None
    with contextlib.suppress(OverflowError):
        _count_keys(value, 0)
    return clamp_integers(value)


def _error(message: str) -> HandlerError:
    return HandlerError(message, kind="Internal", retryable=False)


OPERATIONS = {"json.encode": encode, "json.decode": decode, **schema.OPERATIONS}
