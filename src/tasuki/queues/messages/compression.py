"""Compression: large bodies of a queue travel compressed, and their content type says so (``json/plain+gzip``)."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tasuki.contracts.codec import Codec
from tasuki.errors import CodecError, HandlerError, InvalidBodyError

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
