"""Codecs: message bodies to bytes and back, as JSON, MessagePack or plain bytes, compressed if they are large."""

from __future__ import annotations

import importlib
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from typing import Any, Literal

import msgspec

from tasuki.contracts.codec import Codec
from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.handlers.body import JSON_CHANGES, MSGPACK_CHANGES, from_plain, problem_of_change, to_plain
from tasuki.parts import LEAST_MSGPACK, MAX_PARTS, problem_of_json, problem_of_msgpack

Method = Literal["gzip", "zstd"]

METHODS: tuple[Method, ...] = ("gzip", "zstd")


_GZIP = 16 + zlib.MAX_WBITS
"""To zlib: with the header of a gzip file."""

_WINDOW = 8 * 2**20
"""Bytes of memory that a reader of zstd should have (RFC 8878, 3.1.1.1.2); a header may demand 2 GiB."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How a queue compresses; ``above``: bytes from which on it does."""

    method: Method
    above: int

    def compressed(self, body: bytes) -> bytes | None:
        """The smaller body; None if it is not smaller.

        Raises:
            HandlerError: the library is missing; the text says what to install.
        """
        if len(body) < self.above:
            return None
        packed = _gzip(body) if self.method == "gzip" else _zstandard().ZstdCompressor().compress(body)
        return packed if len(packed) < len(body) else None


