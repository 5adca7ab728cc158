"""Values as bytes and back."""

from __future__ import annotations

import enum
import math
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import HandlerError
from tasuki.handlers.store_values import MAX_DEPTH, pack, unpack

SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner | st.none())
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 99), inner | st.none())
    ),
    max_leaves=20,
)


class Color(enum.StrEnum):
    RED = "red"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@given(VALUES)
def test_values_come_back_as_they_went_in(value: Any) -> None:
    assert repr(unpack("k", pack("k", value))) == repr(value)


def test_odd_floats() -> None:
    assert math.isnan(unpack("k", pack("k", math.nan)))
    assert unpack("k", pack("k", [math.inf, -0.0])) == [math.inf, -0.0]


def test_as_deep_as_it_may_be() -> None:
    assert unpack("k", pack("k", nested(MAX_DEPTH - 1))) == nested(MAX_DEPTH - 1)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((1, 2), "a value of type tuple"),
        ({1, 2}, "a value of type set"),
        ([datetime(2026, 1, 1, tzinfo=UTC)], "a value of type datetime"),
        ({"a": Decimal(1)}, "a value of type Decimal"),
        (Color.RED, "a value of type Color"),
        (Counter("a"), "a value of type Counter"),
        (object(), "a value of type object"),
        (2**64, "an int beyond 64 bits"),
        ("\ud800", "a str that is not valid Unicode"),
        ({b"a": 1}, "a dict with a key of type bytes"),
        ({True: 1}, "a dict with a key of type bool"),
        (nested(MAX_DEPTH), "a list nested deeper than 128 levels"),
    ],
)
def test_what_cannot_be_stored(value: Any, told: str) -> None:
    with pytest.raises(HandlerError) as raised:
        pack("carts/7", value)
    assert (raised.value.kind, raised.value.retryable) == ("Invalid", False)
    assert str(raised.value).startswith(f"key 'carts/7': {told}")
    assert str(raised.value).endswith("; store plain data: bool, int, float, str, bytes, and lists and dicts of these")


def test_a_value_that_contains_itself() -> None:
    value: dict[str, Any] = {}
    value["a"] = [value]
    with pytest.raises(HandlerError, match="it may contain itself"):
        pack("k", value)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01\x02", b"\xff" * 3])
def test_bytes_that_are_no_value(data: bytes) -> None:
    with pytest.raises(HandlerError, match="was not written by a handler"):
        unpack("k", data)
