"""Frames: cut anywhere, too long, of another shape; and how many parts a value has, told from its heads."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import HandlerError
from tasuki.handlers.process.failure import PlainFailure
from tasuki.handlers.process.protocol import (
    MAX_PARTS,
    RESULT,
    FrameReader,
    ProtocolError,
    Shape,
    decode,
    encode,
    frame,
    has_few_parts,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.sampled_from(["x" * 40, "x" * 300, "x" * 70_000, b"x" * 300, b"x" * 70_000])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text("abc", max_size=3), inner),
    max_leaves=60,
)


def count(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(count(key) + count(item) for key, item in value.items())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(VALUES)
def test_values_cross_and_their_parts_are_counted(value: Any) -> None:
    payload = encode(value)
    assert decode(payload) == value
    parts = count(value)
    assert has_few_parts(payload, parts)
    assert not has_few_parts(payload, parts - 1)


@pytest.mark.parametrize("size", [16, 65_535, 65_536])
def test_long_containers_are_counted(size: int) -> None:
    for value in (list(range(size)), {str(number): 1 for number in range(size)}):
        parts = count(value)
        assert has_few_parts(encode(value), parts)
        assert not has_few_parts(encode(value), parts - 1)


def test_extensions_are_counted() -> None:
    for data in (b"", b"x", b"xx", b"x" * 4, b"x" * 8, b"x" * 16, b"x" * 17, b"x" * 300, b"x" * 70_000):
        payload = msgspec.msgpack.encode([msgspec.msgpack.Ext(5, data), 1])
        assert has_few_parts(payload, 3)
        assert not has_few_parts(payload, 2)


@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(1, 12)))
def test_frames_may_arrive_in_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(RESULT, number, payload) for number, payload in enumerate(payloads))
    reader, found = FrameReader(), []
    for cut in [*cuts, len(data)]:
        found += list(reader.feed(data[:cut]))
        data = data[cut:]
    found += list(reader.feed(data))
    assert found == [(RESULT, number, payload) for number, payload in enumerate(payloads)]


def test_a_frame_that_is_too_long_is_refused_at_its_head() -> None:
    reader = FrameReader(limit=100)
    assert len(list(reader.feed(frame(RESULT, 1, b"x" * 100)))) == 1
    with pytest.raises(ProtocolError, match="a frame of 101 bytes"):
        list(reader.feed(struct.pack("<IBI", 101, RESULT, 1)))


def test_a_shape_refuses_what_does_not_fit() -> None:
    asked = Shape(tuple[int, str, list[Any]])
    assert asked.read(encode((1, "log", ["x"]))) == (1, "log", ["x"])
    for value in ([1, "log"], {"a": 1}, ["1", "log", []], None):
        with pytest.raises(ProtocolError, match="cannot be read"):
            asked.read(encode(value))
    for payload in (b"", b"\xc1", b"\x91", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b"\xd4\x63\x00"):
        with pytest.raises(ProtocolError):
            Shape(Any).read(payload)


def test_a_value_of_many_small_parts_is_refused_before_it_is_made() -> None:
    bomb = b"\xdd" + struct.pack(">I", 2**21) + b"\x80" * 2**21
    with pytest.raises(ProtocolError, match=f"more than {MAX_PARTS} parts"):
        Shape(Any).read(bomb)
    assert len(Shape(Any).read(encode(["x" * 2**21]))[0]) == 2**21


def test_errors_are_values_too() -> None:
    error = HandlerError("no", kind="NotFound", retryable=False, details={"id": 7})
    [again] = decode(encode([error]))
    assert (type(again), again.message, again.kind, again.retryable, again.details) == (
        HandlerError,
        "no",
        "NotFound",
        False,
        {"id": 7},
    )


def test_what_is_no_plain_data_is_refused_in_words() -> None:
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    cases = {"nested deeper": deep, "not valid Unicode": "\ud800", "beyond 64 bits": 2**64, "type object": object()}
    for told, value in cases.items():
        with pytest.raises(HandlerError, match=told):
            encode(value)
    assert decode(encode(datetime(2026, 1, 1, tzinfo=UTC))) == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_failure_without_a_known_type_is_a_handler_error() -> None:
    assert type(PlainFailure("SystemExit", "x").error()) is HandlerError
    assert type(PlainFailure("KeyboardInterrupt", "x").error()) is HandlerError