class CompressedCodec:
    """Another codec's bodies, compressed; ``most``: bytes of a body without its compression."""

    def __init__(self, inner: Codec, method: Method, most: int) -> None:
        self.name = f"{inner.name}+{method}"
        self.inner = inner
        self._unpack = _gunzip if method == "gzip" else _unzstd
        self._most = most

    def encode(self, value: Any) -> bytes:
        """See :class:`tasuki.contracts.codec.Codec`. Queues compress by themselves: their publishers name no method."""
        raise CodecError(
            f"content_type {self.name!r}: give the queue the field compress, and publish the body as it is"
        )

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`; HandlerError where the library is missing."""
        decode = self.inner.decoder(type_)
        return lambda body: decode(self.unpack(body))

    def unpack(self, body: bytes) -> bytes:
        """The body as the other codec has written it.

        Raises:
            CodecError: it is not compressed so, or not to its end. InvalidBodyError: it is too large.
            HandlerError: the library is missing.
        """
        return self._unpack(body, self._most)

    def beginning(self, body: bytes, size: int) -> bytes:
        """The first bytes of the body, at most ``size``; raises as ``unpack``, but the end may be missing."""
        return _first_of_gzip(body, size) if self._unpack is _gunzip else _first_of_zstd(body, size)


def require(method: Method) -> None:
    """Raise HandlerError with what to install, if this process cannot compress so."""
    if method == "zstd":
        _zstandard()


def _gzip(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=_GZIP)
    return pack.compress(body) + pack.flush()


def _gunzip(body: bytes, most: int) -> bytes:
    unpack = zlib.decompressobj(wbits=_GZIP)
    try:
        data = unpack.decompress(body, most + 1)
    except zlib.error as error:
        raise CodecError(f"body is not gzip: {error}") from error
    if len(data) > most:
        raise too_large(len(body), most, " when it is decompressed")
    if not unpack.eof:
        raise CodecError("body is not gzip: it ends too early")
    if unpack.unused_data:  # a second member, which is not read: a part of a body is no body
        raise CodecError("body is not gzip: bytes follow its end")
    return data


def _unzstd(body: bytes, most: int) -> bytes:
    zstandard = _zstandard()
    try:
        if zstandard.frame_content_size(body) > most:
            raise too_large(len(body), most, " when it is decompressed")
        unpack = zstandard.ZstdDecompressor().decompress
        data: bytes = unpack(body, max_output_size=most, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CodecError(f"body is not zstd of at most {most} bytes: {error}") from error
    return data


def _first_of_gzip(body: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=_GZIP).decompress(body, size)
    except zlib.error as error:
        raise CodecError(f"body is not gzip: {error}") from error


def _first_of_zstd(body: bytes, size: int) -> bytes:
    zstandard = _zstandard()
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(body)
        data: bytes = reader.read(size)
    except zstandard.ZstdError as error:
        raise CodecError(f"body is not zstd: {error}") from error
    return data


def too_large(size: int, most: int, when: str = "") -> InvalidBodyError:
    """The error for a body that is larger than its queue takes."""
    how = f"is more than {most} bytes{when}" if when else f"is larger than {most} bytes"
    text = f"the body of {size} bytes {how}, the max_message_size of its queue: raise that to have it handled"
    return InvalidBodyError(text, kind="Invalid", retryable=False)


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        text = "this process cannot read or write zstd: pip install 'tasuki[zstd]'"
        raise HandlerError(text, kind="Unavailable", retryable=True) from error


JSON = "json/plain"

MSGPACK = "application/msgpack"

BYTES = "application/octet-stream"


ALIASES = {"json": JSON, "application/json": JSON, "msgpack": MSGPACK, "bytes": BYTES}
"""Other names of the same codecs."""


_SCALARS = frozenset({str, int, bool, type(None)})

_CONTAINERS = frozenset({dict, list})

_NON_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]")
"""Where a MessagePack body may hold NaN or infinity; the same bytes may be part of something else."""

_NO_NUMBER = ("Number out of range", "Integer value out of range")

_REMEDY = "publish it in parts, or as bytes"

_REFUSED = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)


_ENCODE_JSON = msgspec.json.Encoder(enc_hook=to_plain).encode

_DECODE_JSON = msgspec.json.Decoder().decode


class JsonCodec:
    """JSON, as msgspec writes it; a number that JSON cannot carry (NaN, infinity) is refused, not turned into null.

    ``most``: bytes of the largest body that it decodes.
    """

    name = JSON

    def __init__(self, most: int = sys.maxsize) -> None:
        self._most = most

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
        if len(body) > MAX_PARTS and (problem := problem_of_json(body)):
            raise CodecError(f"body cannot be written as JSON: {problem}; {_REMEDY}")
        return body

    def encode_unchanged(
        self,
        value: Any,
        _encode: Callable[[Any], bytes] = _ENCODE_JSON,
        _decode: Callable[[bytes], Any] = _DECODE_JSON,
    ) -> bytes:
        """As ``encode``, and CodecError for a value that would be read as another one."""
        try:
            body = _encode(value)
            kind = type(value)
            # One more reading in C costs a third of a walk in Python; only what differs there is walked through.
            is_same = _decode(body) == value if kind in _CONTAINERS else kind in _SCALARS
            problem = "" if is_same else problem_of_change(value, "JSON", JSON_CHANGES, keeps_keys=False)
        except _REFUSED as error:
            raise CodecError(f"body cannot be written as JSON: {error}") from error
        if problem:
            raise CodecError(f"body cannot be written as JSON unchanged: {problem}")
        if len(body) > MAX_PARTS and (problem := problem_of_json(body)):
            raise CodecError(f"body cannot be written as JSON: {problem}; {_REMEDY}")
        return body

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`."""
        decode = msgspec.json.Decoder(type_, dec_hook=from_plain).decode
        return _checked(decode, "JSON", min(self._most, MAX_PARTS), _refusing(problem_of_json, self._most))


class MsgpackCodec:
    """MessagePack without extension types, and without numbers that the other codecs cannot carry.

    ``most``: bytes of the largest body that it decodes.
    """

    name = MSGPACK

    def __init__(self, most: int = sys.maxsize) -> None:
        self._most = most
        self._encode = msgspec.msgpack.Encoder(enc_hook=to_plain).encode
        self._decode = msgspec.msgpack.Decoder().decode

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
        if len(body) >= LEAST_MSGPACK and (problem := problem_of_msgpack(body)):
            raise CodecError(f"body cannot be written as MessagePack: {problem}; {_REMEDY}")
        return body

    def encode_unchanged(self, value: Any) -> bytes:
        """As ``encode``, and CodecError for a value that would be read as another one."""
        body = self.encode(value)
        try:
            kind = type(value)
            is_same = self._decode(body) == value if kind in _CONTAINERS else kind in _SCALARS
            problem = "" if is_same else problem_of_change(value, "MessagePack", MSGPACK_CHANGES, keeps_keys=True)
        except _REFUSED as error:
            raise CodecError(f"body cannot be written as MessagePack: {error}") from error
        if problem:
            raise CodecError(f"body cannot be written as MessagePack unchanged: {problem}")
        return body

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`."""
        decode = msgspec.msgpack.Decoder(type_, ext_hook=_refuse_extension, dec_hook=from_plain).decode

        def finite(body: bytes) -> Any:
            value = decode(body)
            if _NON_FINITE.search(body) and _holds_non_finite(value):
                raise ValueError("a number is not finite")
            return value

        above = min(self._most, LEAST_MSGPACK - 1)
        return _checked(finite, "MessagePack", above, _refusing(problem_of_msgpack, self._most))


