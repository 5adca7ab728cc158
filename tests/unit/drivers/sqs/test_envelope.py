"""Our envelopes can be read, by us and by SQS; foreign messages are read as well as possible."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.sqs.envelope import ATTRIBUTE, copy, digest, read, write

ALLOWED = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HEADERS = st.dictionaries(
    TEXT,
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    max_size=5,
)


@given(TEXT, st.binary() | TEXT.map(str.encode), HEADERS, st.none() | TEXT)
def test_a_written_envelope_can_be_read(id: str, body: bytes, headers: dict[str, Any], key: str | None) -> None:
    written = write(Outgoing(id, body, headers), key=key, delay=1.5)
    envelope, found = read("of-sqs", written.body, written.attributes)
    assert (envelope.id, found, envelope.headers, envelope.key, envelope.delay) == (id, body, headers, key, 1.5)
    assert {name: type(value) for name, value in envelope.headers.items()} == {
        name: type(value) for name, value in headers.items()
    }


@given(TEXT, st.binary() | TEXT.map(str.encode), HEADERS)
def test_sqs_takes_a_written_envelope(id: str, body: bytes, headers: dict[str, Any]) -> None:
    written = write(Outgoing(id, body, headers), key=None, delay=0.0)
    (attribute,) = written.attributes.values()
    assert written.body
    assert ALLOWED.fullmatch(written.body)
    assert ALLOWED.fullmatch(attribute["StringValue"])
    assert written.size == len((written.body + ATTRIBUTE + "String" + attribute["StringValue"]).encode())


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (b'{"a": 1}', '{"a": 1}'),
        ("é 🎌\r\n\t".encode(), "é 🎌\r\n\t"),
        (b"a\0b", "YQBi"),
        (b"\xff", "/w=="),
        ("\uffff".encode(), "77+/"),
        (b"", "-"),
    ],
)
def test_text_stays_text(body: bytes, written: str) -> None:
    assert write(Outgoing("id", body, {}), key=None, delay=0.0).body == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, -(2**63) - 1])
def test_data_that_is_no_header_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="'h' is not a finite number of at most 64 bits"):
        write(Outgoing("id", b"", {"h": value}), key=None, delay=0.0)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"DataType": "String", "StringValue": "12"}, "12"),
        ({"DataType": "Number", "StringValue": "12"}, 12),
        ({"DataType": "Number", "StringValue": "-1.5"}, -1.5),
        ({"DataType": "Number.seconds", "StringValue": "3"}, 3),
        ({"DataType": "Number", "StringValue": "1" * 38}, "1" * 38),
        ({"DataType": "Number", "StringValue": "many"}, "many"),
        ({"DataType": "Binary.gif", "BinaryValue": b"\0"}, "AA=="),
        ({"DataType": "String"}, ""),
    ],
)
def test_attributes_of_others_are_headers(attribute: dict[str, Any], value: Any) -> None:
    envelope, body = read("of-sqs", "text", {"a": attribute})
    assert (envelope.id, envelope.headers, body) == ("of-sqs", {"a": value}, b"text")
    assert type(envelope.headers["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("not json", "b"),
        ("{}", "b"),
        ('{"id": 5}', "b"),
        ('{"id": "x", "body": "base64"}', "é"),
        ('{"id": "x", "body": "base64"}', "YQ"),
        ("[]", "\ud800"),
    ],
)
def test_an_attribute_of_our_name_that_is_not_ours_is_a_header(text: str, body: str) -> None:
    attributes = {ATTRIBUTE: {"DataType": "String", "StringValue": text}}
    envelope, found = read("of-sqs", body, attributes)
    assert (envelope.id, envelope.headers) == ("of-sqs", {ATTRIBUTE: text})
    assert found == body.encode(errors="surrogatepass")


@pytest.mark.parametrize(("number", "kept"), [(0, 1), (9, 10), (10, 1)])
def test_a_copy_keeps_the_attributes_for_which_there_is_room(number: int, kept: int) -> None:
    attributes = {f"a{index}": {"DataType": "String", "StringValue": "x"} for index in range(number)}
    envelope, _ = read("of-sqs", "text", attributes)
    envelope.attempts = 3
    copied = copy("text", attributes, envelope)
    assert len(copied.attributes) == kept
    again, body = read("another", copied.body, copied.attributes)
    assert (again.id, again.headers, again.attempts, body) == ("of-sqs", envelope.headers, 3, b"text")


def test_a_small_envelope() -> None:
    (attribute,) = write(Outgoing("id", b"x", {}), key=None, delay=0.0).attributes.values()
    assert attribute["StringValue"] == '{"id":"id"}'


def test_the_digest_of_a_body() -> None:
    assert digest("body") == "841a2d689ad86bd1611447453c22c6fc"
