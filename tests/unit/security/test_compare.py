from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tasuki.security.compare import ComparisonError, contains, equals, is_in, number, order, text


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (7, 7),
        (-1.5, Decimal("-1.5")),
        ("007", 7),
        (" 7", None),
        ("+.5e2", 50),
        ("1_000", None),
        ("\u0667", None),
        ("0x10", None),
        ("1e99999", None),
        ("1" * 65, None),
        (True, None),
        ("", None),
        (None, None),
        ([], None),
        ({}, None),
        (float("nan"), None),
        (float("inf"), None),
        ("nan", None),
    ],
)
def test_numbers(value: object, result: Decimal | int | None) -> None:
    assert number(value) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("a", "a"),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (1.0, "1"),
        (1.5, "1.5"),
        (1e21, "1" + "0" * 21),
        (float("inf"), "inf"),
        (None, None),
        ([], None),
    ],
)
def test_texts(value: object, result: str | None) -> None:
    assert text(value) == result


def test_an_integer_of_any_size_has_a_text() -> None:
    assert text(10**5000) == "1" + "0" * 5000


@pytest.mark.parametrize(
    ("left", "right", "is_equal"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("7", 7.0, True),
        ("1e3", 1000, True),
        ("1e3", "1000", False),
        ("1", "01", False),
        (0.1, "0.1", True),
        ("9007199254740993", "9007199254740992", False),
        (True, "true", True),
        (True, 1, False),
        (None, None, False),
        ("", None, False),
        (b"a", b"b", False),
        (b"a", "a", False),
        ("1" * 65, "1" * 65, True),
    ],
)
def test_equality(left: object, right: bytes | float | str | None, is_equal: bool) -> None:
    assert equals(left, right) is is_equal
    assert equals(right, left) is is_equal


def test_order() -> None:
    assert [order(1, 2), order("2", 2.0), order("10", "9")] == [-1, 0, 1]


def test_membership() -> None:
    assert contains("abc", "b")
    assert contains(150, 5)
    assert not contains("abc", "x")
    assert contains(["a", ["x"], 7], "7")
    assert not contains([["7"]], "7")
    assert is_in("a", ["b", "a"])
    assert is_in("a", "a")
    assert not is_in("a", "abc")
    assert not is_in("a", [{"a": 1}])


@pytest.mark.parametrize(
    ("function", "left", "right"),
    [
        (equals, [], 1),
        (equals, 1, {}),
        (order, "a", 1),
        (order, 1, None),
        (contains, {}, "a"),
        (contains, "a", None),
        (is_in, "a", 5),
        (is_in, [], ["a"]),
    ],
)
def test_what_cannot_be_compared(function: Callable[[Any, Any], object], left: object, right: object) -> None:
    with pytest.raises(ComparisonError):
        function(left, right)
