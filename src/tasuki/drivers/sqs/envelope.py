"""A message as SQS carries it: a body of text and attributes; what others put there is read as well as it can be.

A body that is text stays as it is, so that programs without Tasuki can read it, and write it: a message without our
attribute is foreign, its attributes are its headers and its id is SQS's. Everything else of ours (id, headers with
their types, how the body is written) is JSON in the one attribute ``tasuki``, because SQS takes ten at most and knows
neither booleans nor empty texts.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.message import HeaderValue

ATTRIBUTE = "tasuki"
MOST_ATTRIBUTES = 10
LARGEST = 1_048_576
"""Bytes that SQS takes at most for a message, and for a request: body and attributes together."""
LARGEST_BINARY = 737_280
"""Bytes of a binary body: a third more when encoded, which leaves 64 KiB for headers."""

_EMPTY = "-"
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NON_CHARACTERS = re.compile("[\ufffe\uffff]")
_LARGEST_INT = 2**63

Attributes = Mapping[str, Mapping[str, Any]]


class Envelope(msgspec.Struct, omit_defaults=True):
    """What ``tasuki`` holds."""

    id: str
    headers: dict[str, HeaderValue] = {}
    body: Literal["text", "base64", "empty"] = "text"
    key: str | None = None
    """Its ordering key, in a FIFO queue with ``ordering: key``."""
    delay: float | None = None
    """Seconds after it was sent until which it must not be handed out; SQS's own delay covers the rest."""
    attempts: int = 0
    """Failures of the copies before this one, which SQS does not count."""
    suspect: bool = False
    """Whether the last delivery of a copy before this one ended without a settlement."""

    def again(self, *, attempts: int, suspect: bool = False, delay: float | None = None) -> Envelope:
        """The envelope of a copy."""
        return Envelope(self.id, self.headers, self.body, self.key, delay, attempts, suspect)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Envelope).decode


class Written(msgspec.Struct, frozen=True):
    """A message ready to be sent."""

    body: str
    attributes: Attributes
    size: int
    """Bytes that SQS counts for it."""


def write(message: Outgoing, *, key: str | None, delay: float) -> Written:
    """Encode a message. Raises ValueError, TypeError, OverflowError or MsgspecError for bad headers."""
    for name, value in message.headers.items():
        if isinstance(value, int | float) and not -_LARGEST_INT <= value < _LARGEST_INT and not _is_finite(value):
            raise ValueError(f"header {name!r} is not a finite number of at most 64 bits")
    body, how = _body_text(message.body)
    envelope = Envelope(message.id, message.headers, how, key, delay or None)
    return _written(body, attributes_of(envelope))


def copy(body: str, attributes: Attributes, envelope: Envelope) -> Written:
    """The same message again with another envelope: as it came, if there is room for all its attributes."""
    ours = attributes_of(envelope)
    is_full = len(attributes.keys() - ours.keys()) >= MOST_ATTRIBUTES
    return _written(body, ours if is_full else {**attributes, **ours})


def attributes_of(envelope: Envelope) -> dict[str, dict[str, str]]:
    """The attribute that holds an envelope."""
    text = _encode(envelope).decode()
    # The only characters that JSON leaves as they are and SQS refuses.
    text = _NON_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return {ATTRIBUTE: {"DataType": "String", "StringValue": text}}


def read(message_id: str, body: str, attributes: Attributes) -> tuple[Envelope, bytes]:
    """The envelope and the body of what arrived; a foreign message gets an envelope made of its attributes."""
    ours = attributes.get(ATTRIBUTE, {}).get("StringValue")
    if ours is not None:
        try:
            envelope = _decode(ours)
            return envelope, _body_bytes(body, envelope.body)
        except (msgspec.MsgspecError, ValueError):
            pass  # something else of the same name: foreign
    return Envelope(message_id, foreign_headers(attributes)), body.encode(errors="surrogatepass")


def foreign_headers(attributes: Attributes) -> dict[str, HeaderValue]:
    """Attributes as headers: text as text, numbers as numbers, bytes as base64."""
    return {name: _foreign_value(attribute) for name, attribute in attributes.items()}


def _is_finite(value: float) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _foreign_value(attribute: Mapping[str, Any]) -> HeaderValue:
    if "BinaryValue" in attribute:
        return base64.b64encode(attribute["BinaryValue"]).decode()
    text = str(attribute.get("StringValue", ""))
    if str(attribute.get("DataType", "")).startswith("Number"):
        return _number(text)
    return text


def _number(text: str) -> HeaderValue:
    try:
        number = int(text)
    except ValueError:
        pass
    else:
        return number if -_LARGEST_INT <= number < _LARGEST_INT else text
    try:
        return float(text)
    except ValueError:
        return text


def _body_text(body: bytes) -> tuple[str, Literal["text", "base64", "empty"]]:
    if not body:
        return _EMPTY, "empty"
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or _UNWRITABLE.search(text):
        return base64.b64encode(body).decode(), "base64"
    return text, "text"


def _body_bytes(body: str, how: str) -> bytes:
    if how == "empty":
        return b""
    return base64.b64decode(body, validate=True) if how == "base64" else body.encode()


def _written(body: str, attributes: Attributes) -> Written:
    size = len(body.encode())
    for name, attribute in attributes.items():
        value = attribute.get("StringValue", "").encode() or attribute.get("BinaryValue", b"")
        size += len(name.encode()) + len(attribute["DataType"]) + len(value)
    return Written(body, attributes, size)


def digest(text: str) -> str:
    """What SQS gives as MD5 of a body."""
    return hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
