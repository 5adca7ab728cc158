"""The body of a message as text for people, and back; no I/O.

JSON is laid out, and goes back as it was written: numbers keep their digits, keys their order, and repeated keys stay.
MessagePack is shown as JSON only if nothing is lost on the way there and back.
"""

from __future__ import annotations

import re
import sys
from typing import Literal, NamedTuple

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.dead.editing.problems import BODY, EditError, Problem, line_of
from tasuki.errors import CodecError, HandlerError
from tasuki.queues.messages.codec import JSON, MSGPACK, CompressedCodec

Form = Literal["json", "msgpack", "bytes"]
_INDENT = 2
_MOST_GROWTH = 2**20
"""Bytes by which blanks may lengthen a text: one that is nested deep would become many times as long."""
_BRACKET = re.compile(rb"[\[\]{}]")
_FAILURES = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)


class Shown(NamedTuple):
    """A body as an editor shows it."""

    form: Form
    text: str
    """JSON; empty for bytes."""
    why: str = ""
    """Why it is bytes, and cannot be edited as text."""


def plain_codec(codec: Codec) -> Codec:
    """The codec without its compression."""
    return codec.inner if isinstance(codec, CompressedCodec) else codec


def unpacked(body: bytes, codec: Codec) -> bytes:
    """The body without its compression. Raises CodecError; HandlerError: a library is missing."""
    return codec.unpack(body) if isinstance(codec, CompressedCodec) else body


def shown(body: bytes, codec: Codec, most: int = sys.maxsize) -> Shown:
    """The text of a body, or why there is none; ``most``: bytes of the largest one, without its compression."""
    try:
        data = unpacked(body, codec)
    except (CodecError, HandlerError) as error:
        return Shown("bytes", "", str(error))
    if len(data) > most:
        return Shown("bytes", "", f"it has {len(data)} bytes, and is text up to {most}; use tasuki edit")
    name = plain_codec(codec).name
    if name == JSON:
        return _shown_json(data)
    if name == MSGPACK:
        return _shown_msgpack(data, plain_codec(codec))
    return Shown("bytes", "", f"its content type is {name}; give a whole new body from a file")


def _shown_json(data: bytes) -> Shown:
    try:
        return Shown("json", laid_out(data).decode())
    except UnicodeDecodeError:
        return Shown("bytes", "", "it is not UTF-8; give a whole new body from a file")


def laid_out(data: bytes) -> bytes:
    """JSON with line breaks, each number as it is written; unchanged if it is no JSON, or nested too deep."""
    if grows_long(data):
        return data
    try:
        return msgspec.json.format(data, indent=_INDENT)
    except _FAILURES:
        return data


def grows_long(data: bytes) -> bool:
    """Whether line breaks and blanks would make the text many times as long."""
    return _growth(data) > _MOST_GROWTH


def _growth(data: bytes) -> int:
    """At most so many bytes are added by line breaks and blanks."""
    depth = deepest = opened = 0
    for bracket in _BRACKET.finditer(data):
        if bracket[0] in b"[{":
            depth += 1
            opened += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return (data.count(b",") + 2 * opened) * (deepest * _INDENT + 1) if deepest > 10 else 0


def _shown_msgpack(data: bytes, codec: Codec) -> Shown:
    try:
        value = codec.decoder()(data)
        text = msgspec.json.encode(value)
        if codec.encode(_read(text)) == codec.encode(value):
            return Shown("msgpack", laid_out(text).decode())
        why = "as JSON it would not stay the same: it has bytes, or keys that are not text"
    except (CodecError, *_FAILURES) as error:
        why = f"it cannot be written as JSON: {error}"
    return Shown("bytes", "", f"{why}; give a whole new body from a file")


def written(text: str, codec: Codec) -> bytes:
    """The body that a text of JSON stands for, without compression.

    Raises:
        EditError: it is no JSON, says where; or this codec cannot carry it.
    """
    codec = plain_codec(codec)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise EditError([Problem(BODY, "the text has half a character (a lone surrogate)")]) from None
    try:
        compact = msgspec.json.format(data, indent=-1)
        if codec.name == JSON:
            return compact
        return codec.encode(_read(compact))
    except RecursionError:
        raise EditError([Problem(BODY, "it is nested too deep: no handler could read it")]) from None
    except CodecError as error:
        raise EditError([Problem(BODY, str(error))]) from error
    except _FAILURES as error:
        raise EditError([Problem(BODY, _reason(text, str(error)), line_of(text, str(error)))]) from error


def _read(text: bytes) -> object:
    """The value; MessagePack has no whole numbers above 64 bits, so they are refused when they are written."""
    return msgspec.json.decode(text)


def _reason(text: str, error: str) -> str:
    if not text.strip():
        return "it is empty: write JSON, or null"
    if error == "Input data was truncated":
        return "it is no JSON: it ends too early"
    return f"it is no JSON: {error.removeprefix('JSON is malformed: ')}"
