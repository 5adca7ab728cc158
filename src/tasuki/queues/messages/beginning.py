"""The beginning of a body as text, for lists and previews; reads only as much as it shows. No I/O."""

from __future__ import annotations

import codecs
import json
from datetime import datetime
from typing import NamedTuple

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.parts import count_of, entry_of, width_of
from tasuki.queues.messages.codec import JSON, MSGPACK, CompressedCodec


class Beginning(NamedTuple):
    """The first bytes of a body, without its compression."""

    data: bytes
    codec: Codec
    """That has written them."""
    is_whole: bool
    """Whether there are no more."""


def beginning_of(body: bytes, codec: Codec, size: int) -> Beginning:
    """The first bytes of a body, at most ``size``. Raises CodecError; HandlerError: a library is missing."""
    if not isinstance(codec, CompressedCodec):
        return Beginning(body[:size], codec, len(body) <= size)
    data = codec.beginning(body, size + 1)
    return Beginning(data[:size], codec.inner, len(data) <= size)


def text_of(first: Beginning) -> str | None:
    """JSON as it is written, and MessagePack as JSON, without an end where there is more; None: of another codec."""
    if first.codec.name == JSON:
        return decoded(first.data, "replace")
    if first.codec.name != MSGPACK:
        return None
    try:
        return _written(first.data)
    except (msgspec.MsgspecError, ValueError):
        return None


def decoded(data: bytes, errors: str = "strict") -> str:
    """UTF-8 that may end within a character. Raises UnicodeDecodeError."""
    return codecs.getincrementaldecoder("utf-8")(errors).decode(data)


def _written(data: bytes) -> str:
    """MessagePack as JSON, as far as it goes."""
    pieces: list[str] = []
    outer: list[_Open] = []
    at = 0
    while at < len(data):
        if outer:
            pieces.append(outer[-1].next())
        if per := entry_of(data, at):
            pieces.append("[{"[per - 1])
            outer.append(_Open(per, count_of(data, at) * per))
        else:
            pieces.append(_scalar(data[at : at + width_of(data, at)], is_cut=at + width_of(data, at) > len(data)))
        at += width_of(data, at)
        if at > len(data):
            break
        while outer and outer[-1].left == 0:
            pieces.append("]}"[outer.pop().per - 1])
        if not outer:
            break
    return "".join(pieces)


class _Open:
    """A list (``per`` 1) or an object (2), of which this number of values is still to come."""

    __slots__ = ("left", "per", "separator")

    def __init__(self, per: int, left: int) -> None:
        self.per, self.left = per, left
        self.separator = ""

    def next(self) -> str:
        """What stands before its next value."""
        before = ": " if self.per == 2 and self.left % 2 else self.separator
        self.left, self.separator = self.left - 1, ", "
        return before


def _plainly(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _scalar(data: bytes, *, is_cut: bool) -> str:
    if not is_cut:
        value = msgspec.msgpack.decode(data, ext_hook=lambda code, content: f"extension {code}")
        return json.dumps(value, ensure_ascii=False, default=_plainly)
    head, field = data[0], data[0] - 0xD8 if data[0] < 0xDB else 4
    if 0xA0 <= head < 0xC0 or 0xD9 <= head < 0xDC:
        content = data[1:] if head < 0xC0 else data[1 + field :]
        return json.dumps(decoded(content, "replace"), ensure_ascii=False)[:-1]
    return "…"
