"""Unique messages at NATS: what goes before them, what cannot be, and what the server answers."""

from __future__ import annotations

import pytest

from tasuki.contracts.driver import Outgoing, Unique
from tasuki.drivers.nats.publishing import contested, header, is_kept_out, reason_against
from tasuki.drivers.nats.queues.names import Plan

WRONG = b'{"error":{"code":400,"err_code":%d,"description":"wrong last sequence: 1"}}'


def unique(**options: object) -> Outgoing:
    return Outgoing("a", b"", {}, unique=Unique("k", "running"), **options)  # type: ignore[arg-type]


def test_a_unique_message_is_stored_only_where_there_is_no_other() -> None:
    alone = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"
    assert header(unique(), None) == b"NATS/1.0\r\n" + alone + b"\r\n"
    assert header(unique(), "id") == b"NATS/1.0\r\nNats-Msg-Id: id\r\n" + alone + b"\r\n"
    assert header(Outgoing("a", b"", {}), "id") == b"NATS/1.0\r\nNats-Msg-Id: id\r\n\r\n"
    assert header(Outgoing("a", b"", {}), None) == b""


@pytest.mark.parametrize(
    ("message", "plan", "what"),
    [
        (unique(key="k"), Plan(False, 4, True), "an ordering key"),
        (unique(priority=5), Plan(True), "a priority"),
        (unique(key="k"), Plan(), ""),
        (unique(), Plan(True, 4, True), ""),
    ],
)
def test_it_has_neither_order_nor_priority(message: Outgoing, plan: Plan, what: str) -> None:
    why = reason_against(message, plan)
    assert f"it is unique and has {what}" in why if what else not why


@pytest.mark.parametrize(
    ("answer", "is_out"),
    [
        (WRONG % 10071, True),
        (WRONG % 10164, True),
        (WRONG % 10077, False),
        (b'{"seq":1}', False),
        ("503", False),
        (None, False),
    ],
)
def test_another_message_has_the_key(answer: bytes | str | None, is_out: bool) -> None:
    assert is_kept_out(answer) is is_out


def test_a_key_that_never_stays_free_is_an_error_to_try_again() -> None:
    problem = contested(unique(), driver="d", queue="q")
    assert problem.retryable
    assert problem.outcome == "rejected"
    assert "message 'a' was not stored: its key was taken 20 times" in str(problem)
