"""The content of a message at Redis: what this driver wrote comes back, what another program wrote stops nothing."""

from __future__ import annotations

import msgspec
import pytest

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.redis.batches import decoded, encoded


def test_comes_back() -> None:
    message = Outgoing("id", b"\0body", {"a": 1, "b": 2.5, "c": True, "d": "ü"})
    assert decoded(msgspec.msgpack.encode((0.0, msgspec.Raw(encoded(message)))), b"1-0") == (
        message.id,
        message.body,
        message.headers,
    )


@pytest.mark.parametrize("content", [b"", b"text", b"\x92\xcb", b"\x92\x00\x93\xa1\x80\xc4\x00\x80", b"\xc1"])
def test_what_another_program_wrote_is_all_body(content: bytes) -> None:
    assert decoded(content, b"1-0") == ("1-0", content, {})
