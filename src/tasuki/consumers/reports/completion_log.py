"""Log messages that are complete: a line each, or one for all of a second if they are many.

A failure is logged as a warning with its traceback, a dead letter as an error: neither needs a second line.
The level of the logger decides: at ``DEBUG`` each message has its line, at ``INFO`` up to ten a second.
"""

from __future__ import annotations

import asyncio
import logging
from math import ceil
from typing import TYPE_CHECKING, Any

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.reports.reporting import name_of
from tasuki.consumers.settling.verdict import ACK, Verdict
from tasuki.consumers.surroundings import Settle, Surrounding
from tasuki.contracts.handler import Retry
from tasuki.message import MESSAGE_TYPE
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition

log = logging.getLogger("tasuki.message")

_EACH = 10
"""Lines in a second of one consumer; further messages are counted, and the second after it is counted as a whole."""

_SECOND = 1.0

_MOST_TIMES = 1_024
"""Handler times of a second that its percentiles are computed of; of more messages every second, fourth, … is taken."""

_WORDS = {"done": "done", "failed": "retried", "discard": "discarded"}

_SAID = ("queue", "message_id", "attempt", "task", "seconds")

_MOST_SHOWN = 100
"""Characters of a task's name."""


class CompletionLog(Surrounding):
    """The log of one run of a consumer; a report as well, see :class:`tasuki.consumers.reports.reporting`.

    A message that is counted, and acked after its handler, costs one call.
    """

    def __init__(self, consumer: Definition) -> None:
        self._consumer, self._queue, self._metrics = consumer.id, consumer.queue.id, consumer.metrics
        self._monotonic = consumer.clock.monotonic
        self._has_all = log.isEnabledFor(logging.DEBUG)
        self._left = _EACH
        self._until = float("-inf")
        self._summary: asyncio.TimerHandle | None = None
        """Writes the line of the second; None: messages have lines of their own."""
        self._begin()

    def _begin(self) -> None:
        """Count from nothing."""
        self._counts: dict[str, int] = {}
        self._done = self._mask = 0
        self._times: list[float] = []
        self._failed = self._metrics.failed

    def around_settle(self, settle: Settle) -> Settle:
        """``settle``, and then the line, or the count."""

        def logged(delivery: Delivery, verdict: Verdict) -> None:
            settle(delivery, verdict)
            if verdict is ACK and self._summary is not None and delivery.ended_at >= 0:
                self._done += 1
                if not self._done & self._mask:
                    self._add_time(delivery.ended_at - delivery.started_at)
            else:
                self.ended(delivery, verdict, self._seconds_of(delivery))

        return logged

    def begun(self, delivery: Delivery) -> None:
        """Nothing is written yet."""

    def ended(self, delivery: Delivery, verdict: Verdict, seconds: float | None) -> None:
        """Write the line, or count it."""
        name = name_of(verdict)
        if name not in _WORDS or (name == "failed" and _has_warning(verdict)):
            return
        word = "cancelled" if verdict.reason == "cancelled" else _WORDS[name]
        if self._may_write():
            _write(word, delivery, verdict, None if verdict.reason == "expired" else seconds)
        elif word == "done":
            self._done += 1
            if seconds is not None:
                self._add_time(seconds)
        else:
            self._counts[word] = self._counts.get(word, 0) + 1

    def _seconds_of(self, delivery: Delivery) -> float | None:
        """How long its handler has run; None: it has not."""
        if delivery.started_at < 0:
            return None
        ended = delivery.ended_at if delivery.ended_at >= 0 else self._monotonic()  # it may settle its message itself
        return ended - delivery.started_at

    def _may_write(self) -> bool:
        """Whether a message has its own line."""
        if self._has_all:
            return True
        if self._summary is not None:
            return False
        now = self._monotonic()
        if now >= self._until:
            self._until, self._left, self._failed = now + _SECOND, _EACH, self._metrics.failed
        self._left -= 1
        if self._left >= 0:
            return True
        self._summary = asyncio.get_running_loop().call_later(self._until - now, self._sum_up)
        return False

    def _add_time(self, seconds: float) -> None:
        self._times.append(seconds)
        if len(self._times) >= _MOST_TIMES:
            del self._times[::2]
            self._mask = self._mask * 2 + 1

    def _sum_up(self) -> None:
        """Write the line of a second; go on with the next one unless few messages came."""
        is_busy = self._write_summary() > _EACH
        self._summary = asyncio.get_running_loop().call_later(_SECOND, self._sum_up) if is_busy else None

    def close(self) -> None:
        """Write the last counts."""
        if self._summary is not None:
            self._summary.cancel()
            self._summary = None
            self._write_summary()

    def _write_summary(self) -> int:
        """Returns how many messages were counted; failures among the counts have lines of their own."""
        done, others, times = self._done, self._counts, sorted(self._times)
        counts = {"done": done, "failed": self._metrics.failed - self._failed, **others}
        self._begin()
        if not (counted := done + sum(others.values())):
            return 0
        counts = {word: count for word, count in counts.items() if count}
        parts = [f"{word} {count:,}" for word, count in counts.items()]
        first, _, rest = parts[0].partition(" ")
        line = ", ".join([f"{first} {self._queue} {rest}", *parts[1:]])
        fields: dict[str, Any] = {"consumer": self._consumer, "queue": self._queue, **counts}
        if times:
            middle, high = (times[ceil(len(times) * share) - 1] for share in (0.5, 0.99))
            fields |= {"p50": round(middle, 6), "p99": round(high, 6)}
            line += f", {_took(middle)} p50, {_took(high)} p99"
        _handle(line, fields, ("queue", *counts, "p50", "p99"))
        return counted


def _write(word: str, delivery: Delivery, verdict: Verdict, seconds: float | None) -> None:
    task = str(delivery.received.headers.get(MESSAGE_TYPE, ""))[:_MOST_SHOWN]
    fields = {**delivery.log_fields(), "task": task or None, "seconds": seconds and round(seconds, 6)}
    _handle(line_of(word, delivery, task, verdict, seconds), fields, _SAID)


def _handle(line: str, fields: dict[str, Any], said: tuple[str, ...]) -> None:
    """As log.info, but without a search for the caller, a third of the time of a line."""
    if not log.isEnabledFor(logging.INFO):  # no longer, or the logger is disabled
        return
    record = logging.getLogRecordFactory()(log.name, logging.INFO, __file__, 0, line, (), None)
    vars(record).update(fields, said=said)
    log.handle(record)


def _has_warning(verdict: Verdict) -> bool:
    """Whether a nack is a failure, and neither ``Retry`` nor the handler's own nack."""
    return bool(verdict.error) and not isinstance(verdict.cause, Retry)


def line_of(word: str, delivery: Delivery, task: str, verdict: Verdict, seconds: float | None) -> str:
    """``done app:mails 0197… fetch, attempt 1, 12 ms``; of a nack with what follows, and why."""
    head = " ".join(filter(None, (word, delivery.queue, delivery.received.id, task)))
    parts = [head, f"attempt {delivery.received.attempt}", *([] if seconds is None else [_took(seconds)])]
    line = ", ".join(parts)
    if verdict.action == "ack":
        return line
    follows: str = verdict.reason if verdict.action == "dead_letter" else ""
    if verdict.action == "nack" and not (verdict.kept and not verdict.delay):
        follows = f"again in {format_duration(round(verdict.delay, 2))}"
    why = verdict.error.partition("\n")[0]
    return line + (f"; {': '.join(filter(None, (follows, why)))}" if follows or why else "")


def _took(seconds: float) -> str:
    if seconds < 0.0001:
        return "under 0.1 ms"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
