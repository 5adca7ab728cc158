"""The records of cancelled messages."""

from __future__ import annotations

import pytest

from tasuki.contracts.state.store import Change
from tasuki.state.cancelling import PAGE, Cancel, CancelledIds, decode, key_of, records
from tasuki.state.shared import Controls


def put(controls: Controls, key: str, value: bytes | None) -> None:
    controls.apply(Change(key, value, 1))


def test_a_record_says_which_messages_and_who_asks() -> None:
    record = Cancel(("a", "日本"), "asker")
    assert decode(record.encode()) == record


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b"\xff", b'{"ids": 5, "asker": ""}', b'{"ids": ["a"]}', b"[" * 100_000], ids=len
)
def test_a_record_that_cannot_be_read_cancels_nothing(value: bytes) -> None:
    assert decode(value) == Cancel((), "")


def test_one_message_has_a_record_of_its_own() -> None:
    assert list(records("q", ["a"], "x", 7.5, is_strict=False)) == [
        (key_of("q", "a"), Cancel(("a",), "x", 7.5).encode())
    ]


def test_many_messages_share_records() -> None:
    ids = [f"id {number}" for number in range(2 * PAGE + 1)]
    found = list(records("q", ids, "x", 7.5, is_strict=False))
    assert [len(decode(value).ids) for _, value in found] == [PAGE, PAGE, 1]
    assert [id for _, value in found for id in decode(value).ids] == ids
    assert len({key for key, _ in found}) == 3


def test_records_of_long_ids_stay_small() -> None:
    ids = [f"{number:0>255}" for number in range(1000)]
    assert max(len(value) for _, value in records("q", ids, "x", 7.5, is_strict=False)) < 150_000


def test_a_strict_queue_has_a_record_for_each_message() -> None:
    assert [key for key, _ in records("q", ["a", "b"], "x", 7.5, is_strict=True)] == [
        key_of("q", "a"),
        key_of("q", "b"),
    ]


def test_the_ids_of_one_queue_follow_the_controls() -> None:
    controls, heard = Controls(), []
    put(controls, key_of("q", "a"), Cancel(("a",), "x").encode())
    put(controls, key_of("qq", "z"), Cancel(("z",), "x").encode())
    ids = CancelledIds(controls, "q", lambda ids, asker: heard.append((ids, asker)))
    assert "a" in ids
    assert "z" not in ids
    put(controls, key_of("q", "many"), Cancel(("a", "b"), "y").encode())
    assert heard == [(frozenset("ab"), "y")]  # a worker looks for each message that it holds
    assert ids.asker_of("a") == "y"
    put(controls, key_of("q", "a"), None)
    assert "a" in ids  # in the other record
    assert len(ids) == 2
    put(controls, key_of("q", "many"), None)
    assert len(ids) == 0
    assert ids.asker_of("a") == ""
    ids.close()
    put(controls, key_of("q", "c"), Cancel(("c",), "x").encode())
    assert "c" not in ids
