"""The beginning of a body as text, in every codec, whole and cut."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tasuki.errors import CodecError
from tasuki.queues.messages.beginning import beginning_of, decoded, text_of
from tasuki.queues.messages.codec import Codecs, Compression
from tests.support.narrow import present

CODECS = Codecs(2**20)
VALUE = {"a": [1, 2.5, None, True, {}, [], {"b": {"c": "日本"}}], "d": "x" * 300, "e": [[-5, 300]] * 40}


@pytest.mark.parametrize("value", [VALUE, [], {}, 5, "text", None, list(range(300)), {str(i): i for i in range(300)}])
def test_messagepack_is_written_as_json(value: Any) -> None:
    first = beginning_of(msgspec.msgpack.encode(value), present(CODECS.get("msgpack")), 10_000)
    assert first.is_whole
    assert json.loads(present(text_of(first))) == value


def test_every_beginning_of_messagepack_is_the_beginning_of_its_text() -> None:
    body, codec = msgspec.msgpack.encode(VALUE), present(CODECS.get("msgpack"))
    whole = present(text_of(beginning_of(body, codec, len(body))))
    for size in range(len(body)):
        first = beginning_of(body, codec, size)
        assert not first.is_whole
        assert whole.startswith(present(text_of(first)).removesuffix("…"))


@pytest.mark.parametrize("size", [40, 300, 70_000])
def test_a_text_that_is_cut_is_shown_as_far_as_it_goes(size: int) -> None:
    body, codec = msgspec.msgpack.encode("é" * size), present(CODECS.get("msgpack"))
    assert text_of(beginning_of(body, codec, 36)) == '"' + "é" * (
        (36 - (2 if size == 40 else 3 if size == 300 else 5)) // 2
    )


def test_what_json_has_not_is_shown_as_text() -> None:
    value = [datetime(2026, 1, 2, tzinfo=UTC), b"\x00", msgspec.msgpack.Ext(5, b"abc")]
    first = beginning_of(msgspec.msgpack.encode(value), present(CODECS.get("msgpack")), 1000)
    assert text_of(first) == '["2026-01-02T00:00:00+00:00", "b\'\\\\x00\'", "extension 5"]'


def test_bytes_that_are_no_messagepack_have_no_text() -> None:
    assert text_of(beginning_of(b"\xc1\x00", present(CODECS.get("msgpack")), 1000)) is None
    assert text_of(beginning_of(b"\xa2\xff\xff", present(CODECS.get("msgpack")), 1000)) is None
    assert text_of(beginning_of(b"{}", present(CODECS.get("bytes")), 1000)) is None


@pytest.mark.parametrize("size", [5, 10_000])
def test_json_is_shown_as_it_is_written(size: int) -> None:
    body = b'{"a":1.10, "b":"\xff' + "é".encode() * 5
    first = beginning_of(body, present(CODECS.get("json")), size)
    assert text_of(first) == decoded(body[:size], "replace")
    packed = present(Compression("gzip", 1).compressed(body + bytes(1000)))
    first = beginning_of(packed, present(CODECS.get("json+gzip")), size)
    assert (first.data, first.is_whole) == ((body + bytes(1000))[:size], size > 5)
    with pytest.raises(CodecError):
        beginning_of(b"{}", present(CODECS.get("json+gzip")), size)
