"""Compressed bodies: when they are, what says so, and what cannot be read."""

from __future__ import annotations

import importlib.util
import sys
import tracemalloc
from typing import Any

import pytest

from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.queues.messages.codec import METHODS, Codecs, CompressedCodec, Compression, Method, require
from tests.support.narrow import present
from tests.unit.queues.fake import memory_queue

pytestmark = pytest.mark.anyio

HAS_ZSTD = importlib.util.find_spec("zstandard") is not None
METHODS_HERE = [
    pytest.param(method, marks=pytest.mark.skipif(method == "zstd" and not HAS_ZSTD, reason="zstandard is missing"))
    for method in METHODS
]
LONG = "x" * 5000
MIB = 2**20


@pytest.mark.parametrize("method", METHODS_HERE)
@pytest.mark.parametrize("name", ["json/plain", "application/msgpack", "application/octet-stream"])
def test_what_is_compressed_is_read_again(method: Method, name: str) -> None:
    codecs = Codecs(MIB)
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
    codec = Codecs(MIB).get(f"json/plain+{method}")
    body = Compression(method, 100).compressed(b'"' + LONG.encode() + b'"')
    assert codec is not None
    with pytest.raises(CodecError):
        codec.decoder()(spoilt(body))


@pytest.mark.parametrize("method", METHODS_HERE)
@pytest.mark.parametrize("over", [1, 64 * MIB])
def test_a_body_that_is_too_large_without_its_compression_is_invalid(method: Method, over: int) -> None:
    codec = Codecs(MIB).get(f"application/octet-stream+{method}")
    assert codec is not None
    packed = present(Compression(method, 1).compressed(bytes(MIB)))
    assert len(codec.decoder()(packed)) == MIB
    bomb = present(Compression(method, 1).compressed(bytes(MIB + over)))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidBodyError, match="is more than 1048576 bytes when it is decompressed"):
            codec.decoder()(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_zstd_that_does_not_say_its_size_is_bounded_too() -> None:
    zstandard = pytest.importorskip("zstandard")
    pack = zstandard.ZstdCompressor().compressobj()
    bomb = pack.compress(bytes(64 * MIB)) + pack.flush()
    codec = present(Codecs(MIB).get("application/octet-stream+zstd"))
    with pytest.raises(CodecError, match="body is not zstd of at most 1048576 bytes"):
        codec.decoder()(bomb)


@pytest.mark.parametrize("method", METHODS_HERE)
def test_a_second_body_behind_the_first_one_is_not_lost(method: Method) -> None:
    codec = present(Codecs(MIB).get(f"application/octet-stream+{method}"))
    packed = present(Compression(method, 1).compressed(LONG.encode()))
    with pytest.raises(CodecError, match="body is not"):
        codec.decoder()(packed + packed)


@pytest.mark.parametrize("method", METHODS_HERE)
def test_the_beginning_costs_no_more_than_it_has(method: Method) -> None:
    codec = Codecs(MIB).get(f"json/plain+{method}")
    assert isinstance(codec, CompressedCodec)
    bomb = present(Compression(method, 1).compressed(b'"' + b"x" * 64 * MIB))
    tracemalloc.start()
    try:
        assert codec.beginning(bomb, 100) == b'"' + b"x" * 99
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert codec.beginning(bomb[:20], 10) in (b'"' + b"x" * 9, b"")  # its end need not be there
    with pytest.raises(CodecError):
        codec.beginning(b"{}" * 10, 100)


def test_without_a_limit_nothing_is_decompressed() -> None:
    assert Codecs().get("json/plain+gzip") is None
    assert Codecs().within(MIB).get("json/plain+gzip") is not None


def test_a_name_is_compressed_once_and_of_a_codec_that_there_is() -> None:
    assert Codecs(MIB).get("json/plain+gzip+gzip") is None
    assert Codecs(MIB).get("nothing+gzip") is None
    assert Codecs(MIB).get("json/plain+lz4") is None
    assert Codecs(MIB).get("json+gzip") is not None


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
    codecs = Codecs(MIB)
    for message in messages:
        codec = codecs.get(str(message.headers.get("content_type", "json/plain")))
        assert codec is not None
        assert codec.decoder()(message.body) in ("small", LONG, LONG.encode())


def test_a_publisher_cannot_name_the_compression() -> None:
    codec = Codecs(MIB).get("json/plain+gzip")
    assert isinstance(codec, CompressedCodec)
    with pytest.raises(CodecError, match="give the queue the field compress"):
        codec.encode({})


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    codec = Codecs(MIB).get("json/plain+zstd")
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
