"""Envelope: how a message lies in a stream: a mark, its id and headers as MessagePack, then the body as it is.

The id and the headers are not NATS headers: those are text only, and reading them costs more than all the rest.
"""

from __future__ import annotations

import struct

import msgspec

from tasuki.message import HeaderValue, Message

MARK = b"\xc1TSK1"
"""0xC1 begins neither text nor MessagePack, so no message of another program looks like this by chance."""

_HEAD = struct.Struct(">5sI")


class Head(msgspec.Struct, array_like=True, gc=False):
    """What stands before the body; ``due``: not before this time (Unix seconds, 0: at once)."""

    id: str
    headers: dict[str, HeaderValue]
    due: float = 0.0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Head).decode


def pack(message: Message, due: float = 0.0) -> bytes:
    """The message as bytes. Raises TypeError, ValueError or OverflowError for headers that cannot be kept."""
    head = _encode(Head(message.id, message.headers, due))
    return b"".join((_HEAD.pack(MARK, len(head)), head, message.body))


def unpack(data: bytes, id: str) -> tuple[Head, bytes]:
    """Head and body; what another program has published is all body, and gets ``id``."""
    if data.startswith(MARK) and len(data) >= _HEAD.size:
        start = _HEAD.size + _HEAD.unpack_from(data)[1]
        try:
            return _decode(data[_HEAD.size : start]), data[start:]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
    return Head(id, {}), data
