"""Compressed bodies: when they are, what says so, and what cannot be read."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from typing import Any

import pytest

from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.messages.compression import METHODS, CompressedCodec, Compression, Method, require
from tests.unit.queues.fake import memory_queue

pytestmark = pytest.mark.anyio

HAS_ZSTD = importlib.util.find_spec("zstandard") is not None
METHODS_HERE = [
    pytest.param(method, marks=pytest.mark.skipif(method == "zstd" and not HAS_ZSTD, reason="zstandard is missing"))
    for method in METHODS
]
LONG = "x" * 5000


@pytest.mark.parametrize("method", METHODS_HERE)
@pytest.mark.parametrize("name", ["json/plain", "application/msgpack", "application/octet-stream"])
def test_what_is_compressed_is_read_again(method: Method, name: str) -> None:
    codecs = Codecs()
    plain, packed = codecs.get(name), codecs.get(f"{name}+{method}")
    assert plain is not None
    assert packed is not None
    assert codecs.get(f"{name}+{method}") is packed
    value = LONG.encode() if name.endswith("stream") else {"text": LONG}
    body = Compression(method, 100).compressed(plain.encode(value))
    assert body is not None
    assert len(body) < 100
    assert packed.name == f"{name}+{method}"
    assert packed.decoder()(body) == value
    if not name.endswith("stream"):
        with pytest.raises(InvalidBodyError):
            packed.decoder(int)(body)


@pytest.mark.parametrize("method", METHODS_HERE)
@pytest.mark.parametrize("spoilt", [lambda body: b"{}", lambda body: body[:-9], lambda body: b""])
def test_what_cannot_be_decompressed_is_undecodable(method: Method, spoilt: Any) -> None:
    codec = Codecs().get(f"json/plain+{method}")
    body = Compression(method, 100).compressed(b'"' + LONG.encode() + b'"')
    assert codec is not None
    with pytest.raises(CodecError):
        codec.decoder()(spoilt(body))


def test_a_small_body_that_claims_to_be_large_is_refused() -> None:
    bomb = zlib.compressobj(wbits=31)
    body = bomb.compress(bytes(64 * 2**20)) + bomb.flush()
    codec = Codecs().get("json/plain+gzip")
    assert codec is not None
    with pytest.raises(CodecError, match="more than 16777216 bytes when it is decompressed"):
        codec.decoder()(body)
    assert Compression("gzip", 1).compressed(bytes(64 * 2**20)) is None  # no consumer would read it


def test_a_name_is_compressed_once_and_of_a_codec_that_there_is() -> None:
    assert Codecs().get("json/plain+gzip+gzip") is None
    assert Codecs().get("nothing+gzip") is None
    assert Codecs().get("json/plain+lz4") is None
    assert Codecs().get("json+gzip") is not None


async def test_a_queue_compresses_large_bodies_and_says_so() -> None:
    queue = await memory_queue(compression=Compression("gzip", 1000))
    await queue.publish("small")
    await queue.publish(LONG)
    await queue.publish(LONG.encode())
    await queue.publish(LONG, {"content_type": "msgpack"})
    await queue.publish_many([LONG, "small"])
    messages = await queue.peek(10)
    assert [message.headers.get("content_type") for message in messages] == [
        *(None, "json/plain+gzip", "application/octet-stream+gzip", "msgpack+gzip"),
        *("json/plain+gzip", None),
    ]
    codecs = Codecs()
    for message in messages:
        codec = codecs.get(str(message.headers.get("content_type", "json/plain")))
        assert codec is not None
        assert codec.decoder()(message.body) in ("small", LONG, LONG.encode())


def test_a_publisher_cannot_name_the_compression() -> None:
    codec = Codecs().get("json/plain+gzip")
    assert isinstance(codec, CompressedCodec)
    with pytest.raises(CodecError, match="give the queue the field compress"):
        codec.encode({})


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    codec = Codecs().get("json/plain+zstd")
    assert codec is not None
    for attempt in (
        lambda: require("zstd"),
        lambda: codec.decoder()(b"x"),
        lambda: Compression("zstd", 1).compressed(b"x"),
    ):
        with pytest.raises(HandlerError, match=r"pip install 'tasuki\[zstd\]'") as missing:
            attempt()
        assert missing.value.retryable  # another process may have it
    require("gzip")
