"""Verdict: how to settle a delivery, decided from the outcome of its handler."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any, Literal, NamedTuple

from tasuki.backoff import Backoff
from tasuki.clock import Clock, SystemClock
from tasuki.errors import MAX_ERROR_CHARS
from tasuki.queues.dead_letter import Reason
from tasuki.queues.messages.rules import RetryRules
from tasuki.units import check_time, format_duration, parse_duration


class ReplyContent(NamedTuple):
    """The content of a reply: the handler's result or an error; ``unfit``: why the result cannot be sent."""

    body: Any
    is_error: bool = False
    unfit: str = ""


class Verdict(NamedTuple):
    """How to settle a delivery.

    ``delay``: seconds, of a nack or a release. ``reason`` and ``error``: of a message that is given up, dropped or
    cancelled.
    """

    action: Literal["ack", "nack", "release", "dead_letter"]
    delay: float = 0.0
    reason: Reason = "max_attempts"
    error: str = ""
    kept: bool = False
    """Nacked only because there is no dead-letter queue to take it: worth an error in the log."""
    kind: str = ""
    retryable: bool | None = None
    """From the handler's own error; with ``error`` the reply to a request that is given up."""
    answer: ReplyContent | None = None
    """The reply to send before the ack."""
    cause: BaseException | None = None
    """The error of the handler, where it is known as more than a text."""


ACK = Verdict("ack")
LATER = Verdict("ack")
"""The ack of a group's member whose handler goes on: sent once its end is recorded, so that a kill loses nothing.

It equals ``ACK``: compare by ``is``.
"""
RELEASE = Verdict("release")
CANCELLED = Verdict("ack", reason="cancelled", error="the message was cancelled", kind="Canceled", retryable=False)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again and when to give up."""

    backoff: Backoff = field(default_factory=Backoff)
    max_attempts: int = 5
    has_dead_letter: bool = False
    drops_expired: bool = False
    rules: RetryRules = field(default_factory=RetryRules)
    max_delay: float = inf
    """Longest delay that the driver can keep, in seconds."""
    shortest_snooze: float = 0.0
    """Seconds: in a queue with a rate a message whose handler has started is postponed, never simply released."""
    clock: Clock = field(default_factory=SystemClock, compare=False)
    """Tells how long it is until a time that a handler names."""

    def delay(self, value: object) -> float:
        """Seconds until a handler's message is due again, which it gives as a duration or as a time (0: it has passed).

        Raises:
            ValueError: neither, a time without a time zone, or too long for the driver.
        """
        if isinstance(value, datetime):
            seconds = max(check_time(value).timestamp() - self.clock.time(), 0.0)
        else:
            seconds = parse_duration(value)
        if seconds > self.max_delay:
            raise ValueError(f"the driver cannot delay messages for longer than {format_duration(self.max_delay)}")
        return seconds

    def snoozed(self, seconds: float) -> Verdict:
        """Not now; nothing failed. A release without a delay would return the part of the rate of a started run."""
        return Verdict("release", max(seconds, self.shortest_snooze))

    def exhausted(self, attempt: int) -> bool:
        """Whether this delivery must not start: recorded starts that ended with their worker used up the attempts.

        A handler that fails is given up at ``max_attempts`` already.
        """
        return self.has_dead_letter and attempt > self.max_attempts

    def worker_died(self, attempt: int) -> Verdict:
        """Give up an exhausted message; without a dead-letter queue none is exhausted."""
        error = f"the worker process died {attempt - 1} times while handling this message (failures included)"
        return Verdict("dead_letter", reason="worker_died", error=error)

    def is_last(self, attempt: int) -> bool:
        """Whether a failure of this attempt ends in the dead-letter queue."""
        return self.has_dead_letter and attempt >= self.max_attempts

    def failed(self, attempt: int, error: str, delay: float | None = None, reason: Reason = "max_attempts") -> Verdict:
        """The handler failed, or requested a retry after ``delay`` seconds (None: the delay of the backoff)."""
        error = _fit(error)
        if self.is_last(attempt):
            return Verdict("dead_letter", reason=reason, error=error)
        return Verdict("nack", self.backoff.delay(attempt) if delay is None else delay, error=error)

    def rejected(self, reason: Reason, error: str) -> Verdict:
        """The message must never be redelivered; without a dead-letter queue it is kept, with the longest delay."""
        error = _fit(error)
        if self.has_dead_letter:
            return Verdict("dead_letter", reason=reason, error=error)
        if reason == "expired" and self.drops_expired:
            return ACK._replace(reason=reason)
        return Verdict("nack", self.backoff.max_delay, reason=reason, error=error, kept=True)


def _fit(error: str) -> str:
    """As it can be logged, and sent as the reply to a request: an error may quote anything, at any length."""
    return error[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode()
