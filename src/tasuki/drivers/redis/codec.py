"""Messages as the server keeps them: MessagePack of ``[time of publishing, [id, body, headers]]``.

The inner array is written here, the time around it by the server, by its own clock.
"""

from __future__ import annotations

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.message import HeaderValue

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[float, tuple[str, bytes, dict[str, HeaderValue]]]).decode


def encoded(message: Outgoing) -> bytes:
    """The content of a message. Raises TypeError, ValueError or OverflowError for headers that cannot be kept."""
    return _encode((message.id, message.body, message.headers))


def decoded(content: bytes, place: bytes) -> tuple[str, bytes, dict[str, HeaderValue]]:
    """Id, body and headers again. What another program put there is all body, and named after its place."""
    try:
        return _decode(content)[1]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return place.decode(errors="replace"), content, {}


def key_text(key: str | None) -> bytes:
    """A key as the scripts want it: never empty, without the bytes that end a key in the server's sets."""
    if key is None:
        return b""
    return b"=" + key.encode().replace(b"\1", b"\1\2").replace(b"\0", b"\1\3")
