"""A prefix as a range: the same keys in the same order as the definition gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.toolkit.state.key_range import KeyRange, key_range

TEXT = st.text("\x01ab%_\ud7ff\ue000\uffff\U0010fffe\U0010ffff", max_size=4)


@given(prefix=TEXT, after=TEXT, key=TEXT.filter(bool))
def test_it_has_just_the_keys_of_the_prefix_that_come_after(prefix: str, after: str, key: str) -> None:
    keys = key_range(prefix, after)
    assert keys is not None
    is_in = keys.low <= key and (not keys.high or key < keys.high)
    assert is_in == (key.startswith(prefix) and key > after)


@given(prefix=TEXT, after=TEXT)
def test_its_ends_can_be_sent_to_any_store(prefix: str, after: str) -> None:
    for end in key_range(prefix, after) or ():
        assert end.encode().count(0) == 0


def test_examples() -> None:
    assert key_range("") == KeyRange("", "")
    assert key_range("pause/") == KeyRange("pause/", "pause0")
    assert key_range("a", "ab") == KeyRange("ab\x01", "b")
    assert key_range("\U0010ffff") == KeyRange("\U0010ffff", "")


@pytest.mark.parametrize("prefix", ["a\0", "\ud800"])
def test_no_key_begins_with_what_no_key_contains(prefix: str) -> None:
    assert key_range(prefix) is None
