"""json: encode and decode, byte for byte as Wippy does. See json.lua for the functions of scripts.

===============  ==========================  =====================================================================
operation        arguments                   returns
===============  ==========================  =====================================================================
``json.encode``  value                       text
``json.decode``  text (bytes: not UTF-8)     the first value in it; Internal if there is none, or one nested too deep
===============  ==========================  =====================================================================
"""

from __future__ import annotations

import json as stdlib
import re
from typing import Any

import msgspec

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.lua.values import MAX_DEPTH, clamp_integers, plain_decimal

NAME = "json"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029]")
_BLANK = re.compile(r"[ \t\n\r]*")
_LONG_NUMBER = re.compile(r"\d{19}")


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
    try:
        value = _decode(text)
    except (ValueError, RecursionError):
        value = _first(text)
    else:
        keys = _count_keys(value, 0)
        if keys and text.count(":") > keys:  # perhaps a name that occurs twice, perhaps a colon in a text
            value = _first(text)
    return clamp_integers(value) if _LONG_NUMBER.search(text) else value


def _count_keys(value: Any, depth: int) -> int:
    """How many object members there are in all; each has a colon of its own in the text."""
    if type(value) is not dict and type(value) is not list:
        return 0
    if depth >= MAX_DEPTH:
        raise _error("json: maximum nesting depth exceeded")
    children = value.values() if type(value) is dict else value
    own = len(value) if type(value) is dict else 0
    return own + sum(_count_keys(child, depth + 1) for child in children if type(child) is dict or type(child) is list)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate object name")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


_scanner = stdlib.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)


def _first(text: str) -> Any:
    """The slow way: stops after the first value, and sees names that occur twice."""
    try:
        blank = _BLANK.match(text)
        value, _ = _scanner.raw_decode(text, blank.end() if blank else 0)
    except RecursionError:
        raise _error("json: maximum nesting depth exceeded") from None
    except ValueError as error:
        raise _error(f"json: {error}") from None
    _count_keys(value, 0)
    return value


def _error(message: str) -> HandlerError:
    return HandlerError(message, kind="Internal", retryable=False)


OPERATIONS = {"json.encode": encode, "json.decode": decode}
