"""Outcomes: the ways in which a handler can end, and the table from outcome and cause to the verdict; pure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NamedTuple

from tasuki.consumers.settling.verdict import ACK, CANCELLED, RELEASE, RetryPolicy, Verdict
from tasuki.contracts.handler import Interrupted, Reject, Retry, Snooze
from tasuki.contracts.state.jobs import Suspended
from tasuki.errors import (
    MAX_ERROR_CHARS,
    HandlerError,
    HandlerTimeoutError,
    InvalidBodyError,
    ProviderError,
    ResultError,
    UnknownArgumentError,
    UnknownTaskError,
    safe_text,
    text_of,
)
from tasuki.queues.dead_letter import Reason
from tasuki.units import format_duration

Cause = Literal["timeout", "cancel", "stop"]
"""Why a running handler was cancelled."""

Outcome = Literal[
    "false", "unfit", "signal", "invalid", "interrupted", "cancelled", "task_cancelled", "closed", "error"
]
"""How a handler ended that did not simply return.

false: it returned False · unfit: its result cannot be sent · signal: Retry, Reject, Snooze or Suspended · invalid: the
body does not fit its type · cancelled: by itself · task_cancelled: its worker's task is cancelled · closed: the event
loop ends.
"""

Rule = Literal["ack", "release", "obey", "refuse", "fail", "time_out", "fail_and_end", "end", "discard"]

RULES: dict[Outcome, tuple[Rule, Rule, Rule, Rule]] = {
    #                  no cause        timeout     cancel     stop
    "unfit":          ("ack",          "ack",      "ack",     "ack"),
    "signal":         ("obey",         "obey",     "discard", "obey"),
    "false":          ("fail",         "fail",     "discard", "release"),
    "invalid":        ("refuse",       "time_out", "discard", "release"),
    "interrupted":    ("fail",         "time_out", "discard", "release"),
    "cancelled":      ("fail",         "time_out", "discard", "release"),
    "task_cancelled": ("fail_and_end", "time_out", "discard", "release"),
    "closed":         ("end",          "time_out", "discard", "release"),
    "error":          ("fail",         "time_out", "discard", "release"),
}  # fmt: skip
"""An error that a cancelled handler raises instead of CancelledError counts as its cancellation."""
_RETRIED = "retried, as a worker of another version may know it"
_COLUMNS: dict[Cause, int] = {"timeout": 1, "cancel": 2, "stop": 3}


class Ending(NamedTuple):
    """How the handler of one delivery ended; ``limit`` is its ``handler_timeout`` in seconds."""

    outcome: Outcome
    error: BaseException | None
    attempt: int
    limit: float = 0.0


class Conclusion(NamedTuple):
    """The verdict, with the failure to count and log; ``failure`` is empty if the handler has not failed."""

    verdict: Verdict
    failure: str = ""
    error: BaseException | None = None
    is_timeout: bool = False
    ends_worker: bool = False
    """Raise the error again: the worker's task cannot go on."""

    @property
    def logged(self) -> tuple[str, BaseException | None]:
        """The failure for the log, and the error whose traceback is written below it."""
        if isinstance(self.error, ProviderError):
            return self.failure, self.error.__cause__
        if isinstance(self.error, HandlerError):  # of another process, or of Lua
            return self.error.traceback[:MAX_ERROR_CHARS] or self.failure, None
        return self.failure, self.error


def outcome_of(error: BaseException, *, is_task_cancelled: bool) -> Outcome:
    """The outcome for an error that the handler raised."""
    if isinstance(error, Retry | Reject | Snooze | Suspended):
        return "signal"
    if type(error) is ResultError:
        return "unfit"
    if isinstance(error, InvalidBodyError):
        return "invalid"
    if isinstance(error, Interrupted):
        return "interrupted"
    if isinstance(error, asyncio.CancelledError):
        return "task_cancelled" if is_task_cancelled else "cancelled"
    return "closed" if isinstance(error, GeneratorExit) else "error"


def conclusion(policy: RetryPolicy, ending: Ending, cause: Cause | None) -> Conclusion:
    """The conclusion for an ending and the cause of its cancellation, if it was cancelled."""
    column = 0 if cause is None else _COLUMNS[cause]
    return _CARRIED_OUT[RULES[ending.outcome][column]](policy, ending)


def failed(policy: RetryPolicy, attempt: int, text: str, error: BaseException | None = None) -> Conclusion:
    """A failure: retried unless its error or the rules exclude that."""
    if isinstance(
        error, UnknownTaskError | UnknownArgumentError
    ):  # the rules are about the function, which has not run
        reason: Reason = "unknown_task" if isinstance(error, UnknownTaskError) else "invalid"
        if (verdict := policy.failed(attempt, text, reason=reason)).action == "nack":
            verdict = policy.failed(attempt, text := f"{text}; {_RETRIED}", reason=reason)
    elif error is None or policy.rules.allow(error):
        verdict = policy.failed(attempt, text)
    else:
        verdict = policy.rejected("not_retryable", text)
    if isinstance(error, HandlerError):
        verdict = verdict._replace(kind=error.kind, retryable=error.retryable)
    if error is not None:
        verdict = verdict._replace(cause=error)
    return Conclusion(verdict, text, error)


def _fail(policy: RetryPolicy, ending: Ending) -> Conclusion:
    error = ending.error
    if error is None:
        text = "the handler returned False, which counts as a failure"
    elif ending.outcome == "cancelled":
        text = "the handler was cancelled from within"
    elif ending.outcome == "task_cancelled":
        text = "the task of the handler was cancelled"
    else:
        text = text_of(error)
    return failed(policy, ending.attempt, text, error)


def _time_out(policy: RetryPolicy, ending: Ending) -> Conclusion:
    text = f"the handler ran longer than handler_timeout ({format_duration(ending.limit)})"
    return failed(policy, ending.attempt, text, HandlerTimeoutError(text))._replace(is_timeout=True)


def _obey(policy: RetryPolicy, ending: Ending) -> Conclusion:
    signal = ending.error
    assert isinstance(signal, Retry | Reject | Snooze | Suspended)
    if isinstance(signal, Reject):
        return Conclusion(policy.rejected("rejected", signal.text)._replace(cause=signal))
    try:
        if isinstance(signal, Snooze | Suspended):
            return Conclusion(policy.snoozed(policy.delay(signal.due)))
        delay = None if signal.due is None else policy.delay(signal.due)
    except ValueError as error:
        given = "at" if isinstance(signal.due, datetime) else "after"
        return failed(policy, ending.attempt, f"{type(signal).__name__}({given}=…): {error}", error)
    return Conclusion(policy.failed(ending.attempt, safe_text(signal.reason) or "retry", delay)._replace(cause=signal))


_CARRIED_OUT: dict[Rule, Callable[[RetryPolicy, Ending], Conclusion]] = {
    "ack": lambda policy, ending: Conclusion(ACK),
    "release": lambda policy, ending: Conclusion(RELEASE),
    "obey": _obey,
    "refuse": lambda policy, ending: Conclusion(policy.rejected("invalid", str(ending.error))),
    "fail": _fail,
    "time_out": _time_out,
    "fail_and_end": lambda policy, ending: _fail(policy, ending)._replace(ends_worker=True),
    "discard": lambda policy, ending: Conclusion(CANCELLED),
    "end": lambda policy, ending: Conclusion(RELEASE, error=ending.error, ends_worker=True),
}
