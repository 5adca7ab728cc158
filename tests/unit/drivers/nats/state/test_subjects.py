"""Keys of a store as subjects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.state.records import StoreSubjects

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.text(
    st.sampled_from("a./*>=~% \n"), min_size=1, max_size=6
)
SUBJECTS = StoreSubjects(Names("tasuki"), "state")


def _matches(filter_: str, subject: str) -> bool:
    """Whether a filter whose only wildcard is a ``>`` at its end finds a subject, as the server has it."""
    return subject.startswith(filter_.removesuffix(">")) and len(subject) >= len(filter_)


@given(KEYS)
def test_every_key_comes_back_and_has_nothing_that_a_server_forbids(key: str) -> None:
    subject = SUBJECTS.entry(key)
    assert SUBJECTS.key(subject) == key
    assert all(subject.split("."))
    assert not set(subject) & set(" *>\t\r\n\0")


@given(KEYS, st.integers(0, 12))
def test_a_filter_finds_all_keys_of_its_prefix(key: str, length: int) -> None:
    assert _matches(SUBJECTS.entries(key[:length]), SUBJECTS.entry(key))


def test_a_filter_is_as_narrow_as_the_whole_parts_of_its_prefix() -> None:
    assert SUBJECTS.entries("presence/a/b") == "tasuki.s.state.e.presence.a.>"
    assert not _matches(SUBJECTS.entries("a/"), SUBJECTS.entry("ab"))


@given(KEYS, KEYS)
def test_two_stores_share_no_stream_and_no_subject(one: str, other: str) -> None:
    first, second = StoreSubjects(Names("tasuki"), one), StoreSubjects(Names("tasuki"), other)
    assert (first.stream == second.stream) == (one == other)
    assert _matches(first.all, second.entry("key")) == (one == other)


@given(KEYS)
def test_entries_buckets_and_places_are_apart(key: str) -> None:
    assert len({SUBJECTS.entry(key), SUBJECTS.bucket(key), SUBJECTS.places(key)}) == 3
    assert not _matches(SUBJECTS.entries(""), SUBJECTS.bucket(key))


def test_a_store_is_no_queue() -> None:
    names = Names("tasuki")
    assert StoreSubjects(names, "a").stream not in {names.stream(queue) for queue in ("a", "=store+a", "store+a")}
    assert len(names.store_stream("x" * 400)) <= 255
