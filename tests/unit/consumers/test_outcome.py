"""The table of what becomes of a message, for each way in which its handler can end."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from tasuki.backoff import Backoff
from tasuki.consumers.handling.outcome import Cause, Ending, Outcome, conclusion, failed, outcome_of
from tasuki.consumers.settling.verdict import ACK, RetryPolicy
from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.errors import HandlerError, InvalidBodyError, ResultError
from tasuki.queues.messages.rules import RetryRules
from tasuki.testing.clock import EPOCH, FakeClock

STEADY = Backoff(initial_delay=1, max_delay=8, backoff_factor=2, jitter=0)


POLICY = RetryPolicy(STEADY, 3, True, max_delay=3600, clock=FakeClock())


NOON = datetime.fromtimestamp(EPOCH, timezone(timedelta(hours=9)))


LIMIT = 2.0


FALSE = "the handler returned False, which counts as a failure"


TIMEOUT = "the handler ran longer than handler_timeout (2s)"


CAUSES: tuple[Cause | None, ...] = (None, "timeout", "stop")


def error_of(outcome: Outcome) -> BaseException | None:
    errors: dict[str, BaseException] = {
        "unfit": ResultError("too large"),
        "signal": Retry("later", after=5),
        "invalid": InvalidBodyError("no text"),
        "interrupted": Interrupted(),
        "cancelled": asyncio.CancelledError(),
        "task_cancelled": asyncio.CancelledError(),
        "closed": GeneratorExit(),
        "error": ValueError("boom"),
    }
    return errors.get(outcome)


# outcome: (action, delay, failure) with no cause, after a timeout, at a stop
TABLE: dict[Outcome, tuple[tuple[str, float, str], tuple[str, float, str], tuple[str, float, str]]] = {
    "false": (("nack", 1, FALSE), ("nack", 1, FALSE), ("release", 0, "")),
    "unfit": (("ack", 0, ""), ("ack", 0, ""), ("ack", 0, "")),
    "signal": (("nack", 5, ""), ("nack", 5, ""), ("nack", 5, "")),
    "invalid": (("dead_letter", 0, ""), ("nack", 1, TIMEOUT), ("release", 0, "")),
    "interrupted": (("nack", 1, "Interrupted"), ("nack", 1, TIMEOUT), ("release", 0, "")),
    "cancelled": (("nack", 1, "the handler was cancelled from within"), ("nack", 1, TIMEOUT), ("release", 0, "")),
    "task_cancelled": (("nack", 1, "the task of the handler was cancelled"), ("nack", 1, TIMEOUT), ("release", 0, "")),
    "closed": (("release", 0, ""), ("nack", 1, TIMEOUT), ("release", 0, "")),
    "error": (("nack", 1, "ValueError: boom"), ("nack", 1, TIMEOUT), ("release", 0, "")),
}


def test_the_table_has_every_outcome() -> None:
    assert set(TABLE) == set(get_args(Outcome))


@pytest.mark.parametrize("outcome", TABLE)
@pytest.mark.parametrize("column", range(3), ids=["no cause", "timeout", "stop"])
def test_an_outcome_and_its_cause_decide(outcome: Outcome, column: int) -> None:
    cause = CAUSES[column]
    concluded = conclusion(POLICY, Ending(outcome, error_of(outcome), 1, LIMIT), cause)
    assert (concluded.verdict.action, concluded.verdict.delay, concluded.failure) == TABLE[outcome][column]
    assert concluded.is_timeout is (cause == "timeout" and concluded.failure == TIMEOUT)
    assert concluded.ends_worker is (cause is None and outcome in ("task_cancelled", "closed"))


@pytest.mark.parametrize("outcome", ["false", "interrupted", "cancelled", "error"])
@pytest.mark.parametrize("cause", [None, "timeout"])
def test_the_last_failure_is_a_dead_letter(outcome: Outcome, cause: Cause | None) -> None:
    concluded = conclusion(POLICY, Ending(outcome, error_of(outcome), 3, LIMIT), cause)
    assert (concluded.verdict.action, concluded.verdict.reason) == ("dead_letter", "max_attempts")


SIGNALS: list[tuple[BaseException, tuple[str, float, str]]] = [
    (Retry(), ("nack", 1, "")),
    (Retry(after="30s"), ("nack", 30, "")),
    (Snooze("30s"), ("release", 30, "")),
    (Snooze(timedelta(minutes=1)), ("release", 60, "")),
    (Retry(at=NOON + timedelta(seconds=40)), ("nack", 40, "")),
    (Snooze(at=NOON + timedelta(seconds=40)), ("release", 40, "")),
    (Snooze(at=NOON - timedelta(days=1)), ("release", 0, "")),
    (Retry(at=NOON + timedelta(hours=2)), ("nack", 1, "Retry(at=…): the driver cannot delay messages for longer")),
    (Reject("no"), ("dead_letter", 0, "")),
    (Retry(after="nonsense"), ("nack", 1, "Retry(after=…): ")),
    (Snooze("2h"), ("nack", 1, "Snooze(after=…): the driver cannot delay messages for longer than 1h")),
]


@pytest.mark.parametrize(("signal", "expected"), SIGNALS)
def test_a_signal_is_obeyed_if_the_driver_can(signal: BaseException, expected: tuple[str, float, str]) -> None:
    concluded = conclusion(POLICY, Ending("signal", signal, 1), None)
    assert (concluded.verdict.action, concluded.verdict.delay) == expected[:2]
    assert concluded.failure.startswith(expected[2])
    assert bool(concluded.failure) is bool(expected[2])


def test_a_signal_takes_one_of_the_two() -> None:
    for signal in (Retry, Snooze):
        with pytest.raises(ValueError, match="give either after or at, not both"):
            signal(after="5s", at=NOON)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"Snooze needs a time: write Snooze\('5m'\) or Snooze\(at="):
        Snooze()  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Retry(), "signal"),
        (Reject(), "signal"),
        (Snooze(1), "signal"),
        (ResultError("too large"), "unfit"),
        (InvalidBodyError("no text"), "invalid"),
        (Interrupted(), "interrupted"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "closed"),
        (SystemExit(1), "error"),
        (HandlerError("boom"), "error"),
    ],
)
def test_an_error_names_its_outcome(error: BaseException, outcome: Outcome) -> None:
    assert outcome_of(error, is_task_cancelled=False) == outcome
    assert outcome_of(error, is_task_cancelled=True) == ("task_cancelled" if outcome == "cancelled" else outcome)


def test_an_error_that_is_not_worth_a_retry_is_a_dead_letter_at_once() -> None:
    policy = RetryPolicy(STEADY, 3, True, rules=RetryRules(never=frozenset({"ValueError"})))
    assert failed(policy, 1, "boom", ValueError("boom")).verdict.reason == "not_retryable"
    assert failed(policy, 1, "boom", KeyError("boom")).verdict.action == "nack"


def test_a_handlers_own_error_says_of_which_kind_it_is() -> None:
    verdict: Any = failed(POLICY, 1, "boom", HandlerError("boom", kind="Busy", retryable=True)).verdict
    assert (verdict.action, verdict.kind, verdict.retryable) == ("nack", "Busy", True)


def policy(*, dead: bool = True, max_attempts: int = 3, drops: bool = False) -> RetryPolicy:
    return RetryPolicy(STEADY, max_attempts, dead, drops)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1), (2, 2)])
def test_a_failure_is_tried_again_later_each_time(attempt: int, delay: float) -> None:
    verdict = policy().failed(attempt, "boom")
    assert (verdict.action, verdict.delay, verdict.error, verdict.kept) == ("nack", delay, "boom", False)


def test_a_wanted_delay_does_not_save_the_last_attempt() -> None:
    assert policy().failed(3, "boom", 5.0).action == "dead_letter"
    assert policy().failed(2, "boom", 5.0).delay == 5.0
    assert policy().failed(1, "boom", 0.0).delay == 0.0


def test_without_a_dead_letter_queue_it_is_tried_for_ever() -> None:
    verdict = policy(dead=False).failed(100, "boom")
    assert (verdict.action, verdict.delay) == ("nack", 8)


@pytest.mark.parametrize(("attempt", "exhausted"), [(1, False), (3, False), (4, True)])
def test_only_attempts_beyond_the_last_must_not_start(attempt: int, exhausted: bool) -> None:
    assert policy().exhausted(attempt) is exhausted
    assert policy(dead=False).exhausted(attempt) is False


@pytest.mark.parametrize("reason", ["rejected", "expired", "undecodable", "invalid"])
def test_rejected_goes_to_the_dead_letter_queue_at_once(reason: str) -> None:
    verdict = policy(drops=True).rejected(reason, "no")  # type: ignore[arg-type]
    assert (verdict.action, verdict.reason, verdict.error) == ("dead_letter", reason, "no")


def test_rejected_without_one_is_kept_with_the_longest_delay() -> None:
    verdict = policy(dead=False).rejected("rejected", "no")
    assert (verdict.action, verdict.delay, verdict.kept, verdict.reason) == ("nack", 8, True, "rejected")


def test_expired_without_one_is_dropped_only_where_the_queue_says_so() -> None:
    assert policy(dead=False, drops=True).rejected("expired", "") == ACK._replace(reason="expired")
    assert policy(dead=False, drops=False).rejected("expired", "").kept
    assert policy(dead=False, drops=True).rejected("invalid", "").kept


def test_an_error_is_made_to_fit() -> None:
    assert len(policy().rejected("rejected", "x" * 10_000).error) == 4096
    assert len(policy().failed(3, "x" * 10_000).error) == 4096
    assert policy().rejected("rejected", "file \udcff").error == "file ?"
