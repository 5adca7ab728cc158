"""Compression: large bodies of a queue travel compressed, and their content type says so (``json/plain+gzip``)."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tasuki.contracts.codec import Codec
from tasuki.errors import CodecError, HandlerError

Method = Literal["gzip", "zstd"]
METHODS: tuple[Method, ...] = ("gzip", "zstd")

_GZIP = 16 + zlib.MAX_WBITS
"""To zlib: with the header of a gzip file."""
_SMALL = 16 * 2**20
_MOST_TIMES = 64
"""A body of at most 16 MiB, or of 64 times its compressed size, is read: a few bytes may claim to be many."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How a queue compresses; ``above``: bytes from which on it does."""

    method: Method
    above: int

    def compressed(self, body: bytes) -> bytes | None:
        """The smaller body; None if it is not smaller, or if no consumer would read it again.

        Raises:
            HandlerError: the library is missing; the text says what to install.
        """
        if len(body) < self.above:
            return None
        packed = _gzip(body) if self.method == "gzip" else _zstandard().ZstdCompressor().compress(body)
        return packed if len(packed) < len(body) <= _limit(packed) else None


class CompressedCodec:
    """Another codec's bodies, compressed."""

    def __init__(self, inner: Codec, method: Method) -> None:
        self.name = f"{inner.name}+{method}"
        self.inner = inner
        self.unpack = _gunzip if method == "gzip" else _unzstd
        """The body as the other codec has written it. Raises CodecError; HandlerError: the library is missing."""

    def encode(self, value: Any) -> bytes:
        """See :class:`tasuki.contracts.codec.Codec`. Queues compress by themselves: their publishers name no method."""
        raise CodecError(
            f"content_type {self.name!r}: give the queue the field compress, and publish the body as it is"
        )

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        """See :class:`tasuki.contracts.codec.Codec`; HandlerError where the library is missing."""
        decode, unpack = self.inner.decoder(type_), self.unpack
        return lambda body: decode(unpack(body))


def require(method: Method) -> None:
    """Raise HandlerError with what to install, if this process cannot compress so."""
    if method == "zstd":
        _zstandard()


def _gzip(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=_GZIP)
    return pack.compress(body) + pack.flush()


def _gunzip(body: bytes) -> bytes:
    unpack = zlib.decompressobj(wbits=_GZIP)
    try:
        data = unpack.decompress(body, _limit(body) + 1)
    except zlib.error as error:
        raise CodecError(f"body is not gzip: {error}") from error
    if not unpack.eof and len(data) <= _limit(body):
        raise CodecError("body is not gzip: it ends too early")
    return _checked(data, body)


def _unzstd(body: bytes) -> bytes:
    zstandard = _zstandard()
    try:
        data: bytes = zstandard.ZstdDecompressor().stream_reader(body).read(_limit(body) + 1)
    except zstandard.ZstdError as error:
        raise CodecError(f"body is not zstd: {error}") from error
    return _checked(data, body)


def _checked(data: bytes, body: bytes) -> bytes:
    if len(data) > _limit(body):
        raise CodecError(f"body of {len(body)} bytes is more than {_limit(body)} bytes when it is decompressed")
    return data


def _limit(packed: bytes) -> int:
    return max(_SMALL, len(packed) * _MOST_TIMES)


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        text = "this process cannot read or write zstd: pip install 'tasuki[zstd]'"
        raise HandlerError(text, kind="Unavailable", retryable=True) from error
