"""base64: binary data as text. See base64.lua for the functions of scripts.

===================  ==========  ======================================================
operation            arguments   returns
===================  ==========  ======================================================
``base64.encode``    text        text
``base64.decode``    text        text, or bytes that are not UTF-8; Invalid, with a place
===================  ==========  ======================================================
"""

from __future__ import annotations

import base64 as stdlib
import re

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError

NAME = "base64"
_ALPHABET = re.compile(rb"[A-Za-z0-9+/]*")
_LINE_ENDS = re.compile(rb"[\r\n]+")


def encode(_: Context, text: str | bytes) -> str:
    """Text of the bytes, which are UTF-8 for a text."""
    return stdlib.b64encode(_bytes(text)).decode()


def decode(_: Context, text: str | bytes) -> str | bytes:
    """The bytes of a text, as a text where they are UTF-8."""
    data = _bytes(text)
    packed = _LINE_ENDS.sub(b"", data)
    place = _illegal(data, packed)
    if place is not None:
        raise HandlerError(f"illegal base64 data at input byte {place}", kind="Invalid", retryable=False)
    found = stdlib.b64decode(packed)
    try:
        return found.decode()
    except UnicodeDecodeError:
        return found


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _illegal(data: bytes, packed: bytes) -> int | None:
    """Where Go's decoder stops: at a strange byte, at padding in a wrong place, or where something is missing."""
    match = _ALPHABET.match(packed)
    length = match.end() if match else 0
    part, rest = length % 4, packed[length:]
    if not rest:
        return len(data) - part if part else None
    if rest[:1] != b"=" or part < 2:
        return _place(data, length)
    if part == 2 and rest[1:2] != b"=":
        return len(data) if len(rest) == 1 else _place(data, length + 1) - 1
    padding = 4 - part
    return None if len(rest) == padding else _place(data, length + padding)


def _place(data: bytes, place: int) -> int:
    """The place in the text as it was given, line ends included."""
    seen = 0
    for index, byte in enumerate(data):
        if byte not in b"\r\n":
            if seen == place:
                return index
            seen += 1
    return len(data)


OPERATIONS = {"base64.encode": encode, "base64.decode": decode}
