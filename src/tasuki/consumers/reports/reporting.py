"""Report the start of a handler and the end of its delivery; log one line for each message that is complete.

A failure is logged as a warning with its traceback, a dead letter as an error: neither needs a second line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.verdict import ACK, CANCELLED, Verdict
from tasuki.consumers.surroundings import Settle, Surrounding
from tasuki.contracts.context import Facts
from tasuki.contracts.handler import Retry
from tasuki.contracts.observer import MomentName, Observer
from tasuki.errors import text_of
from tasuki.message import MESSAGE_TYPE
from tasuki.units import format_duration

_log = logging.getLogger("tasuki.consumer")


class DeliveryReport(Protocol):
    """Is notified of each delivery of a consumer, in its event loop; returns at once."""

    def begun(self, delivery: Delivery) -> None:
        """Its handler starts."""

    def ended(self, delivery: Delivery, verdict: Verdict, seconds: float | None) -> None:
        """It is being settled; ``seconds``: since its handler started, None: it has not."""


class Reporting(Observer, Surrounding):
    """Wraps the settling of one run; logs the errors of reports, and raises none.

    With auto-ack a delivery is settled before its handler runs: then the handler's end is its end.
    """

    def __init__(self, reports: Sequence[DeliveryReport], monotonic: Callable[[], float]) -> None:
        self._reports = reports
        self._monotonic = monotonic
        self._begun: dict[Any, float] = {}

    def around_settle(self, settle: Settle) -> Settle:
        """``settle``, and then the reports."""

        def reported(delivery: Delivery, verdict: Verdict) -> None:
            settle(delivery, verdict)
            started = self._begun.pop(delivery, None)
            self._tell("ended", delivery, verdict, None if started is None else self._monotonic() - started)

        return reported

    def on_start(self, facts: Facts) -> None:
        """See Observer; the facts are a delivery."""
        self._begun[facts] = self._monotonic()
        self._tell("begun", facts)

    def forget(self, delivery: Delivery) -> None:
        """The broker has taken it back."""
        self._begun.pop(delivery, None)

    def _tell(self, method: str, *args: Any) -> None:
        for report in self._reports:
            try:
                getattr(report, method)(*args)
            except Exception:
                _log.exception("a report of messages fails")


class AutoAckReporting(Reporting):
    """The same for a consumer with auto-ack."""

    def on_end(self, facts: Facts, seconds: float, error: BaseException | None) -> None:
        """See Observer."""
        self._begun.pop(facts, None)
        if error is None:
            verdict = ACK
        elif facts.cancelled:
            verdict = CANCELLED
        else:
            verdict = Verdict("nack", error=text_of(error), cause=error, kept=True)
        self._tell("ended", facts, verdict, seconds)


def name_of(verdict: Verdict, *, has_begun: bool) -> MomentName | None:
    """The moment of a verdict; None: the message is only released."""
    if verdict.action == "ack":
        # Not begun: expired, in a queue that drops such messages.
        return "done" if has_begun and verdict.reason != "cancelled" else "discard"
    if verdict.action == "nack":
        return "failed"
    if verdict.action == "dead_letter":
        return "discard" if verdict.reason == "expired" else "give_up"
    return None


log = logging.getLogger("tasuki.message")


_WORDS = {"done": "done", "failed": "retried", "discard": "discarded"}

_CANCELLED = "cancelled"

_SAID = ("queue", "message_id", "attempt", "task", "seconds")

_MOST_SHOWN = 100
"""Characters of a task's name."""


class Lines:
    """A report; see :class:`tasuki.consumers.reports.reporting.DeliveryReport`."""

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
