"""What goes into a message's properties, and what comes out of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pamqp import commands, frame

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.amqp.protocol import envelope, frames
from tasuki.drivers.amqp.receiving.deliveries import arrived

METHOD = frame.marshal(commands.Basic.Deliver("tag", 1, False, "ex", "key"), 1)[7:-1]

BAD_MORE = frames.encode_bytes(envelope.MORE, msgspec.msgpack.encode(7))


def decode(content: bytes) -> envelope.Parsed:
    return envelope.decode(content, METHOD)


def with_counts(content: bytes, **counts: int) -> bytes:
    """As the broker returns it."""
    properties = frames.decode_properties(content)
    for name, count in counts.items():
        properties.table += frames.encode_field(name.replace("_", "-").encode(), count)
    return properties.encode()


def test_what_has_a_property_stands_in_both_places() -> None:
    headers: dict[str, Any] = {
        "content_type": "text/plain", "encoding": "utf-8", "correlation_id": "c", "reply_to": "r",
        "message_type": "t", "timestamp": 1700000000, "amqp.app_id": "app", "priority": 3, "plain": 1,
    }  # fmt: skip
    content = envelope.encode(Outgoing("id", b"", dict(headers), priority=3))
    properties = frames.decode_properties(content)
    assert properties.texts == {
        "content_type": b"text/plain", "content_encoding": b"utf-8", "correlation_id": b"c", "reply_to": b"r",
        "type": b"t", "app_id": b"app", "message_id": b"id",
    }  # fmt: skip
    assert (properties.timestamp, properties.priority, properties.persistent) == (1700000000, 3, True)
    parsed = decode(content)
    assert (parsed.id, parsed.headers, parsed.failures, parsed.priority) == ("id", headers, 0, 3)


def test_headers_that_a_property_cannot_hold_stay_headers() -> None:
    headers: dict[str, Any] = {"content_type": 5, "correlation_id": "c" * 256, "timestamp": -1, "reply_to": True}
    properties = frames.decode_properties(content := envelope.encode(Outgoing("id", b"", dict(headers))))
    assert properties.texts == {"message_id": b"id"}
    assert properties.timestamp is None
    assert decode(content).headers == headers


def test_what_the_broker_would_act_on_is_packed() -> None:
    headers: dict[str, Any] = {"CC": "other", "x-delay": 1, "k" * 300: 2.5, "ok": True}
    content = envelope.encode(Outgoing("i" * 300, b"", dict(headers)))
    names = [key for key, *_ in frames.fields(frames.decode_properties(content).table)]
    assert names == [envelope.MARKER, b"ok", envelope.MORE]
    assert "message_id" not in frames.decode_properties(content).texts
    parsed = decode(content)
    assert (parsed.id, parsed.headers) == ("i" * 300, headers)


def test_failures_are_counted_by_us_and_not_by_the_broker() -> None:
    content = envelope.encode(Outgoing("id", b"", {}), failures=3)
    for version in ({"x_delivery_count": 2}, {"x_acquired_count": 2}, {"x_acquired_count": 2, "x_delivery_count": 1}):
        assert decode(with_counts(content, **version)).failures == 3


def test_a_copy_keeps_all_but_the_counts() -> None:
    content = with_counts(envelope.encode(Outgoing("id", b"", {"a": 1, "x-y": "z"}, priority=4)), x_delivery_count=2)
    for is_suspect in (True, False):
        content = envelope.copied(content, "id", 7, suspect=is_suspect)
        parsed = decode(content)
        assert (parsed.id, parsed.headers, parsed.failures, parsed.priority) == ("id", {"a": 1, "x-y": "z"}, 7, 4)
        assert parsed.suspect is is_suspect
        assert envelope.id_of(content) == b"id"


def test_a_message_is_known_by_its_id_or_else_by_its_body() -> None:
    ours = envelope.encode(Outgoing("id", b"body", {}))
    assert envelope.identity(ours, "id", b"body") == b"id"
    long = envelope.encode(Outgoing("i" * 300, b"body", {}))
    assert envelope.identity(long, "i" * 300, b"body") == b"i" * 300
    foreign = frames.Properties({}).encode()
    assert envelope.identity(foreign, decode(foreign).id, b"body") == b"body"


def test_a_foreign_message_keeps_what_it_was() -> None:
    foreign = frames.Properties(
        {"content_type": b"text/plain", "user_id": b"guest", "expiration": b"1000"},
        frames.encode_field(b"n", 1) + frames.encode_field(b"x-death", "gone") + b"\x01FF\x00\x00\x00\x00",
        persistent=False,
        priority=2,
        timestamp=5,
    ).encode()
    parsed = decode(foreign)
    own = {"content_type": "text/plain", "n": 1, "priority": 2, "timestamp": 5, "amqp.user_id": "guest"}
    assert parsed.headers == {
        **own, "amqp.expiration": "1000", "amqp.exchange": "ex", "amqp.routing_key": "key",
    }  # fmt: skip
    assert parsed.id
    copy = envelope.copied(foreign, parsed.id, 1)
    again = decode(copy)
    assert (again.id, again.failures) == (parsed.id, 1)
    assert own.items() <= again.headers.items()
    properties = frames.decode_properties(copy)
    assert properties.persistent
    assert {"user_id", "expiration"}.isdisjoint(properties.texts)


def test_a_message_without_anything() -> None:
    parsed = decode(b"\x00\x00")
    assert parsed.id
    assert parsed.headers == {"amqp.exchange": "ex", "amqp.routing_key": "key"}
    assert (parsed.failures, parsed.priority) == (0, 0)


@pytest.mark.parametrize(
    "properties",
    [
        frames.Properties({"message_id": b"m"}, frames.encode_field(b"x-tasuki", 0) + BAD_MORE).encode(),
        frames.Properties({"message_id": b"m"}, b"\x01AA\x00\xff\xff\xff").encode(),
        b"\x20",
    ],
)
def test_the_failures_of_a_message_that_cannot_be_read_count(properties: bytes) -> None:
    """It would come back forever, and each time end the connection, or begin with its first attempt."""
    delivery = arrived(frames.Deliver(b"s1", 1, False, METHOD), properties, b"body", 1)
    assert (delivery.received.body, delivery.received.attempt) == (b"body", 1)
    copy = envelope.copied(delivery.properties, delivery.received.id, 2)
    again = arrived(frames.Deliver(b"s1", 2, True, METHOD), copy, b"body", 2)
    assert (again.received.id, again.received.attempt) == (delivery.received.id, 3)


@pytest.mark.parametrize(
    ("texts", "table"),
    [({"message_id": b""}, b""), ({}, BAD_MORE), ({}, frames.encode_field(b"x-tasuki", "1") + BAD_MORE)],
)
def test_a_copy_of_a_foreign_message_keeps_the_id_that_it_was_given(texts: dict[str, Any], table: bytes) -> None:
    foreign = frames.Properties(texts, table).encode()
    parsed = decode(foreign)
    again = decode(envelope.copied(foreign, parsed.id, 1))
    assert (again.id, again.failures) == (parsed.id, 1)
