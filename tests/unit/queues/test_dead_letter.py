from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tasuki.errors import MAX_ERROR_CHARS
from tasuki.message import Message
from tasuki.queues.dead_letter import Reason, dead_letter, redriven

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
