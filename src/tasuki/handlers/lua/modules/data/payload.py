"""payload: values in formats. See payload.lua for the functions of scripts.

====================  ===============  ==========================================
operation             arguments        returns
====================  ===============  ==========================================
``payload.encode``    format, value    the text (bytes for MessagePack)
``payload.decode``    format, text     the value; Internal if it is none
====================  ===============  ==========================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.lua.host.outbound import MAX_DEPTH, MAX_PARTS, clamp_integers
from tasuki.handlers.lua.modules.data import json

MAX_YAML = 64 * 1024
"""Bytes of a YAML text: reading them takes up to 0.13 s, a hundred times as long as JSON, in one step."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Without numbers to the base of 60, which take quadratic time and which YAML 1.2 has no more: they are texts."""

    def construct_yaml_int(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)

_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "application/msgpack": msgspec.msgpack.encode,
    "yaml/plain": msgspec.yaml.encode,
}
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "application/msgpack": msgspec.msgpack.decode,
    "yaml/plain": lambda text: yaml.load(text, _Loader),  # noqa: S506 - a safe one
}


def encode(context: Context, format_: str, value: Any = None) -> str | bytes:
    """The text of a value in a format."""
    if format_ == "json/plain":
        return json.encode(context, value)
    encoded = _ENCODERS[format_](value)
    return encoded if format_ == "application/msgpack" else encoded.decode()


def decode(context: Context, format_: str, text: str | bytes) -> Any:
    """The value of a text in a format."""
    if format_ == "json/plain":
        return json.decode(context, text)
    if format_ == "yaml/plain" and len(text) > MAX_YAML:
        raise _error(f"{format_}: a text has at most {MAX_YAML} bytes, and this one has {len(text)}; send JSON")
    try:
        value = _DECODERS[format_](text.encode() if isinstance(text, str) else text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise _error(f"{format_}: {str(error)[:200]}") from None
    _count(value, 0, 0, format_)
    return clamp_integers(value)


def _count(value: Any, parts: int, depth: int, format_: str) -> int:
    """How many parts a value has when every alias of YAML is a copy: a short text can stand for more than fits.

    Raises:
        HandlerError: Internal; too many of them, or too deep (an alias within itself has no end).
    """
    parts += 1
    if depth > MAX_DEPTH:
        raise _error(f"{format_}: maximum nesting depth exceeded")
    if isinstance(value, (dict, list, tuple)):
        for child in value.values() if isinstance(value, dict) else value:
            parts = _count(child, parts, depth + 1, format_)
    if parts > MAX_PARTS:
        raise _error(f"{format_}: value has more than {MAX_PARTS} parts")
    return parts


def _error(message: str) -> HandlerError:
    return HandlerError(message, kind="Internal", retryable=False)


OPERATIONS: dict[str, Callable[..., Any]] = {"payload.encode": encode, "payload.decode": decode}
