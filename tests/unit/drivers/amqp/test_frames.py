"""Frames, tables and properties, against pamqp's reading of the same bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame, header

from tasuki.drivers.amqp.protocol import frames
from tests.support.narrow import present

values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def read(data: bytes) -> list[Any]:
    found = []
    while data:
        size, _, part = frame.unmarshal(data)
        found.append(part)
        data = data[size:]
    return found


@pytest.mark.parametrize("size", [0, 1, 91, 92, 93, 184, 500])
def test_a_publish_is_what_pamqp_reads(size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    properties = frames.Properties({"message_id": b"id"}).encode()
    data = frames.publish(1, frames.short("exchange"), frames.short("key"), properties, body, 100)
    method, head, *bodies = read(data)
    assert (method.exchange, method.routing_key, method.mandatory) == ("exchange", "key", True)
    assert head.body_size == size
    assert head.properties.message_id == "id"
    assert head.properties.delivery_mode == 2
    assert b"".join(part.value for part in bodies) == body
    assert all(len(part.value) <= 92 for part in bodies)


def test_ack_and_requeue_are_what_pamqp_reads() -> None:
    for multiple in (False, True):
        (ack,) = read(frames.ack(3, 2**40, multiple=multiple))
        assert (ack.delivery_tag, ack.multiple) == (2**40, multiple)
        (nack,) = read(frames.requeue(3, 7, multiple=multiple))
        assert (nack.delivery_tag, nack.multiple, nack.requeue) == (7, multiple, True)


def test_a_delivery_is_read() -> None:
    data = frame.marshal(commands.Basic.Deliver("tag", 9, True, "exchange", "key"), 1)
    payload = data[7:-1]
    assert frames.method_of(payload) == frames.DELIVER
    delivery = frames.deliver(payload)
    assert (delivery.consumer, delivery.tag, delivery.redelivered) == (b"tag", 9, True)
    assert frames.address_of(payload) == ("exchange", "key")


def test_a_return_and_a_confirm_are_read() -> None:
    payload = frame.marshal(commands.Basic.Return(312, "NO_ROUTE", "exchange", "key"), 1)[7:-1]
    assert frames.method_of(payload) == frames.RETURN
    assert frames.returned_key(payload) == "key"
    payload = frame.marshal(commands.Basic.Ack(5, True), 1)[7:-1]
    assert frames.method_of(payload) == frames.ACK
    assert frames.confirmed(payload) == (5, True)
    payload = frame.marshal(commands.Basic.Nack(6, False, False), 1)[7:-1]
    assert frames.method_of(payload) == frames.NACK
    assert frames.confirmed(payload) == (6, False)


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_frames_are_found_however_they_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames.frame(1, number, payload) for number, payload in enumerate(payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    buffer, found, start = bytearray(), [], 0
    for end in [*cuts, len(stream)]:
        buffer += stream[start:end]
        found += list(frames.split(buffer, 4096))
        start = end
    assert [(part.channel, part.payload) for part in found] == list(enumerate(payloads))
    assert not buffer


def test_data_that_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="end octet"):
        list(frames.split(bytearray(b"\x01\x00\x01\x00\x00\x00\x01x\x00"), 4096))


@given(st.dictionaries(keys, values, max_size=8))
def test_headers_are_read_as_they_were_written(headers: dict[str, Any]) -> None:
    table = b"".join(frames.encode_field(key.encode(), value) for key, value in headers.items())
    found = {key.decode(): value for key, value, _, _ in frames.fields(table)}
    assert found == headers
    assert {key: type(value) for key, value in found.items()} == {key: type(headers[key]) for key in headers}


def test_every_type_that_another_program_may_use() -> None:
    table = b"".join(
        (
            b"\x01bb\xff", b"\x01BB\xff", b"\x01ss\xff\xfe", b"\x01uu\xff\xfe", b"\x01II\xff\xff\xff\xfe",
            b"\x01ii\x00\x00\x00\x02", b"\x01LL" + struct.pack(">q", -3), b"\x01TT" + struct.pack(">Q", 1700),
            b"\x01ff" + struct.pack(">f", 0.5), b"\x01DD\x02\x00\x00\x00\x7b", b"\x01VV",
            b"\x01FF\x00\x00\x00\x03\x01ab", b"\x01AA\x00\x00\x00\x01V", b"\x01xx\x00\x00\x00\x02\x00\xff",
        )
    )  # fmt: skip
    found = {key.decode(): value for key, value, _, _ in frames.fields(table)}
    assert found == {
        "b": -1, "B": 255, "s": -2, "u": 65534, "I": -2, "i": 2, "L": -3, "T": 1700, "f": 0.5, "D": 1.23, "V": None,
        "F": None, "A": None, "x": b"\x00\xff",
    }  # fmt: skip
    with pytest.raises(ValueError, match="unknown type"):
        list(frames.fields(b"\x01a?"))


def test_properties_go_through_pamqp_and_back() -> None:
    ours = frames.Properties(
        {"content_type": b"text/plain", "correlation_id": b"c", "message_id": b"m", "app_id": b"a"},
        frames.encode_field(b"n", 1),
        priority=7,
        timestamp=1700000000,
    )
    head = header.ContentHeader()
    head.unmarshal(struct.pack(">HHQ", 60, 0, 5) + ours.encode())
    theirs = head.properties
    assert (theirs.content_type, theirs.correlation_id, theirs.message_id, theirs.app_id) == (
        "text/plain",
        "c",
        "m",
        "a",
    )
    assert (theirs.headers, theirs.priority, theirs.delivery_mode) == ({"n": 1}, 7, 2)
    assert int(present(theirs.timestamp).timestamp()) == 1700000000
    again = frames.decode_properties(ours.encode())
    assert again == ours


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"\x01\x00\x01\x00\x00\x10\x00", "4096 bytes"),
        (b"\x03\x00\x01\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x04\x00\x01\x00\x00\x00\x01", "type 4"),
        (b"AMQP\x00\x00\x09", "type 65"),
    ],
)
def test_an_impossible_head_is_refused_before_anything_follows_it(head: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        list(frames.split(bytearray(head), 4096))
    assert list(frames.split(bytearray(b"\x01\x00\x01\x00\x00\x0f\xf8"), 4096)) == []  # the largest one may come
