from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import importlib.util
import struct
import sys
import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest

from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.parts import MAX_PARTS
from tasuki.queues.messages import codec as module
from tasuki.queues.messages.codec import (
    ALIASES,
    BYTES,
    JSON,
    METHODS,
    MSGPACK,
    BytesCodec,
    Codecs,
    CompressedCodec,
    Compression,
    JsonCodec,
    Method,
    MsgpackCodec,
    require,
)
from tests.support.narrow import present
from tests.unit.queues.fake import memory_queue

pytestmark = pytest.mark.anyio

json, msgpack = JsonCodec(), MsgpackCodec()


class Task(msgspec.Struct):
    name: str
    size: float | None = None


@dataclasses.dataclass
class Point:
    x: float


def deep(levels: int) -> list[Any]:
    value: list[Any] = [None]
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("codec", [json, msgpack])
@pytest.mark.parametrize(
    "value",
    [None, True, 0, 2**63 - 1, -(2**63), 0.1, -0.0, 1e308, "", "日本\0", [], {}, {"a": [{}, [], None, {"b": 1.5}]}],
)
def test_a_value_comes_back_as_it_was(codec: JsonCodec | MsgpackCodec, value: Any) -> None:
    back = codec.decoder()(codec.encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1, float("-inf")],
        {"a": {"b": [None, float("nan")]}},
        (None, float("nan")),
        Task("a", float("nan")),
        [None, Point(float("inf"))],
        {"a": frozenset({float("nan")})},
    ],
)
@pytest.mark.parametrize("codec", [json, msgpack])
def test_a_number_that_is_not_finite_is_refused(codec: JsonCodec | MsgpackCodec, value: Any) -> None:
    with pytest.raises(CodecError, match="not finite"):
        codec.encode(value)


@pytest.mark.parametrize("type_", [Any, dict, list[float], float])
@pytest.mark.parametrize("text", [b"1e999", b"[-1e400]", b"1" * 5000])
def test_a_number_that_nobody_can_read_is_no_json_whatever_is_wanted(type_: Any, text: bytes) -> None:
    if text[:1] == b"[" and type_ in (dict, float):
        text = text[1:-1]
    with pytest.raises(CodecError, match=r"body is not JSON: .*out of range"):
        json.decoder(type_)(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_messagepack_from_elsewhere_with_such_a_number_is_refused(number: float) -> None:
    for value in (number, [1, {"a": number}]):
        with pytest.raises(CodecError, match="is not MessagePack: a number is not finite"):
            msgpack.decoder()(msgspec.msgpack.encode(value))
    with pytest.raises(CodecError, match="not finite"):
        msgpack.decoder()(b"\xca" + struct.pack(">f", number))
    data = struct.pack(">d", number)
    assert msgpack.decoder()(msgpack.encode(b"\xcb" + data)) == b"\xcb" + data  # only bytes that look like one


@pytest.mark.parametrize(
    "value", [None, [None, 1.5, "x"], {"a": None}, Task("a"), [None, datetime.date(2026, 1, 1)], [None, {1, 2}], "null"]
)
def test_a_null_alone_is_fine(value: Any) -> None:
    assert b"null" in json.encode(value)


@pytest.mark.parametrize("value", [object(), "\ud800", deep(100_000), [None, msgspec.Raw(b"null")], lambda: None])
def test_json_refuses_what_it_cannot_write(value: Any) -> None:
    with pytest.raises(CodecError, match="cannot be written as JSON"):
        json.encode(value)


def test_a_cycle_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    for codec in (json, msgpack):
        with pytest.raises(CodecError):
            codec.encode(cycle)


@pytest.mark.parametrize("value", [object(), 2**64, "\ud800", deep(100_000)])
def test_msgpack_refuses_what_it_cannot_write(value: Any) -> None:
    with pytest.raises(CodecError, match="cannot be written as MessagePack"):
        msgpack.encode(value)


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b"[1,]", b"[" * 100_000, b'"\\ud800"', b"\xef\xbb\xbf1"])
def test_bytes_that_are_not_json(body: bytes) -> None:
    with pytest.raises(CodecError, match="is not JSON"):
        json.decoder()(body)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x92\x01", b"\xd4\x01\x00", b"\xa2\xff\xfe", b"\x91" * 100_000])
def test_bytes_that_are_not_messagepack(body: bytes) -> None:
    with pytest.raises(CodecError, match="is not MessagePack"):
        msgpack.decoder()(body)


@pytest.mark.parametrize("codec", [json, msgpack])
def test_a_type_is_checked(codec: JsonCodec | MsgpackCodec) -> None:
    assert codec.decoder(Task)(codec.encode({"name": "a"})) == Task("a")
    with pytest.raises(InvalidBodyError, match="does not fit") as caught:
        codec.decoder(Task)(codec.encode({"name": 1}))
    assert (caught.value.kind, caught.value.retryable) == ("Invalid", False)


def test_bytes() -> None:
    codec = BytesCodec()
    assert codec.encode(bytearray(b"x")) == codec.encode(memoryview(b"x")) == b"x"
    assert type(codec.encode(bytearray(b"x"))) is bytes
    with pytest.raises(CodecError, match="must be bytes, not str"):
        codec.encode("x")
    for type_ in (Any, bytes, object):
        assert codec.decoder(type_)(b"x") == b"x"
    with pytest.raises(InvalidBodyError, match="the handler expects"):
        codec.decoder(Task)(b"x")


