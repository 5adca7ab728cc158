"""Lines: log one line for each message that is done, discarded, or retried at its handler's request.

A failure is logged as a warning with its traceback, a dead letter as an error: neither needs a second line.
"""

from __future__ import annotations

import logging

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.reports.reporting import name_of
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.handler import Retry
from tasuki.message import MESSAGE_TYPE
from tasuki.units import format_duration

log = logging.getLogger("tasuki.message")

_WORDS = {"done": "done", "failed": "retried", "discard": "discarded"}
_CANCELLED = "cancelled"
_SAID = ("queue", "message_id", "attempt", "task", "seconds")
_MOST_SHOWN = 100
"""Characters of a task's name."""


class Lines:
    """A report; see :class:`tasuki.consumers.reports.reporting.Report`."""

    def begun(self, delivery: Delivery) -> None:
        """Nothing is written yet."""

    def ended(self, delivery: Delivery, verdict: Verdict, seconds: float | None) -> None:
        """Write the line."""
        name = name_of(verdict, has_begun=seconds is not None)
        if name in _WORDS and not (name == "failed" and _has_warning(verdict)):
            task = str(delivery.received.headers.get(MESSAGE_TYPE, ""))[:_MOST_SHOWN]
            fields = {**delivery.log_fields(), "task": task or None, "seconds": seconds and round(seconds, 6)}
            word = _CANCELLED if verdict.reason == _CANCELLED else _WORDS[name]
            line = line_of(word, delivery, task, verdict, seconds)
            # As log.info, but without a search for the caller, a third of the time of a line.
            record = logging.getLogRecordFactory()(log.name, logging.INFO, __file__, 0, line, (), None)
            vars(record).update(fields, said=_SAID)
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
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