class BytesCodec:
    """Carries bodies that are bytes already. ``most``: bytes of the largest body that it decodes."""

    name = BYTES

    def __init__(self, most: int = sys.maxsize) -> None:
        self._most = most

    def encode(self, value: Any) -> bytes:
        """The bytes themselves. Raises CodecError for anything else."""
        if not isinstance(value, bytes | bytearray | memoryview):
            raise CodecError(f"body must be bytes, not {type(value).__name__}")
        return bytes(value)

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`; only ``bytes`` (or Any) fits."""
        if type_ in (Any, bytes, object):
            return _sized(bytes, self._most)

        def decode(body: bytes) -> Any:
            raise InvalidBodyError(f"the body is bytes, but the handler expects {type_!r}")

        return decode


def unchanged(codec: Codec) -> Callable[[Any], bytes]:
    """How a codec writes bodies that it does not change; another package's codec refuses them in ``encode``."""
    return codec.encode_unchanged if isinstance(codec, JsonCodec | MsgpackCodec) else codec.encode


class _SizedCodec:
    """Another package's codec, for bodies of at most ``most`` bytes."""

    def __init__(self, inner: Codec, most: int) -> None:
        self.name, self.encode = inner.name, inner.encode
        self._inner, self._most = inner, most

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`."""
        return _sized(self._inner.decoder(type_), self._most)


class Codecs:
    """The codecs of a project by name: built in, or from the entry points ``tasuki.codecs``.

    ``most``: bytes of the largest body that they decode, without its compression; None: any, but none that is
    compressed.
    """

    def __init__(self, most: int | None = None, outer: Codecs | None = None) -> None:
        self._most = most
        self._outer = outer
        made = [kind() if most is None else kind(most) for kind in (JsonCodec, MsgpackCodec, BytesCodec)]
        self._codecs: dict[str, Codec] = {codec.name: codec for codec in made}
        self._installed: dict[str, EntryPoint] | None = None
        self._within: dict[int, Codecs] = {}

    def within(self, most: int) -> Codecs:
        """The same codecs, which refuse larger bodies, and read compressed ones."""
        return self._within.setdefault(most, Codecs(most, self))

    def get(self, name: str) -> Codec | None:
        """The codec of a name, alias or content type; None if there is none. Raises CodecError: it cannot be loaded."""
        name = ALIASES.get(name, name)
        return self._codecs.get(name) or self._foreign(name) or self._compressed(name)

    def _compressed(self, name: str) -> Codec | None:
        if self._most is None:
            return None
        for method in METHODS:
            plain = name.removesuffix(f"+{method}")
            plain = ALIASES.get(plain, plain)
            inner = None if plain == name else self._codecs.get(plain) or self._foreign(plain)
            if inner is not None and not isinstance(inner, CompressedCodec):
                codec = CompressedCodec(inner, method, self._most)
                return self._codecs.setdefault(codec.name, codec)
        return None

    def _foreign(self, name: str) -> Codec | None:
        if self._outer is not None and self._most is not None:
            codec = self._outer.get(name)
            return None if codec is None else self._codecs.setdefault(name, _SizedCodec(codec, self._most))
        point = self._points().get(name)
        if point is None:
            return None
        try:
            return self._codecs.setdefault(name, point.load()())
        except Exception as error:
            raise CodecError(f"codec {name!r} ({point.value}) cannot be loaded: {error}") from error

    def names(self) -> list[str]:
        """Every name that ``get`` answers, sorted."""
        return sorted({*self._codecs, *ALIASES, *self._points()})

    def _points(self) -> dict[str, EntryPoint]:
        """Installed codecs, looked up once: names come from message headers too, and a lookup reads many files."""
        if self._installed is None:
            self._installed = {point.name: point for point in entry_points(group="tasuki.codecs")}
        return self._installed


def _sized(decode: Callable[[bytes], Any], most: int) -> Callable[[bytes], Any]:
    if most == sys.maxsize:
        return decode

    def sized(body: bytes) -> Any:
        if len(body) > most:
            raise too_large(len(body), most)
        return decode(body)

    return sized


def _refusing(problem_of: Callable[[bytes], str], most: int) -> Callable[[bytes], None]:
    """A function that raises InvalidBodyError for a body that is not to be decoded."""

    def refuse(body: bytes) -> None:
        if len(body) > most:
            raise too_large(len(body), most)
        if problem := problem_of(body):
            raise InvalidBodyError(f"the body is not decoded: {problem}", kind="Invalid", retryable=False)

    return refuse


def _checked(
    decode: Callable[[bytes], Any], format_: str, above: int, refuse: Callable[[bytes], None]
) -> Callable[[bytes], Any]:
    """``refuse`` is called with bodies of more than ``above`` bytes: most are smaller, and cost one comparison."""

    def checked(body: bytes) -> Any:
        if len(body) > above:
            refuse(body)
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
