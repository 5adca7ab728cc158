"""Records of failed attempts are bounded, in their order, and readable whatever they hold."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tasuki.message import Message
from tasuki.queues.dead.attempts import (
    KEPT,
    MAX_HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TRACEBACK_BYTES,
    AttemptRecord,
    decode,
    encode,
    header_of,
    newest,
    recorded,
    records_in,
    round_of,
)
from tasuki.queues.dead.letter import letter_in


def record(attempt: int = 1, **fields: Any) -> AttemptRecord:
    return AttemptRecord(attempt=attempt, **{"at": float(attempt), "message": f"error {attempt}", **fields})


def letter(value: object) -> Message:
    return Message("1", b"", {"x_attempts": value})  # type: ignore[dict-item]


@pytest.mark.parametrize("character", ["x", "é", "日", "\U0001f600", "\ud800"])
def test_texts_are_cut_to_their_bytes_and_can_be_carried(character: str) -> None:
    long = character * 10_000
    kept = recorded(record(message=long, traceback=long + "end", type=long, place=long, worker=long))
    assert MAX_MESSAGE_BYTES - 4 < len(kept.message.encode()) <= MAX_MESSAGE_BYTES
    assert MAX_TRACEBACK_BYTES - 4 < len(kept.traceback.encode()) <= MAX_TRACEBACK_BYTES
    assert kept.traceback.endswith("end")
    assert max(len(text.encode()) for text in (kept.type, kept.place, kept.worker)) <= 200
    assert decode(encode(kept)) == kept


def test_short_texts_stay() -> None:
    whole = record(message="é", traceback="frames", type="E", place="a.py:f", worker="web:1", took=0.5, round=2)
    assert recorded(whole) == whole
    assert records_in(letter(header_of([whole]))) == [whole]


def test_the_newest_are_kept_in_their_order() -> None:
    many = [record(number) for number in range(1, 9)]
    assert newest(reversed(many)) == many[-KEPT:]
    assert newest([]) == []


def test_an_attempt_that_was_recorded_twice_counts_once() -> None:
    assert newest([record(2, at=9.0), record(1), record(2, at=3.0)]) == [record(1), record(2, at=9.0)]


def test_attempts_after_a_redrive_come_after_those_before() -> None:
    before = [record(number, at=number) for number in (1, 2, 3)]
    after = [record(number, at=10.0 + number, round=1) for number in (1, 2, 3)]
    assert newest([*after, *before]) == [*before[1:], *after]


def test_a_header_drops_the_oldest_tracebacks_first() -> None:
    many = [record(number, traceback="t" * 3000) for number in range(1, 6)]
    text = header_of(many)
    assert len(text.encode()) <= MAX_HEADER_BYTES
    assert [bool(each.traceback) for each in records_in(letter(text))] == [False, False, False, True, True]


def test_a_header_drops_records_when_tracebacks_are_not_enough() -> None:
    many = [record(number, message='"' * 1024, traceback="t" * 4096) for number in range(1, 6)]
    kept = records_in(letter(header_of(many)))
    assert [each.attempt for each in kept] == [3, 4, 5]
    assert not any(each.traceback for each in kept)


def test_the_largest_records_leave_something() -> None:
    hostile = "\x00" * 4096  # six bytes each in JSON
    many = [recorded(record(number, message=hostile, traceback=hostile)) for number in range(1, 6)]
    text = header_of(many)
    assert 0 < len(text) <= MAX_HEADER_BYTES
    assert records_in(letter(text))[-1].attempt == 5


def test_no_records_are_no_header() -> None:
    assert header_of([]) == ""
    assert header_of([record(message="\x00" * 10_000)]) == ""


@pytest.mark.parametrize(
    "value", ["", "{}", "[1]", '[{"attempt": "1"}]', "[" * 10_000, "\ud800", 7, json.dumps([{"at": 1.0}])]
)
def test_a_header_that_cannot_be_read_has_no_records(value: object) -> None:
    assert records_in(letter(value)) == []


def test_a_message_without_the_header() -> None:
    assert records_in(Message("1", b"", {})) == []


@pytest.mark.parametrize("value", [b"", b"\xc1", msgspec.msgpack.encode({"attempt": "1"}), b"\x91" * 5000])
def test_a_value_that_cannot_be_read_is_no_record(value: bytes) -> None:
    assert decode(value) is None


@pytest.mark.parametrize(("count", "round_"), [(2, 2), (0, 0), (-1, 0), (True, 0), ("2", 0), (10**30, 0)])
def test_the_round_is_the_number_of_redrives(count: object, round_: int) -> None:
    assert round_of(Message("1", b"", {"x_redriven": count})) == round_  # type: ignore[dict-item]


def test_a_letter_has_its_records_and_its_redrives() -> None:
    found = letter_in(Message("1", b"", {"x_attempts": header_of([record()]), "x_redriven": 2}), "app:dead")
    assert found.attempt_records == [record()]
    assert found.redriven == 2
