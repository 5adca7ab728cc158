from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tasuki.errors import PublishError
from tasuki.message import HeaderValue
from tasuki.queues.messages.lanes import parse_path


class User(msgspec.Struct):
    id: int


@dataclass
class Order:
    user: User
    tags: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("header.tenant", "acme"),
        ("header.a.b", "dots"),
        ("header.flag", "true"),
        ("header.none", None),
        ("header.empty", None),
        ("body.user.id", "7"),
        ("body.tags.kind", "x"),
        ("body.tags.kind.none", None),
        ("body.none.id", None),
    ],
)
def test_a_value_of_a_message(path: str, value: str | None) -> None:
    headers: dict[str, HeaderValue] = {"tenant": "acme", "a.b": "dots", "flag": True, "empty": ""}
    assert parse_path(path).read(Order(User(7), {"kind": "x"}), headers) == value
    assert parse_path(path).read({"user": {"id": 7}, "tags": {"kind": "x"}}, headers) == value


@pytest.mark.parametrize(
    "text", ["", "tenant", "header.", "body", "body.", "body..id", "head.x", "header.a b", "body.a "]
)
def test_a_text_that_names_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"names no value of a message; write header\.tenant or body\.user\.id"):
        parse_path(text)


@pytest.mark.parametrize("value", [[1], {"a": 1}, User(1)])
def test_a_value_that_is_no_key(value: object) -> None:
    with pytest.raises(PublishError, match=r"body\.user is \w+, which is no key"):
        parse_path("body.user").read({"user": value}, {})


def test_a_body_of_bytes() -> None:
    with pytest.raises(PublishError, match="cannot be read from a body of bytes: give the key with the publish"):
        parse_path("body.id").read(b'{"id": 1}', {})
    assert parse_path("header.id").read(b"", None) is None