def test_names_and_aliases() -> None:
    codecs = Codecs()
    assert {codecs.get(name) for name in (JSON, "json", "application/json")} == {codecs.get(JSON)}
    assert isinstance(codecs.get("msgpack"), MsgpackCodec)
    assert isinstance(codecs.get("bytes"), BytesCodec)
    assert codecs.get("text/plain") is None
    assert set(codecs.names()) == {JSON, MSGPACK, BYTES, *ALIASES}


class Upper:
    name = "upper"

    def encode(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def decoder(self, type_: Any = Any) -> Callable[[bytes], Any]:
        return bytes.decode


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    points = [
        importlib.metadata.EntryPoint("upper", f"{__name__}:Upper", "tasuki.codecs"),
        importlib.metadata.EntryPoint("broken", "no.such.module:Codec", "tasuki.codecs"),
    ]
    looks: list[int] = []

    def entry_points(**wanted: str) -> list[importlib.metadata.EntryPoint]:
        looks.append(1)
        return points

    monkeypatch.setattr(module, "entry_points", entry_points)
    return looks


def test_codecs_of_other_packages_are_looked_up_once(installed: list[int]) -> None:
    codecs = Codecs()
    assert codecs.get("json") is not None
    assert not installed
    codec = codecs.get("upper")
    assert codec is not None
    assert codec.encode("a") == b"A"
    assert codecs.get("upper") is codec
    assert [codecs.get(f"unknown/{i}") for i in range(5)] == [None] * 5
    assert "upper" in codecs.names()
    assert len(installed) == 1


def test_codecs_of_other_packages_refuse_large_bodies(installed: list[int]) -> None:
    codecs = Codecs()
    within = codecs.within(3)
    assert codecs.within(3) is within
    codec = present(within.get("upper"))
    assert within.get("upper") is codec
    assert (codec.name, codec.encode("a"), codec.decoder()(b"abc")) == ("upper", b"A", "abc")
    with pytest.raises(InvalidBodyError, match="the body of 4 bytes is larger than 3 bytes, the max_message_size"):
        codec.decoder()(b"abcd")
    assert within.get("unknown") is None
    assert len(installed) == 1


@pytest.mark.parametrize("name", ["json", "msgpack", "bytes"])
def test_a_body_of_exactly_the_limit_is_decoded(name: str) -> None:
    codec = present(Codecs().get(name))
    body = codec.encode(b"x" * 98 if name == "bytes" else "x" * 98)
    assert present(Codecs().within(len(body)).get(name)).decoder()(body) == codec.decoder()(body)
    with pytest.raises(InvalidBodyError, match="raise that to have it handled") as refused:
        present(Codecs().within(len(body) - 1).get(name)).decoder()(body)
    assert not refused.value.retryable


@pytest.mark.parametrize("codec", [json, msgpack])
def test_a_body_has_at_most_250_000_parts(codec: JsonCodec | MsgpackCodec) -> None:
    most = [0] * (MAX_PARTS - 1)
    body = codec.encode(most)
    assert codec.decoder()(body) == most
    too_many: list[list[Any]] = [[*most, 0], [[0] * (MAX_PARTS // 2)] * 2, [{}] * MAX_PARTS]
    for more in too_many:
        with pytest.raises(CodecError, match="it has more than 250000 parts; publish it in parts, or as bytes"):
            codec.encode(more)
        raw = msgspec.json.encode(more) if codec is json else msgspec.msgpack.encode(more)
        for type_ in (Any, list[Any], Task):
            with pytest.raises(InvalidBodyError, match="the body is not decoded: it has more than 250000 parts"):
                codec.decoder(type_)(raw)


def test_numbers_as_keys_that_may_collide_are_refused_before_a_dict_is_made() -> None:
    for step in (2**17 - 1, 2**18, 1000):
        raw = msgspec.msgpack.encode({"a": [{i * step: 0 for i in range(2000)}]})
        with pytest.raises(InvalidBodyError, match="an object in it has more than 1000 numbers as keys"):
            msgpack.decoder()(raw)
        with pytest.raises(CodecError, match="numbers as keys; write them as texts"):
            msgpack.encode({i * step: 0 for i in range(2000)})
    for good in (
        dict.fromkeys(range(1, 5000), 0),
        {i * 1000: 0 for i in range(1000)},
        {str(i): i for i in range(5000)},
    ):
        assert msgpack.decoder()(msgpack.encode(good)) == good


def test_a_codec_that_does_not_load_says_so(installed: list[int]) -> None:
    with pytest.raises(CodecError, match=r"codec 'broken' \(no.such.module:Codec\) cannot be loaded"):
        Codecs().get("broken")


class Inner(pydantic.BaseModel):
    size: float
    at: datetime.datetime
    id: uuid.UUID


class Order(pydantic.BaseModel):
    inner: Inner = pydantic.Field(alias="innerPart")


@pytest.mark.parametrize("codec", [json, msgpack])
def test_a_pydantic_model_is_written_as_pydantic_writes_it(codec: JsonCodec | MsgpackCodec) -> None:
    inner = Inner(size=1.5, at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), id=uuid.UUID(int=5))
    order = Order(innerPart=inner)
    assert Order.model_validate(codec.decoder()(codec.encode(order))) == order
    back = codec.decoder()(codec.encode({"orders": [order]}))
    assert [Order.model_validate(item) for item in back["orders"]] == [order]


@pytest.mark.parametrize("codec", [json, msgpack])
def test_a_pydantic_model_may_not_hold_what_is_not_finite(codec: JsonCodec | MsgpackCodec) -> None:
    inner = Inner(size=float("nan"), at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), id=uuid.UUID(int=5))
    with pytest.raises(CodecError, match="not finite"):
        codec.encode([Order(innerPart=inner)])


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
