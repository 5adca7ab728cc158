"""Signature: proof that a holder of one of this queue's keys published a message to it, unchanged.

HMAC-SHA256 in the header ``x_signature``, as ``<key id>:<hex>``, over these parts, each with its length before it:
a version, the queue's id, the message's id, the body, and six headers with their types. ``content_type`` decides how
the body is read (without one it is the queue's codec); ``correlation_id`` and ``reply_to`` decide where an answer
goes; ``priority`` and ``partition_key`` decide the order; ``message_type`` decides which task runs. A message of a
group has ``x_group`` as one more part, which decides what follows, and a message with rules of its own ``x_rules``.
Other headers are left out: a foreign hop may add some, and ``timestamp`` and most of ``x_…`` are rewritten on the way,
as when a message is dead-lettered and sent back.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasuki.message import (
    CONTENT_TYPE,
    CORRELATION_ID,
    GROUP,
    MESSAGE_TYPE,
    PARTITION_KEY,
    PRIORITY,
    REPLY_TO,
    RULES,
    SIGNATURE,
    Message,
)

_VERSION = b"tasuki signature 2"
_HEADERS = (CONTENT_TYPE, CORRELATION_ID, REPLY_TO, PRIORITY, PARTITION_KEY, MESSAGE_TYPE)


@dataclass(frozen=True, slots=True)
class Signing:
    """The keys with which a queue signs and verifies."""

    keys: Mapping[str, bytes] = field(repr=False)
    """Secrets by key id, at least one; the first signs, all verify."""
    required: bool = True
    """Whether a message without a signature is refused; one with a wrong signature always is."""


class Signer:
    """Signs and verifies the messages of one queue, whose codec is ``content_type``."""

    __slots__ = ("_content_type", "_first", "_keys", "_queue", "_required")

    def __init__(self, queue: str, content_type: str, signing: Signing) -> None:
        self._queue = queue
        self._content_type = content_type
        self._keys = dict(signing.keys)
        self._first = next(iter(self._keys))
        self._required = signing.required

    def sign(self, messages: Iterable[Message]) -> None:
        """Put a signature into the headers of each message; signed parts may not be changed afterwards."""
        for message in messages:
            message.headers[SIGNATURE] = f"{self._first}:{self._digest(self._first, message)}"

    def verify(self, message: Message) -> str | None:
        """None for a message that may be handled, else why it must not be."""
        signature = message.headers.get(SIGNATURE)
        if signature is None:
            return "it has no signature, and its queue requires one" if self._required else None
        id, _, digest = str(signature).partition(":")
        if id not in self._keys:
            return "it is signed with a key that its queue does not know"
        # As bytes: compare_digest refuses texts that are not ASCII, and this one comes from outside.
        if not hmac.compare_digest(self._digest(id, message).encode(), _bytes(digest)):
            return "its signature is wrong: it was forged, changed, or published to another queue"
        return None

    def _digest(self, key: str, message: Message) -> str:
        headers = message.headers
        values = [headers.get(name) for name in _HEADERS]
        values[0] = headers.get(CONTENT_TYPE, self._content_type)  # a dead letter states the default explicitly
        if GROUP in headers:
            values.append(headers[GROUP])
        if RULES in headers:
            values.append(f"rules {headers[RULES]}")  # which no header of a group begins with
        parts = (_VERSION, _bytes(self._queue), _bytes(message.id), message.body, *map(_typed, values))
        data = b"".join([piece for part in parts for piece in (len(part).to_bytes(8, "big"), part)])
        return hmac.digest(self._keys[key], data, "sha256").hex()


def _typed(value: object) -> bytes:
    """A header's value and type, so that 1, True and "1" differ; in the same words on every Python."""
    # Hex has no limit of digits: what comes from outside may be any number.
    text = value if isinstance(value, str) else f"{value:x}" if isinstance(value, int) else repr(value)
    return _bytes(f"{type(value).__name__}:{text}")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
