"""The frames that every message needs, as bytes: publish, deliver, ack, nack; other frames go through pamqp.

Field tables and basic properties stand here too, as bytes and back (section 4.2.5, with RabbitMQ's field types).

AMQP 0-9-1, section 4.2: a frame is type (1), channel (2), size (4), payload, and the end octet 0xCE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pamqp import frame as pamqp_frame
from pamqp.base import Frame as Method

from tasuki.message import HeaderValue

_SIZED = {
    b"b": struct.Struct(">b"), b"B": struct.Struct(">B"), b"s": struct.Struct(">h"), b"u": struct.Struct(">H"),
    b"I": struct.Struct(">i"), b"i": struct.Struct(">I"), b"l": struct.Struct(">q"), b"L": struct.Struct(">q"),
    b"T": struct.Struct(">Q"), b"f": struct.Struct(">f"), b"d": struct.Struct(">d"),
}  # fmt: skip

_LENGTH = struct.Struct(">I")
_INT = struct.Struct(">cq")
_FLOAT = struct.Struct(">cd")

_TRUE, _FALSE = b"t\x01", b"t\x00"


SHORT_FIELDS = (
    (0x8000, "content_type"), (0x4000, "content_encoding"), (0x0400, "correlation_id"), (0x0200, "reply_to"),
    (0x0100, "expiration"), (0x0080, "message_id"), (0x0020, "type"), (0x0010, "user_id"), (0x0008, "app_id"),
    (0x0004, "cluster_id"),
)  # fmt: skip
"""Flag and name of the properties that are short strings."""

_TABLE, _MODE, _PRIORITY, _TIMESTAMP = 0x2000, 0x1000, 0x0800, 0x0040

_ORDER = (
    0x8000, 0x4000, _TABLE, _MODE, _PRIORITY, 0x0400, 0x0200, 0x0100, 0x0080, _TIMESTAMP, 0x0020, 0x0010, 0x0008,
    0x0004,
)  # fmt: skip

_NAMES = dict(SHORT_FIELDS)


@dataclass(slots=True)
class Properties:
    """The basic properties; ``table`` is the content of the headers, without its length."""

    texts: dict[str, bytes]
    table: bytes = b""
    persistent: bool = True
    priority: int | None = None
    timestamp: int | None = None

    def encode(self) -> bytes:
        """Flags and values, as a header frame has them."""
        flags, parts = _TABLE | _MODE, []
        for flag in _ORDER:
            if flag == _TABLE:
                parts.append(_LENGTH.pack(len(self.table)) + self.table)
            elif flag == _MODE:
                parts.append(b"\x02" if self.persistent else b"\x01")
            elif flag == _PRIORITY:
                if self.priority is not None:
                    flags |= flag
                    parts.append(bytes((self.priority,)))
            elif flag == _TIMESTAMP:
                if self.timestamp is not None:
                    flags |= flag
                    parts.append(self.timestamp.to_bytes(8, "big"))
            elif (text := self.texts.get(_NAMES[flag])) is not None:
                flags |= flag
                parts.append(bytes((len(text),)) + text)
        return flags.to_bytes(2, "big") + b"".join(parts)


def decode_properties(data: bytes) -> Properties:
    """The reverse of ``Properties.encode``; a text that is not there is not in ``texts``."""
    flags, at = int.from_bytes(data[:2], "big"), 2
    found = Properties({}, persistent=False)
    for flag in _ORDER:
        if not flags & flag:
            continue
        if flag == _TABLE:
            size = _LENGTH.unpack_from(data, at)[0]
            found.table = data[at + 4 : at + 4 + size]
            at += 4 + size
        elif flag == _MODE:
            found.persistent = data[at] == 2
            at += 1
        elif flag == _PRIORITY:
            found.priority = data[at]
            at += 1
        elif flag == _TIMESTAMP:
            found.timestamp = int.from_bytes(data[at : at + 8], "big")
            at += 8
        else:
            end = at + 1 + data[at]
            found.texts[_NAMES[flag]] = data[at + 1 : end]
            at = end
    return found


def priority_of(data: bytes) -> int:
    """The priority of encoded properties; 0 if it is not there."""
    return decode_properties(data).priority or 0 if int.from_bytes(data[:2], "big") & _PRIORITY else 0


def encode_field(key: bytes, value: HeaderValue) -> bytes:
    """One field of a table; the key has at most 255 bytes."""
    name = bytes((len(key),)) + key
    if type(value) is str:
        data = value.encode()
        return b"".join((name, b"S", _LENGTH.pack(len(data)), data))
    if type(value) is bool:
        return name + (_TRUE if value else _FALSE)
    if type(value) is int:
        return name + _INT.pack(b"l", value)
    return name + _FLOAT.pack(b"d", value)


def encode_bytes(key: bytes, value: bytes) -> bytes:
    """One field with bytes."""
    return b"".join((bytes((len(key),)), key, b"x", _LENGTH.pack(len(value)), value))


def encode_texts(key: bytes, values: Sequence[str]) -> bytes:
    """One field with an array of texts."""
    items = b"".join(b"S" + _LENGTH.pack(len(data)) + data for data in (value.encode() for value in values))
    return b"".join((bytes((len(key),)), key, b"A", _LENGTH.pack(len(items)), items))


def fields(table: bytes) -> Iterator[tuple[bytes, object, int, int]]:
    """Key, value, start and end of each field; values that no header can have (tables, arrays) come as None.

    Raises ValueError, IndexError or struct.error for damaged ones.
    """
    at, size = 0, len(table)
    while at < size:
        start = at
        name_end = at + 1 + table[at]
        key, kind = table[at + 1 : name_end], table[name_end : name_end + 1]
        value, at = _value(table, kind, name_end + 1)
        if at > size:
            raise ValueError("a field that is longer than its table")
        yield key, value, start, at


def _value(table: bytes, kind: bytes, at: int) -> tuple[object, int]:
    sized = _SIZED.get(kind)
    if sized is not None:
        return sized.unpack_from(table, at)[0], at + sized.size
    if kind in {b"S", b"x", b"F", b"A"}:
        end = at + 4 + _LENGTH.unpack_from(table, at)[0]
        data = table[at + 4 : end]
        return (data.decode("utf-8", "replace") if kind == b"S" else data if kind == b"x" else None), end
    if kind == b"t":
        return table[at] != 0, at + 1
    if kind == b"D":
        return int.from_bytes(table[at + 1 : at + 5], "big", signed=True) / 10.0 ** table[at], at + 5
    if kind == b"V":
        return None, at
    raise ValueError(f"a field of the unknown type {kind!r}")


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
