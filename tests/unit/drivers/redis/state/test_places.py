"""The keys and bounds of a store, and published changes of its keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.contracts.driver import QueueSpec
from tasuki.contracts.state.store import Change
from tasuki.drivers.redis.scripts import place
from tasuki.drivers.redis.state.places import bounds, raw, read_news, store_place

TEXT = st.text(st.sampled_from("ab/{}%:*?[\xff\u0800\U0001f600"), max_size=4)


def _within(name: str, prefix: str, after: str) -> bool:
    low, high = bounds(prefix, after)
    begins = low == b"-" or (raw(name) > low[1:] if low[:1] == b"(" else raw(name) >= low[1:])
    return begins and (high == b"+" or raw(name) < high[1:])


@given(TEXT.filter(bool), TEXT, TEXT)
def test_bounds_hold_what_has_the_prefix_and_comes_after(name: str, prefix: str, after: str) -> None:
    assert _within(name, prefix, after) == (name.startswith(prefix) and name > after)


@given(TEXT, TEXT)
def test_two_stores_share_no_key(one: str, other: str) -> None:
    first, second = store_place("tasuki", one), store_place("tasuki", other)
    assert (first == second) == (one == other)
    assert one == other or not set(first.keys) & set(second.keys)


@given(TEXT)
def test_all_keys_have_one_hash_tag_and_are_no_queues(name: str) -> None:
    where, queue = store_place("tasuki", name), place("tasuki", QueueSpec(name))
    for key in (*where.keys, *where.bucket(b"{x}"), *where.places(b"}{")):
        assert key[1 : key.index(b"}")] == where.keys[0][1 : where.keys[0].index(b"}")]
        assert key not in queue.keys
    assert where.slot == queue.slot


@given(TEXT, TEXT)
def test_a_watch_hears_the_channel_of_all_its_keys(prefix: str, rest: str) -> None:
    where, key = store_place("tasuki", "state"), prefix + rest
    head, slash, _ = key.partition("/")
    published = {where.keys[0], b"%b:%b" % (where.keys[0], raw(head))} if slash else {where.keys[0]}
    assert where.channel(prefix) in published


def test_a_value_comes_with_its_news() -> None:
    news = read_news(b"= 17 1500000 4\na\nb/\n\0value")
    assert news.change == Change("a\nb/", b"\n\0value", 17)
    assert news.left == 1.5


def test_a_long_value_has_to_be_read() -> None:
    news = read_news(b"~ 17 -1 3\nkey")
    assert news.change is None
    assert not news.is_gone
    assert news.left is None


def test_a_removal() -> None:
    assert read_news("- 17 -1 3\n語".encode()).change == Change("語", None, 17)


@pytest.mark.parametrize("content", [b"", b"= 1 2\nkey", b"= x -1 3\nkey"])
def test_news_of_another_program_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the link closes for any
        read_news(content)
