"""Idempotency: the key for which a consumer does its work once, and the record of that work; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.contracts.driver import Received
from tasuki.errors import HandlerError, PublishError, TasukiError
from tasuki.message import MESSAGE_TYPE, HeaderValue
from tasuki.queues.messages.lanes import ValuePath, parse_path
from tasuki.state.records import part_of, read

ONCE = "once/"
"""Prefix of the keys in a store: one for each key of a consumer."""
_MOST_CHARS = 255


@dataclass(frozen=True, slots=True)
class Idempotency:
    """``path``: where the key of a message is; None: its id. ``ttl``: seconds for which a key is remembered."""

    path: ValuePath | None
    ttl: float

    def key_of(self, body: object, received: Received) -> str:
        """The key of a message. Raises HandlerError (Invalid): it has none, or one that is no text or number."""
        if self.path is None:
            return received.id
        try:
            key = self.path.read(body, received.headers)
        except PublishError as error:
            raise _invalid(f"the idempotency key cannot be read: {error}") from error
        if key is None:
            raise _invalid(f"the message has no {self.path.text}, which is its idempotency key")
        if len(key) > _MOST_CHARS or not key.isprintable():
            raise _invalid(f"{self.path.text} is no idempotency key: it has 1 to {_MOST_CHARS} printable characters")
        return key


def rule_of(key: str, ttl: float) -> Idempotency:
    """The rule of ``idempotency: {key, ttl}``. Raises ValueError: the key names nothing."""
    return Idempotency(None if key == "id" else parse_path(key), ttl)


class AlreadyDone(Exception):  # noqa: N818 - a signal, not an error
    """Raised into a handler whose transaction finds its key recorded: the work is done, with this result."""

    def __init__(self, result: Any) -> None:
        self.result = result
        super().__init__("the work of this key is done already")


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that a running delivery works for."""

    consumer: str
    key: str
    ttl: float

    @property
    def place(self) -> str:
        """Its key in a store."""
        return f"{ONCE}{part_of(f'{self.consumer}/{self.key}')}"


class OnceRecord(msgspec.Struct, frozen=True):
    """The record of a key: the delivery that works for it now, or the recorded result."""

    owner: str
    """Of the delivery that has written this; each claim has its own."""
    message: str
    """Id of its message."""
    is_done: bool = False
    result: bytes = b""
    attempt: int = 0
    """Of that message; a later one is its own, after the worker of this one has died."""
    paused_until: float = 0.0
    """Unix time until which that message sleeps or waits; 0: it does not."""

    def is_held_for(self, message: str, attempt: int) -> bool:
        """Whether a message may take over the key: it is its own, and it has come again.

        A second message may have the same id. Only its attempt tells it from one whose worker has died; in a pause it
        has the same steps, and so the same pause.
        """
        return self.message == message and (self.attempt < attempt or self.paused_until > 0)


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(OnceRecord)


def encode(record: OnceRecord) -> bytes:
    """The value in the store."""
    return _encoder.encode(record)


def decode(value: bytes) -> OnceRecord:
    """The record of a value. Raises HandlerError (Internal): another version of Tasuki wrote it."""
    return read(_decoder, value, "the idempotency key")


def encoded(codec: Codec, result: object) -> bytes:
    """A result to remember, in the format of the queue. Raises HandlerError (Invalid): it cannot be."""
    try:
        return codec.encode(result)
    except TasukiError as error:
        raise _invalid(f"the result cannot be remembered for the idempotency key: {error}") from error


def decoded(codec: Codec, result: bytes) -> Any:
    """The remembered result, as plain data; None: nothing was remembered."""
    return codec.decoder()(result) if result else None


def consumer_of(queue: str, consumer: str, headers: Mapping[str, HeaderValue]) -> str:
    """The name under which a message's keys are kept: of its queue at the broker, its consumer, and its task."""
    return f"{queue}/{consumer}/{quote(str(headers.get(MESSAGE_TYPE, '')), safe='')}"


def _invalid(problem: str) -> HandlerError:
    return HandlerError(problem, kind="Invalid", retryable=False)
