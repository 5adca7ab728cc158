"""The form of a letter when a batch moves it, and on its way back."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec, Waiting
from tasuki.dead.batch import ACTS, Act
from tasuki.dead.forms import has_room, moved_form, note_of, restored, weight_of
from tasuki.message import BATCH, DUE, EXPIRES_AT, FAILURES, Message

HEADERS: dict[str, Any] = {
    "tenant": "acme", "priority": 3, "attempts": 5, "x_signature": "s", "x_group": "g", "x_last_error": "KeyError: 1",
    "x_original_queue": "app:jobs", "x_dead_letter_time": 4.5, "x_batch": "before",
}  # fmt: skip
LETTER = Message("m", b"body", HEADERS)


def test_a_retry_is_as_it_was_first_published() -> None:
    sent = moved_form(LETTER, "retry", "7", 100.0)
    kept = {"tenant": "acme", "priority": 3, "x_signature": "s", "x_group": "g", BATCH: "7", DUE: 100.0}
    assert {name: sent.headers[name] for name in kept} == kept
    assert not {"attempts", "x_last_error", "x_original_queue"} & set(sent.headers)
    assert (sent.id, sent.body, sent.priority) == ("m", b"body", 3)


def test_a_move_and_a_delete_keep_why_it_died() -> None:
    assert moved_form(LETTER, "move", "7", 100.0).headers == {**HEADERS, BATCH: "7"}
    assert moved_form(LETTER, "delete", "7", 100.0).headers == {**HEADERS, BATCH: "7", EXPIRES_AT: 1000.0}
    assert LETTER.headers[BATCH] == "before"


def test_a_moved_letter_has_its_place_in_a_queue_with_priorities_or_order() -> None:
    letter = Message("m", b"body", {**HEADERS, "partition_key": "k"})
    for spec, place in (
        (QueueSpec("other"), (0, None)),
        (QueueSpec("other", priorities=True), (3, None)),
        (QueueSpec("other", ordering="key"), (0, "k")),
    ):
        sent = moved_form(letter, "move", "7", 100.0, spec)
        assert ((sent.priority, sent.key), sent.headers["x_last_error"]) == (place, "KeyError: 1")
    assert moved_form(letter, "delete", "7", 100.0, None).key is None


@pytest.mark.parametrize("act", ACTS)
def test_a_message_that_is_no_dead_letter_gets_its_place_back(act: Act) -> None:
    """A batch can be about any queue: what it brings back must not run before its time, or before others of its key."""
    headers: dict[str, Any] = {"priority": 3, "partition_key": "k", DUE: 500.0, "x_expires_at": 900.0}
    letter, spec = Waiting("m", b"body", headers, "9", 400.0, 2), QueueSpec("jobs", priorities=True, ordering="key")
    sent = moved_form(letter, act, "7", 100.0)
    if act == "delete":
        assert (sent.delay, sent.priority, sent.key) == (0.0, 0, None), "nothing waits in the trash"
    else:
        assert (sent.delay, sent.priority, sent.key) == (400.0, 3, "k")
        assert (sent.headers[FAILURES], sent.headers["x_expires_at"]) == (2, 900.0)
    waiting = Waiting("m", sent.body, sent.headers, "1", max(sent.delay - 100.0, 0.0))
    back = restored(waiting, act, note_of(letter, act), spec, 200.0)
    assert back == Outgoing("m", b"body", {**headers, FAILURES: 2}, priority=3, key="k", delay=300.0)
    late = restored(Waiting("m", sent.body, sent.headers, "1"), act, note_of(letter, act), spec, 600.0)
    assert late.delay == 0.0


def test_a_letter_in_the_trash_is_due_when_it_comes_back() -> None:
    letter = Message("m", b"body", {DUE: 500.0, "x_dead_letter_time": 1.0})
    sent = moved_form(letter, "delete", "7", 100.0)
    waiting = Message("m", sent.body, sent.headers)
    assert restored(waiting, "delete", note_of(letter, "delete"), QueueSpec("jobs"), 200.0).delay == 0.0


def test_a_message_whose_delay_was_ended_is_ready_when_it_comes_back_from_the_trash() -> None:
    ready = Waiting("m", b"body", {DUE: 500.0}, "9")
    sent = moved_form(ready, "delete", "7", 100.0)
    waiting = Waiting("m", sent.body, sent.headers, "1")
    assert restored(waiting, "delete", note_of(ready, "delete"), QueueSpec("jobs"), 200.0).delay == 0.0


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("headers", [HEADERS, {"a": 1}, {"attempts": 1, EXPIRES_AT: 3.0}])
def test_the_way_there_and_back_changes_nothing(act: Act, headers: dict[str, Any]) -> None:
    letter = Message("m", b"body", headers)
    sent = moved_form(letter, act, "7", 100.0)
    waiting = Message(
        sent.id, sent.body, {**sent.headers, **({"x_last_error": "of a retry"} if act == "retry" else {})}
    )
    back = restored(waiting, act, note_of(letter, act), QueueSpec("dead"), 200.0)
    assert back == Outgoing("m", b"body", headers)


def test_a_chunk_has_a_hundred_letters_or_a_weight() -> None:
    assert has_room(99, 0)
    assert not has_room(100, 0)
    assert not has_room(1, 300_000)
    assert weight_of({"ab": "cde", "f": 10}) == 8
    assert weight_of({"a": "死🎉"}) == 8, "bytes, as a store counts"
