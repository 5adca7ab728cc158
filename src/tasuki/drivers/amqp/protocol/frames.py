"""The frames that every message needs, as bytes: publish, deliver, ack, nack; the rest goes through pamqp.

AMQP 0-9-1, section 4.2: a frame is type (1), channel (2), size (4), payload, and the end octet 0xCE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pamqp import frame as pamqp_frame
from pamqp.base import Frame as Method

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
OVERHEAD = 8
"""Bytes of a frame around its payload."""

AROUND_PROPERTIES = OVERHEAD + 12
"""Bytes of a header frame around its properties: class, weight and size of the body, and the envelope."""

DELIVER, RETURN, ACK, NACK = 0x003C003C, 0x003C0032, 0x003C0050, 0x003C0078
"""Class and method of what the broker sends per message."""

_KINDS = frozenset({METHOD, HEADER, BODY, HEARTBEAT})
_HEAD = struct.Struct(">BHI")
_LONG = struct.Struct(">Q")
_CONTENT = struct.Struct(">HHQ")
_SETTLE = struct.Struct(">BHIIQBB")
_ACK_OR_NACK = struct.Struct(">QB")
_BASIC = 60
_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
_MULTIPLE, _REQUEUE = 1, 2


class Frame(NamedTuple):
    """One frame without its envelope."""

    kind: int
    channel: int
    payload: bytes


def split(buffer: bytearray, frame_max: int) -> Iterator[Frame]:
    """The whole frames at the start of the buffer, which are taken out of it when the iterator ends.

    Raises ValueError for bytes that are no frame; then the connection cannot be used any more. A head is checked as
    soon as it is here: a wrong length would have us wait for bytes that never come.
    """
    start, size, most = 0, len(buffer), frame_max - OVERHEAD
    try:
        while size - start >= _HEAD.size:
            kind, channel, length = _HEAD.unpack_from(buffer, start)
            if length > most or kind not in _KINDS:
                raise ValueError(f"a frame of type {kind} with {length} bytes; {most} are the most")
            end = start + 7 + length
            if size <= end:
                break
            if buffer[end] != END:
                raise ValueError("a frame without its end octet")
            yield Frame(kind, channel, bytes(buffer[start + 7 : end]))
            start = end + 1
    finally:
        del buffer[:start]


def method_of(payload: bytes) -> int:
    """Class and method as one number."""
    return int.from_bytes(payload[:4], "big")


def decode(payload: bytes) -> Method:
    """A method out of its payload, as pamqp reads it. Raises ValueError for one that cannot be read."""
    try:
        method = pamqp_frame.unmarshal(frame(METHOD, 0, payload))[2]
    except Exception as error:  # damaged bytes, which pamqp may trip over anywhere
        raise ValueError(f"a method that cannot be read: {error!r}") from error
    assert isinstance(method, Method)
    return method


def short(text: str) -> bytes:
    """A short string: at most 255 bytes."""
    data = text.encode()
    return bytes((len(data),)) + data


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """A whole frame."""
    return _HEAD.pack(kind, channel, len(payload)) + payload + b"\xce"


def publish(channel: int, exchange: bytes, key: bytes, properties: bytes, body: bytes, frame_max: int) -> bytes:
    """Mandatory publish: method, header and body frames; exchange and key are short strings, as ``short`` gives."""
    head = frame(METHOD, channel, b"".join((_PUBLISH, exchange, key, b"\x01")))
    content = frame(HEADER, channel, _CONTENT.pack(_BASIC, 0, len(body)) + properties)
    most = frame_max - OVERHEAD
    if len(body) <= most:
        return head + content + frame(BODY, channel, body) if body else head + content
    parts = [body[start : start + most] for start in range(0, len(body), most)]
    return b"".join((head, content, *(frame(BODY, channel, part) for part in parts)))


def ack(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Ack one delivery, or all up to it."""
    return _SETTLE.pack(METHOD, channel, 13, ACK, tag, multiple * _MULTIPLE, END)


def requeue(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Give one delivery back to its queue, or all up to it."""
    return _SETTLE.pack(METHOD, channel, 13, NACK, tag, multiple * _MULTIPLE | _REQUEUE, END)


def confirmed(payload: bytes) -> tuple[int, bool]:
    """Tag and ``multiple`` of a broker's ack or nack."""
    tag, bits = _ACK_OR_NACK.unpack_from(payload, 4)
    return tag, bool(bits & _MULTIPLE)


class Deliver(NamedTuple):
    """What a delivery says besides its content."""

    consumer: bytes
    tag: int
    redelivered: bool
    payload: bytes
    """The whole method, for ``address_of``."""


def deliver(payload: bytes) -> Deliver:
    """Read ``basic.deliver``."""
    end = 5 + payload[4]
    return Deliver(payload[5:end], _LONG.unpack_from(payload, end)[0], bool(payload[end + 8]), payload)


def address_of(payload: bytes) -> tuple[str, str]:
    """Exchange and routing key of a ``basic.deliver``."""
    start = 5 + payload[4] + 9
    middle = start + 1 + payload[start]
    return _text(payload, start), _text(payload, middle)


def returned_key(payload: bytes) -> str:
    """The routing key of a ``basic.return``: code, text, exchange, key."""
    start = 6
    start += 1 + payload[start]
    start += 1 + payload[start]
    return _text(payload, start)


def content_of(payload: bytes) -> tuple[int, bytes]:
    """Size of the body, and the properties, of a header frame."""
    return _CONTENT.unpack_from(payload)[2], payload[12:]


def _text(payload: bytes, start: int) -> str:
    return payload[start + 1 : start + 1 + payload[start]].decode("utf-8", "replace")
