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

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.lua.modules import json
from tasuki.handlers.lua.values import clamp_integers

_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "application/msgpack": msgspec.msgpack.encode,
    "yaml/plain": msgspec.yaml.encode,
}
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "application/msgpack": msgspec.msgpack.decode,
    "yaml/plain": msgspec.yaml.decode,
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
    try:
        return clamp_integers(_DECODERS[format_](text.encode() if isinstance(text, str) else text))
    except (ValueError, RecursionError) as error:
        raise HandlerError(f"{format_}: {str(error)[:200]}", kind="Internal", retryable=False) from None


OPERATIONS: dict[str, Callable[..., Any]] = {"payload.encode": encode, "payload.decode": decode}
