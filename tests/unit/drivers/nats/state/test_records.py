"""The keys of a store as subjects, and its values as messages."""

from __future__ import annotations

import base64
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.state.records import (
    MARKED,
    Record,
    StoreSubjects,
    headers_of,
    new_mark,
    read_bucket,
    read_headers,
    read_places,
    record_in,
    version_of,
    write_bucket,
    write_places,
)
from tasuki.drivers.toolkit.limits import Bucket


@pytest.mark.parametrize(
    ("ttl", "removed", "read"), [(inf, 0, (inf, 0)), (1.5, 0, (1.5, 0)), (inf, 7, (MARKED, 7)), (0.0, 0, (0.0, 0))]
)
def test_headers_come_back(ttl: float, removed: int, read: tuple[float, int]) -> None:
    for tells_server in (False, True):
        headers = headers_of(ttl=ttl, removed=removed, mark=9, expected=3, tells_server=tells_server)
        assert read_headers(headers) == (*read, 9)


def test_a_plain_message_has_no_headers() -> None:
    assert headers_of() == b""
    assert read_headers(None) == (inf, 0, 0)


def test_versions_rise_with_the_sequence_and_differ_by_the_mark() -> None:
    assert version_of(7, 1) != version_of(7, 2)
    assert version_of(7, 2**20 - 1) < version_of(8, 0)
    a_time = 1_700_000_000_000_000
    assert version_of(a_time, new_mark()) == a_time


def test_the_server_removes_a_message_later_than_its_ttl() -> None:
    assert b"Nats-TTL: 4s\r\n" in headers_of(ttl=1.5, tells_server=True)
    assert b"Nats-TTL" not in headers_of(ttl=1.5)
    assert b"Nats-TTL" not in headers_of(ttl=1e12, tells_server=True)


def test_a_record_lives_until_its_end_by_the_servers_time() -> None:
    headers = base64.b64encode(headers_of(ttl=2.0)).decode()
    record = record_in({"seq": 5, "data": "eA==", "hdrs": headers, "time": "2026-01-01T00:00:00.5Z"})
    assert (record.sequence, record.value, record.ttl) == (5, b"x", 2.0)
    assert record.lives(record.written_at + 1.999)
    assert not record.lives(record.written_at + 2.0)
    assert not record._replace(removed=4).lives(record.written_at)


def test_a_bucket_comes_back_with_its_largest_burst() -> None:
    stored = Bucket(1.0, 100.0, 0.5, 1, 11)
    assert read_bucket(Record(1, write_bucket(stored), 0.0, inf)) == stored
    assert stored.lasts == 20.0
    assert Bucket(0.0, 100.0, 0.0, 1).lasts == inf
    assert read_bucket(None) is None


def test_places_whose_lease_has_ended_are_free() -> None:
    held = write_places({"a": 10.0, "\ud800": 20.0})
    assert read_places(Record(1, held, 0.0, inf), 10.0) == {"\ud800": 20.0}
    assert read_places(None, 10.0) == {}


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
