"""Codecs: message bodies to bytes and back, as JSON, MessagePack or plain bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from typing import Any

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.errors import CodecError, InvalidBodyError
from tasuki.handlers.converters import from_plain, to_plain
from tasuki.queues.messages.compression import METHODS, CompressedCodec

JSON = "json/plain"
MSGPACK = "application/msgpack"
BYTES = "application/octet-stream"

ALIASES = {"json": JSON, "application/json": JSON, "msgpack": MSGPACK, "bytes": BYTES}
"""Other names of the same codecs."""

_SCALARS = frozenset({str, int, bool, type(None)})
_NON_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]")
"""Where a MessagePack body may hold NaN or infinity; the same bytes may be part of something else."""
_NO_NUMBER = ("Number out of range", "Integer value out of range")
_REFUSED = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)


_ENCODE_JSON = msgspec.json.Encoder(enc_hook=to_plain).encode


class JsonCodec:
    """JSON, as msgspec writes it; a number that JSON cannot carry (NaN, infinity) is refused, not turned into null."""

    name = JSON

    def encode(self, value: Any, _encode: Callable[[Any], bytes] = _ENCODE_JSON) -> bytes:
        """UTF-8 JSON text. Raises CodecError."""
        try:
            body = _encode(value)
            # msgspec writes NaN and infinity as null: only a text that holds one needs the walk through the value.
            non_finite = b"null" in body and _holds_non_finite(value)
        except _REFUSED as error:
            raise CodecError(f"body cannot be written as JSON: {error}") from error
        if non_finite:
            raise CodecError("body cannot be written as JSON: a number in it is not finite (NaN, infinity); send null")
        return body

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`."""
        return _checked(msgspec.json.Decoder(type_, dec_hook=from_plain).decode, "JSON")


class MsgpackCodec:
    """MessagePack without extension types, and without numbers that the other codecs cannot carry."""

    name = MSGPACK

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder(enc_hook=to_plain).encode

    def encode(self, value: Any) -> bytes:
        """MessagePack bytes. Raises CodecError."""
        try:
            body = self._encode(value)
            non_finite = _NON_FINITE.search(body) and _holds_non_finite(value)
        except _REFUSED as error:
            raise CodecError(f"body cannot be written as MessagePack: {error}") from error
        if non_finite:
            raise CodecError(
                "body cannot be written as MessagePack: a number in it is not finite (NaN, infinity); send null"
            )
        return body

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`."""
        decode = msgspec.msgpack.Decoder(type_, ext_hook=_refuse_extension, dec_hook=from_plain).decode

        def finite(body: bytes) -> Any:
            value = decode(body)
            if _NON_FINITE.search(body) and _holds_non_finite(value):
                raise ValueError("a number is not finite")
            return value

        return _checked(finite, "MessagePack")


class BytesCodec:
    """Carries bodies that are bytes already."""

    name = BYTES

    def encode(self, value: Any) -> bytes:
        """The bytes themselves. Raises CodecError for anything else."""
        if not isinstance(value, bytes | bytearray | memoryview):
            raise CodecError(f"body must be bytes, not {type(value).__name__}")
        return bytes(value)

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`; only ``bytes`` (or Any) fits."""
        if type_ in (Any, bytes, object):
            return bytes

        def decode(body: bytes) -> Any:
            raise InvalidBodyError(f"the body is bytes, but the handler expects {type_!r}")

        return decode


class Codecs:
    """The codecs of a project by name: built in, or from the entry points ``tasuki.codecs``."""

    def __init__(self) -> None:
        self._codecs: dict[str, Codec] = {JSON: JsonCodec(), MSGPACK: MsgpackCodec(), BYTES: BytesCodec()}
        self._installed: dict[str, EntryPoint] | None = None

    def get(self, name: str) -> Codec | None:
        """The codec of a name, alias or content type; None if there is none. Raises CodecError: it cannot be loaded."""
        name = ALIASES.get(name, name)
        codec = self._codecs.get(name) or self._compressed(name)
        if codec is None and (point := self._points().get(name)) is not None:
            try:
                codec = self._codecs[name] = point.load()()
            except Exception as error:
                raise CodecError(f"codec {name!r} ({point.value}) cannot be loaded: {error}") from error
        return codec

    def _compressed(self, name: str) -> Codec | None:
        for method in METHODS:
            plain = name.removesuffix(f"+{method}")
            if plain != name and (inner := self.get(plain)) is not None and not isinstance(inner, CompressedCodec):
                codec = self._codecs[CompressedCodec(inner, method).name] = CompressedCodec(inner, method)
                return codec
        return None

    def names(self) -> list[str]:
        """Every name that ``get`` answers, sorted."""
        return sorted({*self._codecs, *ALIASES, *self._points()})

    def _points(self) -> dict[str, EntryPoint]:
        """Installed codecs, looked up once: names come from message headers too, and a lookup reads many files."""
        if self._installed is None:
            self._installed = {point.name: point for point in entry_points(group="tasuki.codecs")}
        return self._installed


def _checked(decode: Callable[[bytes], Any], format_: str) -> Callable[[bytes], Any]:
    def checked(body: bytes) -> Any:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            if str(error).startswith(_NO_NUMBER):  # no type can represent that number
                raise CodecError(f"body is not {format_}: {error}") from error
            raise InvalidBodyError(f"the body does not fit: {error}", kind="Invalid", retryable=False) from error
        except _REFUSED as error:
            raise CodecError(f"body is not {format_}: {error}") from error

    return checked


def _refuse_extension(code: int, data: memoryview) -> Any:
    raise ValueError(f"MessagePack extension type {code} is not accepted")


def _holds_non_finite(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        if kind is float:
            return not isfinite(value)
        if kind in _SCALARS:
            return False
        return _holds_non_finite(msgspec.to_builtins(value, enc_hook=to_plain))  # a Struct, dataclass, set, date, …
    for item in value:
        kind = type(item)
        if kind not in _SCALARS and (not isfinite(item) if kind is float else _holds_non_finite(item)):
            return True
    return False
