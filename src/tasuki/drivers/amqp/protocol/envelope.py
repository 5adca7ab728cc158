"""Messages as AMQP carries them: published ones, delivered ones, and copies with another count.

Our own messages carry all headers in the header table, with their types, and a marker; those that AMQP has a property
for stand in the property as well, so that other programs can read them. A foreign message has no marker: its properties
become headers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.amqp.protocol.frames import (
    Properties,
    address_of,
    decode_properties,
    encode_bytes,
    encode_field,
    fields,
)
from tasuki.message import HeaderValue, new_id

MARKER = b"x-tasuki"
"""Header of our own messages: how often it had failed before this copy was stored."""
SUSPECT = b"x-tasuki-suspect"
"""Header of a copy that was released as a suspect."""
MORE = b"x-tasuki-more"
"""Header with the id and the headers that a table cannot carry, packed."""
KEY = b"x-tasuki-key"
"""Header with the key after which messages are ordered."""
EMPTY = Properties({}).encode()
"""The properties of a message without an id and headers."""
_BROKERS = frozenset({b"CC", b"BCC"})
"""Names to which the broker itself gives a meaning; so it does to all that start with ``x-``."""
_LONGEST = 255
_PROPERTIES = {
    "content_type": "content_type",
    "encoding": "content_encoding",
    "correlation_id": "correlation_id",
    "reply_to": "reply_to",
    "message_type": "type",
    "amqp.app_id": "app_id",
}
"""Header → property. ``amqp.user_id`` and ``amqp.expiration`` stay headers: the broker would act on them."""
_HEADERS = {name: header for header, name in _PROPERTIES.items()} | {
    "user_id": "amqp.user_id",
    "expiration": "amqp.expiration",
    "cluster_id": "amqp.cluster_id",
}
_MOST_SECONDS = 2**63
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[str | None, dict[str, HeaderValue]]).decode

UNREADABLE = (ValueError, IndexError, struct.error, msgspec.DecodeError)
"""What reading damaged properties raises."""


class Parsed(msgspec.Struct, gc=False):
    """A message that arrived."""

    id: str
    headers: dict[str, HeaderValue]
    failures: int
    """Those that the message itself has; others may be recorded beside it, see ``records``."""
    priority: int
    key: str | None = None
    suspect: bool = False


def encode(message: Outgoing, failures: int = 0, expiration: bytes | None = None) -> bytes:
    """The properties of a message to publish; ``expiration``: milliseconds as digits."""
    id = message.id.encode()
    more: dict[str, Any] = {}
    parts = [encode_field(MARKER, failures)]
    if message.key is not None:
        parts.append(encode_field(KEY, message.key))
    for key, value in message.headers.items():
        name = key.encode()
        if name.startswith(b"x-") or name in _BROKERS or len(name) > _LONGEST:
            more[key] = value
        else:
            parts.append(encode_field(name, value))
    if len(id) > _LONGEST:
        parts.append(encode_bytes(MORE, _pack((message.id, more))))
        id = b""
    elif more:
        parts.append(encode_bytes(MORE, _pack((None, more))))
    texts = _texts(message.headers)
    if id:
        texts["message_id"] = id
    if expiration is not None:
        texts["expiration"] = expiration
    stamp = message.headers.get("timestamp")
    return Properties(
        texts,
        b"".join(parts),
        priority=min(message.priority, 9) or None,
        timestamp=int(stamp) if type(stamp) in {int, float} and 0 <= stamp < _MOST_SECONDS else None,  # type: ignore[operator,arg-type]
    ).encode()


def _texts(headers: Mapping[str, HeaderValue]) -> dict[str, bytes]:
    texts = {}
    for header, name in _PROPERTIES.items():
        value = headers.get(header)
        if type(value) is str and len(data := value.encode()) <= _LONGEST:
            texts[name] = data
    return texts


def decode(content: bytes, method: bytes) -> Parsed:
    """A message out of its properties; ``method`` is the ``basic.deliver``. Raises one of ``UNREADABLE``.

    The broker's own counts are not looked at: they rise with returns that are no failures, and differ by version (what
    3.13 to 4.2 count in ``x-delivery-count`` for every return, 4.3 counts for ``basic.reject`` only).
    """
    properties = decode_properties(content)
    headers, ours = _sorted(properties.table)
    marker, more = ours.get(MARKER), ours.get(MORE)
    id = properties.texts.get("message_id", b"").decode("utf-8", "replace")
    priority = properties.priority or 0
    if not isinstance(marker, int):
        exchange, routing_key = address_of(method)
        headers = {"amqp.exchange": exchange, "amqp.routing_key": routing_key, **_foreign(properties), **headers}
        return Parsed(id or new_id(), headers, 0, priority)
    if isinstance(more, bytes):
        long_id, rest = _unpack(more)
        id = id if long_id is None else long_id
        headers.update(rest)
    key = ours.get(KEY)
    is_suspect = ours.get(SUSPECT) is True
    return Parsed(id, headers, marker, priority, key if isinstance(key, str) else None, is_suspect)


def _sorted(table: bytes) -> tuple[dict[str, HeaderValue], dict[bytes, object]]:
    """The headers, and apart from them what starts with ``x-``: what the broker and we have written."""
    headers: dict[str, HeaderValue] = {}
    ours: dict[bytes, object] = {}
    for key, value, _, _ in fields(table):
        if key.startswith(b"x-"):
            ours[key] = value
        elif isinstance(value, bytes):
            headers[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        elif isinstance(value, bool | int | float | str):
            headers[key.decode("utf-8", "replace")] = value
    return headers, ours


def _foreign(properties: Properties) -> dict[str, HeaderValue]:
    """The properties of a message from another program as headers."""
    headers: dict[str, HeaderValue] = {}
    for name, data in properties.texts.items():
        if name in _HEADERS:
            headers[_HEADERS[name]] = data.decode("utf-8", "replace")
    if properties.timestamp is not None and properties.timestamp < _MOST_SECONDS:
        headers["timestamp"] = properties.timestamp
    if properties.priority is not None:
        headers["priority"] = properties.priority
    return headers


def copied(content: bytes, id: str, failures: int, *, suspect: bool = False) -> bytes:
    """The properties of a copy: as they came, but for our marks, and without what the broker wrote into them.

    A foreign message becomes one of ours that keeps what it was: its properties stay where they are, and it keeps the
    id that it was given here if it had none.
    """
    properties = decode_properties(content)
    found_fields = list(fields(properties.table))
    is_ours = any(key == MARKER and isinstance(value, int) for key, value, _, _ in found_fields)
    own = [properties.table[start:end] for key, _, start, end in found_fields if is_ours and key in {MORE, KEY}]
    left = [field for field in found_fields if not field[0].startswith(b"x-")]
    table = b"".join(properties.table[start:end] for _, _, start, end in left)
    if not is_ours:
        known = {key for key, *_ in left}
        found = {key.encode(): value for key, value in _foreign(properties).items()}
        table += b"".join(encode_field(key, value) for key, value in found.items() if key not in known)
    marks = encode_field(MARKER, failures) + (encode_field(SUSPECT, value=True) if suspect else b"")
    properties.table = b"".join((marks, table, *own))
    if not properties.texts.get("message_id") and len(id.encode()) <= _LONGEST:
        properties.texts["message_id"] = id.encode()
    properties.texts.pop("expiration", None)
    properties.texts.pop("user_id", None)
    properties.persistent = True
    return properties.encode()


def identity(content: bytes, id: str, body: bytes) -> bytes:
    """What tells a message from the others of its queue; the body where a foreign message came without an id."""
    data = id.encode()
    return data if len(data) > _LONGEST else id_of(content) or body


def id_of(content: bytes) -> bytes:
    """The id of a message as its properties carry it; empty where they do not."""
    return decode_properties(content).texts.get("message_id", b"")


def short_id(id: str) -> bytes:
    """The id as its property has it: empty if it is too long for one."""
    data = id.encode()
    return data if len(data) <= _LONGEST else b""
