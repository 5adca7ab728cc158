"""Bodies as text, and back."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import msgspec
import pytest

from tasuki.dead.editing.body import laid_out, plain_codec, shown, unpacked, written
from tasuki.dead.editing.problems import EditError
from tasuki.queues.messages.codec import BytesCodec, CompressedCodec, JsonCodec, MsgpackCodec

JSON, MSGPACK = JsonCodec(), MsgpackCodec()
ODD = b'{"a":1e400,"b":1.10,"c":1208925819614629174706176,"a":2,"d":"\\u0000","e":"\xe2\x80\xaex"}'


def test_json_keeps_its_digits_its_repeated_keys_and_its_characters() -> None:
    found = shown(ODD, JSON)
    assert found.form == "json"
    assert '"a": 1e400,\n  "b": 1.10,\n  "c": 1208925819614629174706176,\n  "a": 2' in found.text
    assert written(found.text, JSON) == ODD
    assert written(found.text.replace("1.10", "1.20"), JSON) == ODD.replace(b"1.10", b"1.20")


def test_compressed_bodies_are_shown_without_it() -> None:
    codec = CompressedCodec(JSON, "gzip", 2**20)
    packed = gzip.compress(b"[1]")
    assert shown(packed, codec).text == "[\n  1\n]"
    assert (unpacked(packed, codec), unpacked(packed, JSON)) == (b"[1]", packed)
    assert plain_codec(codec) is JSON
    assert written("[ 2 ]", codec) == b"[2]"
    broken = shown(b"[1]", codec)
    assert (broken.form, broken.text) == ("bytes", "")
    assert "not gzip" in broken.why


@pytest.mark.parametrize("value", [{"a": [1, 1.0, "x", None, True]}, {}, 2**63, "text"])
def test_messagepack_is_json_where_nothing_is_lost(value: object) -> None:
    body = MSGPACK.encode(value)
    found = shown(body, MSGPACK)
    assert found.form == "msgpack"
    assert written(found.text, MSGPACK) == body


@pytest.mark.parametrize("value", [{"a": b"x"}, {1: "a"}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}])
def test_messagepack_that_json_cannot_say_stays_bytes(value: object) -> None:
    found = shown(msgspec.msgpack.encode(value), MSGPACK)
    assert (found.form, found.text) == ("bytes", "")
    assert "a whole new body from a file" in found.why


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xc1", "cannot be written as JSON"),
        (b"\xc7\x01\x05x", "extension"),
        (b"\x91" * 10_000, "RecursionError|deep|depth|truncated"),
    ],
)
def test_messagepack_that_cannot_be_read_stays_bytes(body: bytes, why: str) -> None:
    found = shown(body, MSGPACK)
    assert found.form == "bytes"
    assert any(word in found.why for word in why.split("|"))


def test_bytes_and_text_that_is_not_utf_8_are_for_files() -> None:
    assert shown(b"x", BytesCodec()).form == "bytes"
    assert "not UTF-8" in shown(b'"\xff"', JSON).why


def test_a_body_that_is_no_json_is_shown_as_it_is() -> None:
    assert shown(b'{"a": ', JSON).text == '{"a": '
    deep = b"[" * 10_000 + b"]" * 10_000
    assert shown(deep, JSON).text.encode() == deep


def test_blanks_never_make_a_text_many_times_as_long() -> None:
    deep = b"[" * 900 + b"1," * 100_000 + b"1" + b"]" * 900
    assert laid_out(deep) == deep
    wide = b"[" + b"1," * 500_000 + b"1]"
    assert laid_out(wide).count(b"\n") == 500_002


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "it is empty"),
        (" \n", 1, "it is empty"),
        ('{"a": 1,\n"b": }', 2, "invalid character"),
        ('{"a": 1,\n"b": [\n', 2, "ends too early"),
        ("[1,\n]", 2, "trailing comma"),
        ('"\ud800"', 0, "half a character"),
        ('{"a": "\0"}', 1, "invalid character"),
        ("[" * 10_000 + "]" * 10_000, 0, "nested too deep"),
        ("[1] [2]", 1, "trailing characters"),
        ("NaN", 1, "invalid character"),
    ],
)
def test_a_text_that_is_no_json_is_refused_at_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(EditError) as caught:
        written(text, JSON)
    [problem] = caught.value.problems
    assert (problem.field, problem.line) == ("body", line)
    assert says in problem.text


def test_a_number_that_messagepack_cannot_carry_is_refused() -> None:
    for text in (str(2**80), "1e400"):
        with pytest.raises(EditError, match="body"):
            written(text, MSGPACK)
