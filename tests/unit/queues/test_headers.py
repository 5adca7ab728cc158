from __future__ import annotations

import enum
from typing import Any

import pytest

from tasuki.errors import PublishError
from tasuki.queues.messages.headers import MAX_HEADERS, check_headers, check_name, check_priority


class Colour(str, enum.Enum):  # noqa: UP042 - the older way is what users have, and its str() is "Colour.RED"
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 9


class Ratio(float):
    pass


def test_what_every_driver_carries_is_copied() -> None:
    headers: dict[str, Any] = {"a": True, "b": 2**63 - 1, "c": -(2**63), "d": 0.5, "e": "日本", "amqp.priority": 1}
    checked = check_headers(headers)
    assert checked == headers
    assert checked is not headers
    assert [type(value) for value in checked.values()] == [bool, int, int, float, str, int]


def test_enums_and_other_subclasses_become_plain_values() -> None:
    checked = check_headers({Colour.RED: Colour.RED, "level": Level.HIGH, "ratio": Ratio(0.5)})
    assert checked == {"red": "red", "level": 9, "ratio": 0.5}
    assert [type(value) for value in checked.values()] == [str, int, float]
    assert {type(name) for name in checked} == {str}


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([("a", 1)], "must be a mapping, not list"),
        ({1: "x"}, "header name 1 must be text"),
        ({"": "x"}, "printable"),
        ({"a\n": "x"}, "printable"),
        ({"a" * 256: "x"}, "1 to 255"),
        ({"attempts": 1}, "'attempts' is reserved"),
        ({"x_original_queue": "q"}, "reserved"),
        ({"x_": "q"}, "reserved"),
        ({"a": 2**63}, "64 bits"),
        ({"a": -(2**63) - 1}, "64 bits"),
        ({"a": float("nan")}, "not a finite number"),
        ({"a": float("inf")}, "not a finite number"),
        ({"a": "\ud800"}, "not valid Unicode"),
        ({"a": None}, "not NoneType"),
        ({"a": b"x"}, "not bytes"),
        ({"a": ["x"]}, "not list"),
        ({str(i): 1 for i in range(MAX_HEADERS + 1)}, "129 headers are more than 128"),
        ({"a": "x" * 65536}, "65537 are larger than 65536".replace("65537 are", "65537 bytes are")),
    ],
)
def test_anything_else_is_refused_and_named(headers: Any, problem: str) -> None:
    with pytest.raises(PublishError, match=problem):
        check_headers(headers)


def test_exactly_as_many_and_as_large_as_allowed() -> None:
    assert len(check_headers({str(i): 1 for i in range(MAX_HEADERS)})) == MAX_HEADERS
    assert check_headers({"a": "x" * 65535})


@pytest.mark.parametrize("value", ["a", "日本", "x" * 255])
def test_names(value: str) -> None:
    assert check_name("key", value) == value


@pytest.mark.parametrize("value", [None, 1, "", "a\0", "a\n", "x" * 256])
def test_bad_names(value: Any) -> None:
    with pytest.raises(PublishError, match="message id must be text"):
        check_name("message id", value)


@pytest.mark.parametrize("value", [0, 9])
def test_priorities(value: int) -> None:
    assert check_priority(value) == value


@pytest.mark.parametrize("value", [True, -1, 10, 1.0, "9", None])
def test_bad_priorities(value: Any) -> None:
    with pytest.raises(PublishError, match="priority must be a whole number from 0 to 9"):
        check_priority(value)
