from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from tasuki.contracts.driver import Outgoing, Received, Waiting
from tasuki.errors import MAX_ERROR_CHARS
from tasuki.message import FAILURES, Message
from tasuki.queues.dead_letter import Reason, counted, dead_letter, is_letter, moved, redriven, sent_back

DOCS = Path(__file__).parents[3] / "docs"


def dead(message: Message, error: str = "boom") -> dict[str, object]:
    outgoing = dead_letter(
        message, queue="app:tasks", reason="rejected", error=error, attempts=3, now=12.5, content_type="json/plain"
    )
    assert (outgoing.id, outgoing.body) == (message.id, message.body)
    return dict(outgoing.headers)


def test_says_why_from_where_when_and_after_how_many() -> None:
    assert dead(Message("1", b"x", {"a": 1})) == {
        "a": 1,
        "content_type": "json/plain",
        "x_original_queue": "app:tasks",
        "x_dead_letter_reason": "rejected",
        "x_dead_letter_time": 12.5,
        "x_last_error": "boom",
        "x_cause": "ba7de7950ea9",
        "attempts": 3,
    }


def test_the_message_itself_stays_as_it_is() -> None:
    message = Message("1", b"x", {"a": 1, "x_expires_at": 5})
    dead(message)
    assert message.headers == {"a": 1, "x_expires_at": 5}


def test_never_expires_and_keeps_its_own_content_type() -> None:
    headers = dead(Message("1", b"x", {"x_expires_at": 5, "content_type": "application/msgpack"}))
    assert "x_expires_at" not in headers
    assert headers["content_type"] == "application/msgpack"


def test_no_error_is_no_header() -> None:
    assert "x_last_error" not in dead(Message("1", b"x", {}), error="")


def test_an_error_is_cut_and_becomes_unicode_that_a_broker_can_carry() -> None:
    assert dead(Message("1", b"x", {}), "x" * 5000)["x_last_error"] == "x" * MAX_ERROR_CHARS
    assert dead(Message("1", b"x", {}), "caf\udce9")["x_last_error"] == "caf?"


def test_a_second_death_overwrites_the_first() -> None:
    first = Message("1", b"x", dead(Message("1", b"x", {})))  # type: ignore[arg-type]
    headers = dead_letter(
        first, queue="app:dead", reason="expired", error="", attempts=1, now=1, content_type="json/plain"
    ).headers
    assert (headers["x_original_queue"], headers["x_dead_letter_reason"]) == ("app:dead", "expired")


def test_redriven_is_as_first_published() -> None:
    headers = dead(Message("1", b"x", {"timestamp": 7, "priority": 5, "partition_key": "k"}))
    outgoing = redriven(Message("1", b"x", headers))  # type: ignore[arg-type]
    assert (outgoing.id, outgoing.body, outgoing.priority, outgoing.key) == ("1", b"x", 5, "k")
    published = {"timestamp": 7, "priority": 5, "partition_key": "k", "content_type": "json/plain"}
    assert outgoing.headers == {**published, "x_redriven": 1}


def test_redriven_without_or_with_foreign_options() -> None:
    assert (redriven(Message("1", b"x", {})).priority, redriven(Message("1", b"x", {})).key) == (0, None)
    foreign = redriven(Message("1", b"x", {"priority": "high", "partition_key": 7}))
    assert (foreign.priority, foreign.key) == (0, "7")


@pytest.mark.parametrize("page", ["semantics.md", "reference.md"])
def test_the_pages_list_all_reasons(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    assert [reason for reason in get_args(Reason) if reason not in text] == []


HEADERS: dict[str, Any] = {"tenant": "acme", "priority": 7, "partition_key": "k", "x_expires_at": 90.0, "x_due": 50.0}


def test_all_of_a_waiting_message_is_kept() -> None:
    sent = moved(Waiting("m", b"body", HEADERS, "12", delay=40.0, failures=3))
    assert sent == Outgoing("m", b"body", {**HEADERS, FAILURES: 3}, delay=40.0, priority=7, key="k")
    assert FAILURES not in HEADERS


def test_a_received_message_brings_the_failures_that_its_broker_counted() -> None:
    assert moved(Received("m", b"", {"a": 1}, "receipt", attempt=4)).headers == {"a": 1, FAILURES: 3}
    assert moved(Received("m", b"", {"a": 1}, "receipt")).headers == {"a": 1}
    assert moved(Message("m", b"", {"a": 1})) == Outgoing("m", b"", {"a": 1})


def test_the_failures_of_all_queues_add_up() -> None:
    moved_again = moved(Waiting("m", b"", {FAILURES: 2}, "1", failures=3))
    assert moved_again.headers == {FAILURES: 5}
    received = Received("m", b"", moved_again.headers, "receipt", attempt=2)
    assert counted(received).attempt == 7
    assert received.attempt == 2, "the driver's own count is left alone"


@pytest.mark.parametrize("strange", ["3", 2.5, -4, None])
def test_failures_that_cannot_be_are_none(strange: Any) -> None:
    assert counted(Received("m", b"", {FAILURES: strange}, "receipt", attempt=2)).attempt == 2


def test_the_error_that_a_driver_shows_is_not_stored() -> None:
    shown: dict[str, Any] = {"a": 1, "x_last_error": "KeyError: 1", "x_last_error_time": 4.5}
    assert moved(Waiting("m", b"", shown, "1")).headers == {"a": 1}


def test_a_priority_or_key_of_another_program_is_no_obstacle() -> None:
    sent = moved(Waiting("m", b"", {"priority": "high", "partition_key": 7}, "1"))
    assert (sent.priority, sent.key) == (0, "7")


def test_only_a_dead_letter_begins_again() -> None:
    message = Waiting("m", b"", dict(HEADERS), "1", delay=40.0, failures=3)
    assert not is_letter(message)
    assert sent_back(message, 100.0) == moved(message)
    letter = dead_letter(
        Message("m", b"", {**HEADERS, FAILURES: 3}),
        queue="app:tasks", reason="rejected", error="", attempts=5, now=1.0, content_type="json/plain",
    )  # fmt: skip
    assert is_letter(letter)
    assert (letter.headers["attempts"], FAILURES in letter.headers) == (5, False)
    again = sent_back(Waiting("m", b"", letter.headers, "1", failures=1), 100.0)
    assert (again.headers["x_redriven"], again.headers["x_due"], again.delay) == (1, 100.0, 0.0)
    assert FAILURES not in again.headers
