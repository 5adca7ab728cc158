"""The report of a dry run from the events of its process."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.app.dry_run.report import DryRun, report_of

START = {"do": "start", "consumer": "app:c", "function": "app:f", "attempt": 1}


def report(*events: dict[str, Any], death: str = "") -> DryRun:
    return report_of("m", "app:q", events, output="o", errors="e", limit=30.0, death=death)


def test_a_handler_that_is_done() -> None:
    publish = {"do": "publish", "queue": "app:x"}
    found = report(
        {"do": "loaded"}, START, publish, {"do": "log", "level": "info", "logger": "a", "text": "b"},
        {"do": "end", "seconds": 0.5}, {"do": "outcome", "outcome": "ack"}, {"do": "warning", "text": "w"}, {},
        death="its process ended with exit status 0",
    )  # fmt: skip
    assert found.is_good
    assert (found.consumer, found.function, found.seconds, found.error) == ("app:c", "app:f", 0.5, "")
    assert (found.effects, found.warnings, found.output, found.errors) == ([publish], ["w"], "o", "e")
    assert found.logs == [{"level": "info", "logger": "a", "text": "b"}]


def test_a_failure_has_the_error_of_its_letter_or_else_of_its_handler() -> None:
    end = {"do": "end", "seconds": 0.5, "error": "E: short", "traceback": "T"}
    found = report(START, end, {"do": "outcome", "outcome": "retry", "delay": 3.0, "error": "E: long"})
    assert (found.outcome, found.delay, found.error, found.traceback) == ("retry", 3.0, "E: long", "T")
    assert not found.is_good
    assert not report(START, {"do": "outcome", "outcome": "ack"}, end).is_good  # auto_ack
    letter = {"do": "outcome", "outcome": "dead_letter", "reason": "invalid", "traceback": "own", "attempts": 1}
    found = report(START, end, letter)
    assert (found.reason, found.error, found.traceback, found.delay) == ("invalid", "E: short", "own", 0.0)


@pytest.mark.parametrize(
    ("events", "death", "outcome", "error"),
    [
        ([START], "its process was killed by SIGKILL", "died", "its process was killed by SIGKILL"),
        ([START, {"do": "stack", "text": "here"}], "timeout", "timeout", "the handler was ended after 30 s"),
        ([{"do": "problem", "text": "bad project"}], "", "problem", "bad project"),
        ([{"do": "outcome", "outcome": "ack"}], "timeout", "ack", ""),
    ],
)
def test_other_ends(events: list[dict[str, Any]], death: str, outcome: str, error: str) -> None:
    found = report(*events, death=death)
    assert (found.outcome, found.error, found.seconds) == (outcome, error, None)
    assert found.traceback == ("here" if len(events) > 1 else "")
