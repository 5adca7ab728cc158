"""The observer contract: the events of every message, for metrics, traces and tools."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasuki.contracts.context import Facts
from tasuki.contracts.driver import Outgoing, Receipt, Settlement
from tasuki.errors import DriverError


class Observer:
    """Is notified of messages in the worker's event loop: return soon. Override what you need: nothing else is called.

    An error that an observer raises is logged once for each method, and changes nothing for the message.
    """

    def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
        """The broker has answered for one batch.

        Args:
            queue: id of the queue.
            messages: the batch; not to be changed.
            errors: one for each message, None where it is confirmed. A message that did not fit into a full queue is
                tried again, and then reported again. A unique message for which another one was kept is not reported:
                it was not stored.
        """

    def on_start(self, facts: Facts) -> None:
        """A handler starts; ``facts`` are its message, attempt, queue, consumer and function."""

    def on_end(self, facts: Facts, seconds: float, error: BaseException | None) -> None:
        """The handler has ended: with ``error``, which may be a signal such as Retry, or None if it returned.

        Args:
            facts: the same object as at its start.
            seconds: for which it ran, its middleware included.
            error: what it raised; not to be raised again.
        """

    def on_settled(self, consumer: str, batch: Sequence[Settlement], stale: Collection[Receipt]) -> None:
        """A consumer no longer holds these deliveries: the broker has answered, or the attempt was given up.

        Args:
            consumer: its id.
            batch: one Ack, Nack or Release for each delivery.
            stale: the receipts in the batch that the broker did not accept, as their lease was lost or it did not
                answer in time: those messages are redelivered, or are with another consumer already.
        """
