"""Report the start of a handler and the end of its delivery."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.verdict import ACK, CANCELLED, Verdict
from tasuki.consumers.surroundings import Settle, Surrounding
from tasuki.contracts.context import Facts
from tasuki.contracts.observer import MomentName, Observer
from tasuki.errors import text_of

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


def name_of(verdict: Verdict) -> MomentName | None:
    """The moment of a verdict; None: the message is only released."""
    if verdict.action == "ack":
        return "discard" if verdict.reason in ("cancelled", "expired") else "done"
    if verdict.action == "nack":
        return "failed"
    if verdict.action == "dead_letter":
        return "discard" if verdict.reason == "expired" else "give_up"
    return None
