import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.nats.queues.names import LONGEST, Names, queue_of, token_of
from tasuki.errors import UnsupportedError

FORBIDDEN = set(" .*>/\\\t\r\n\0")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(TEXT)
def test_every_name_comes_back_and_has_nothing_that_a_server_forbids(name: str) -> None:
    token = token_of(name)
    assert queue_of(token) == name
    assert not FORBIDDEN & set(token)
    assert token.isascii()


@given(TEXT, TEXT)
def test_two_queues_never_share_a_stream(one: str, other: str) -> None:
    names = Names("tasuki")
    assert (names.stream(one) == names.stream(other)) == (one == other)


@pytest.mark.parametrize(
    "name", [".", "*", ">", "a b", "a.b", "a~b", "=2E", "+=book", "=book", "=ids+a", "../x", "a\nb"]
)
def test_no_queue_gets_into_the_way_of_what_the_driver_keeps(name: str) -> None:
    names = Names("tasuki")
    assert names.stream(name) not in {names.records_stream, names.ids_stream("a")}
    assert names.subject(name, "m").count(".") == 3
    assert not names.subject(name, "m").startswith(("tasuki.b.", "tasuki.i."))


def test_names_that_need_no_care_are_as_they_were() -> None:
    names = Names("shop")
    assert names.stream("orders_new-2") == "shop+orders_new-2"
    assert names.subject("orders", "m") == "shop.q.orders.m"
    assert names.stream("shop.orders") == "shop+shop~orders"
    assert names.stream("a:b") == "shop+a=3Ab"


@pytest.mark.parametrize("prefix", ["", "a.b", "a*", ">", "a b", "x" * 65, "a\n"])
def test_a_prefix_that_would_be_read_otherwise_is_refused(prefix: str) -> None:
    with pytest.raises(UnsupportedError, match="stream_prefix"):
        Names(prefix)


def test_the_longest_name_of_a_queue_fits_and_a_longer_one_is_refused() -> None:
    names = Names("tasuki")
    assert len(names.stream("x" * (LONGEST - 7))) == LONGEST
    with pytest.raises(UnsupportedError, match="queue_name"):
        names.stream("x" * (LONGEST - 6))
    assert len(names.ids_stream("x" * 248)) <= LONGEST
    assert names.ids_stream("x" * 248) != names.ids_stream("x" * 247 + "y")
