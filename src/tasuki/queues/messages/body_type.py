"""BodyType: the type that code declares for the bodies of a queue, and the builder that checks them against it."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from types import UnionType
from typing import Any

from msgspec import Raw

from tasuki.contracts.codec import Codec
from tasuki.errors import BodyTypeError, CodecError, HandlerError, InvalidBodyError, Position
from tasuki.handlers.body import check_type, make_decoder
from tasuki.message import HeaderValue
from tasuki.queues.messages.codec import BYTES, JSON, unchanged
from tasuki.queues.messages.message_builder import BYTES_LIKE, Envelope, MessageBuilder

_PLAIN_TYPES = (Any, dict, list, str, int, float, bool, None, type(None))


@dataclass(frozen=True, slots=True)
class BodyType:
    """A type, and where the code declares it."""

    type_: Any
    place: Position = field(compare=False)

    def __str__(self) -> str:
        return type_name(self.type_)


def type_name(type_: Any) -> str:
    """A type as its users write it: ``Mail``, ``list[Mail]``."""
    return type_.__qualname__ if isinstance(type_, type) and not typing.get_args(type_) else str(type_)


def unchecked_class(type_: Any, codec: Codec) -> type | None:
    """The class whose objects, written by this codec, are read as the type without a check; None: there is none.

    An object of exactly a declared class passes. So does a ``dict[str, Any]``: JSON makes every key a text.
    """
    if isinstance(type_, type) and not typing.get_args(type_):
        return type_
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    is_free = arguments in ((Any,), (Any, Any)) or (arguments == (str, Any) and codec.name == JSON)
    return origin if is_free and origin in (dict, list) else None


def is_plain_type(type_: Any) -> bool:
    """Whether a type is made of nothing but what JSON has, and values of any type: what it reads equals the body."""
    if type_ in _PLAIN_TYPES:
        return True
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    return origin in (dict, list, typing.Union, UnionType) and all(map(is_plain_type, arguments))


def problem_of_type(type_: Any) -> str:
    """Why no body can be of a type; empty if bodies can."""
    try:
        check_type(type_)
    except HandlerError as error:
        return str(error)
    return ""


class TypedMessageBuilder(MessageBuilder):
    """Refuses bodies that a consumer of the declared type could not read.

    Any other body than one of ``unchecked_class`` is read again from its bytes, as the consumer will.
    """

    def __init__(self, queue: str, body: BodyType, **parts: Any) -> None:
        super().__init__(queue, **parts)
        self._body = body
        self._unchecked = unchecked_class(body.type_, self._codec)
        self.encoded_alone = frozenset({self._unchecked} if self._unchecked else ()) - {bytes, bytearray, Envelope}
        self._is_free = self._unchecked in (dict, list)
        if not self._is_free:
            self.encode_alone = self._codec.encode
        self._is_plain = is_plain_type(body.type_)
        self._decoders: dict[str, Callable[[bytes], Any]] = {}

    def _encode(self, body: Any, headers: dict[str, HeaderValue], codec: Codec, *, is_recorded: bool = False) -> bytes:
        """As the type reads it: what keeps its values through the type is not changed."""
        if type(body) is self._unchecked and codec is self._codec:
            return super()._encode(body, headers, codec, is_recorded=is_recorded or not self._is_free)
        encoded = super()._encode(body, headers, codec, is_recorded=True)
        read = self._check(body, encoded, self.named_codec(headers) or codec)
        if self._is_plain and not is_recorded and read != body and not isinstance(body, BYTES_LIKE):
            unchanged(codec)(body)
        return encoded

    def _check(self, body: Any, encoded: bytes, codec: Codec) -> Any:
        """The body as the consumer reads it. Raises BodyTypeError."""
        decode = self._decoders.get(codec.name)
        if decode is None:
            decode = self._decoders[codec.name] = make_decoder(codec, self._body.type_)
        try:
            return decode(encoded)
        except (InvalidBodyError, CodecError) as error:
            why = "bytes are not read as a type" if codec.name == BYTES else str(error)
            why = why.removeprefix("the body does not fit: ")
            given = "JSON" if isinstance(body, Raw) else type(body).__name__
            raise BodyTypeError(
                f"queue {self._queue!r} takes {self._body} (declared at {self._body.place}), and this "
                f"{given} is not one: {why}; publish {_with_article(str(self._body))}"
            ) from None


def _with_article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"
