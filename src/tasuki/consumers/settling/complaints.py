"""Complaints: log failed settlements of a consumer."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Receipt, Release, Settlement

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.settling.verdict import Verdict

_log = logging.getLogger("tasuki.consumer")

_EVERY = 10.0
"""Seconds between two warnings that the broker does not settle yet."""


class Complaints:
    """The complaints of one run of a consumer."""

    def __init__(self, consumer: Definition) -> None:
        self._clock, self._metrics, self._queue = consumer.clock, consumer.metrics, consumer.queue.id
        self._extra = {"consumer": consumer.id, "queue": self._queue}
        self._last = float("-inf")

    def stale(self, batch: Sequence[Settlement], stale: Set[Receipt]) -> None:
        """Count and report settlements that came after their leases were lost."""
        self._metrics.stale += len(stale)
        # A released message was not handled here: another process handles it, once.
        late = sum(each.receipt in stale and not isinstance(each, Release) for each in batch)
        if late:
            _log.warning("%d settled too late: the lease was lost, so the message may be handled twice", late,
                         extra=self._extra)  # fmt: skip

    def given_up(self, batch: Sequence[Settlement], error: Exception) -> None:
        """Settlements that are not tried any more."""
        _log.error("cannot settle %d deliveries; the broker redelivers them when their leases end: %s", len(batch),
                   error, extra=self._extra)  # fmt: skip

    def not_yet(self, error: Exception) -> None:
        """Settlements that are tried again."""
        now = self._clock.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            _log.warning("cannot settle yet: %s", error, extra=self._extra)

    def kept(self, delivery: Delivery, verdict: Verdict) -> None:
        """A message that must never be redelivered, and that no dead-letter queue takes."""
        _log.error("%s: %s; kept for another %g s because queue %s has no dead_letter", verdict.reason, verdict.error,
                   verdict.delay, self._queue, extra=delivery.log_fields())  # fmt: skip
