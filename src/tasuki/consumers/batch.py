"""Batch: deliveries for one call of a handler; when waiting messages become one, and the result of each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.state.jobs import Steps
from tasuki.errors import HandlerError, ResultError
from tasuki.units import When


@dataclass(frozen=True, slots=True)
class Batching:
    """At most ``size`` messages in a batch; the first one waits at most ``wait`` seconds for the others."""

    size: int
    wait: float


def cut(suspects: Sequence[bool], size: int, *, is_due: bool) -> list[int]:
    """The sizes of the batches to hand over now, from the first message on; the messages after them wait on.

    A full batch is always handed over, a smaller one when it is due. A suspect is its own batch, so that a message
    that kills its worker takes no other with it. It does not wait, and neither do the messages before it, so that the
    order is kept.

    Args:
        suspects: for each waiting message, oldest first, whether it is a suspect.
        size: most messages of a batch.
        is_due: the oldest message has waited long enough, and a worker is free.
    """
    sizes: list[int] = []
    count = 0
    for is_suspect in suspects:
        if is_suspect:
            sizes += [count, 1] if count else [1]
            count = 0
        else:
            count += 1
            if count == size:
                sizes.append(count)
                count = 0
    return [*sizes, count] if count and is_due else sizes


class DeliveryBatch(Delivery):
    """One or more deliveries of one consumer, oldest first; facts and settling of the context of its handler.

    ``received`` is the oldest message, and the only one if it is a suspect. ``ack``, ``nack``, ``reject`` and
    ``snooze`` settle all deliveries that are not settled yet.
    """

    __slots__ = ("_deliveries",)

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        first = deliveries[0]
        super().__init__(first.received, first.holder, first.lease_until)
        self._deliveries = deliveries

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """Its deliveries, without those that were settled before its handler started."""
        return self._deliveries

    def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Go on with these deliveries; the others are settled."""
        self._deliveries = deliveries

    def conclude(self, verdict: Verdict) -> bool:
        """Settle the deliveries that are not settled yet, newest first; True if there was one."""
        concluded = [delivery.conclude(verdict) for delivery in reversed(self._deliveries)]
        return any(concluded)

    def end(self) -> None:
        """The handler has returned: it cannot settle its deliveries any more."""
        self.ended = True
        for delivery in self._deliveries:
            delivery.ended = True

    def log_fields(self) -> dict[str, Any]:
        """The fields of each log record about it: its only message's, or the number of messages."""
        if len(self._deliveries) == 1:
            return self._deliveries[0].log_fields()
        return {"consumer": self.consumer, "queue": self.queue, "messages": len(self._deliveries)}

    @property
    def batch(self) -> Sequence[Delivery]:
        return self._deliveries

    @property
    def message(self) -> None:
        return None

    @property
    def attempt(self) -> int:
        return max(delivery.attempt for delivery in self._deliveries)

    @property
    def failures(self) -> int:
        return max(delivery.failures for delivery in self._deliveries)

    @property
    def is_last_attempt(self) -> bool:
        return any(delivery.is_last_attempt for delivery in self._deliveries)

    @property
    def lease_lost(self) -> bool:
        return any(delivery.lost for delivery in self._deliveries)

    @property
    def cancelled(self) -> bool:
        return all(delivery.cancelled for delivery in self._deliveries)

    def progress(self, done: float, total: float | None, note: str) -> None:
        for delivery in self._deliveries:
            delivery.progress(done, total, note)

    def steps(self) -> Steps:
        problem = "a batch has no steps; each of its messages has: context.batch[0].step(…)"
        raise HandlerError(problem, kind="Invalid", retryable=False)

    def ack(self) -> None:
        for delivery in self._open():
            delivery.ack()

    def nack(self, due: When | None = None) -> None:
        for delivery in self._open():
            delivery.nack(due)

    def reject(self, reason: str = "") -> None:
        for delivery in self._open():
            delivery.reject(reason)

    def snooze(self, due: When) -> None:
        for delivery in self._open():
            delivery.snooze(due)

    def _open(self) -> Sequence[Delivery]:
        """The deliveries to settle; if there are none, the first of them says why it cannot be settled."""
        return [each for each in self._deliveries if not each.settled] or self._deliveries[:1]


def results_of(result: Any, count: int) -> Sequence[Any]:
    """One result for each of ``count`` messages, in their order; an exception is the failure of its message.

    None is a success of all, False a failure of all. Anything else but a list or tuple is a success too, but no message
    can be answered with it.

    Raises:
        HandlerError: a list of another length; nothing says then which result belongs to which message.
    """
    if isinstance(result, list | tuple):
        if len(result) != count:
            raise HandlerError(
                f"the handler returned a list of {len(result)} for a batch of {count}: return one result or exception "
                "for each message, in the order of the bodies, or nothing",
                kind="Invalid",
            )
        return result
    if result is None or result is False:
        return [result] * count
    return [ResultError(f"the batch handler returned {type(result).__name__}, not a list of one result each")] * count
