"""What a waiting message keeps in another queue, and how its earlier attempts count there."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, Received, Waiting
from tasuki.message import FAILURES, Message
from tasuki.queues.dead_letter import counted, dead_letter, is_letter, moved, sent_back

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
