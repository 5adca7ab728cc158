"""A result stays within its size, and says what it lacks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasuki.mcp.marking import MOST, fitted


def test_a_short_result_stays_as_it_is() -> None:
    assert json.loads(fitted({"a": "日本", "next": "x"})) == {"a": "日本", "next": "x"}


def test_long_texts_are_cut_first() -> None:
    found = json.loads(fitted({"items": [{"body": "x" * 5000} for _ in range(8)], "next": "y"}))
    assert len(found["items"]) == 8
    assert found["items"][0]["body"] == "x" * 3000 + "… (+2000 characters)"
    assert found["cut"] == [f"texts of more than 3000 characters were cut to fit into {MOST} bytes"]
    assert found["next"] == "y"


def test_lists_are_cut_then_and_no_cursor_leaves_out_what_is_missing() -> None:
    found = json.loads(fitted({"items": [{"body": "x" * 250} for _ in range(400)], "count": 400, "next": "y"}))
    assert 50 <= len(found["items"]) < 400
    assert f"items: the first {len(found['items'])} of 400; ask again with a smaller limit" in found["cut"]
    assert (found["next"], found["count"]) == (None, 400)


def test_the_list_of_a_single_item_is_cut_within_it() -> None:
    found = json.loads(fitted({"items": [{"consumers": ["c" * 90] * 1000}]}))
    assert 100 < len(found["items"][0]["consumers"]) < 1000


def test_what_cannot_be_cut_is_refused() -> None:
    assert json.loads(fitted({str(number): "x" * 50 for number in range(2000)})) == {
        "cut": [f"the result needs more than {MOST} bytes: ask for less"]
    }


values = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=40,
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_every_result_has_at_most_its_size(document: dict[str, Any]) -> None:
    assert len(fitted(document, 200).encode()) <= 200
