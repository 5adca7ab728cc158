import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.nats.envelope import MARK, pack, unpack
from tasuki.message import Message

VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()


@given(st.text(), st.binary(), st.dictionaries(st.text(), VALUES), st.floats(0, 1e12))
def test_a_packed_receipt_can_be_read(id: str, body: bytes, headers: dict[str, Any], due: float) -> None:
    head, found = unpack(pack(Message(id, body, headers), due), "made up")
    assert (head.id, found, head.headers, head.due) == (id, body, headers, due)
    assert {name: type(value) for name, value in head.headers.items()} == {
        name: type(value) for name, value in headers.items()
    }


def test_fields_that_a_newer_version_has_added_to_the_head_are_skipped() -> None:
    added = msgspec.msgpack.encode(["an id", {"a": 1}, 0.0, "added"])
    head, body = unpack(MARK + struct.pack(">I", len(added)) + added + b"body", "made up")
    assert (head.id, head.headers, body) == ("an id", {"a": 1}, b"body")


@given(st.binary())
def test_what_another_program_has_sent_is_all_body(data: bytes) -> None:
    for foreign in (data, MARK + data, MARK[: len(data)] + data):
        head, body = unpack(foreign, "made up")
        if head.id == "made up":
            assert (body, head.headers, head.due) == (foreign, {}, 0.0)


def test_an_envelope_whose_id_is_no_text_is_all_body() -> None:
    foreign = MARK + b"\0\0\0\x04\x92\xa1\x80\x80body"
    head, body = unpack(foreign, "made up")
    assert (head.id, body) == ("made up", foreign)


@pytest.mark.parametrize("cut", range(1, 14))
def test_an_envelope_that_is_cut_off_is_all_body(cut: int) -> None:
    whole = pack(Message("an id", b"", {"a": 1}))
    head, body = unpack(whole[:-cut], "made up")
    assert (head.id, body) == ("made up", whole[:-cut])


@pytest.mark.parametrize("value", [2**64, object()])
def test_headers_that_cannot_be_kept_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        pack(Message("a", b"", {"h": value}))
