"""The contracts of observers and hooks: the events of every message, and the moments of a worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tasuki.contracts.context import Facts
from tasuki.contracts.driver import Outgoing, Receipt, Settlement
from tasuki.errors import DriverError
from tasuki.message import HeaderValue, Message


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


MomentName = Literal["start", "stop", "publish", "begin", "done", "failed", "give_up", "discard"]


@dataclass(slots=True, eq=False)
class Moment:
    """One event. Texts that do not apply are empty, and values None."""

    name: MomentName
    """``start`` and ``stop`` are of the worker process, all others of one message."""
    queue: str = ""
    """Id of the queue."""
    consumer: str = ""
    """Id of the consumer."""
    function: str = ""
    """Id of the function."""
    task: str = ""
    """Name of the task, of a message that names one."""
    message: Message | None = None
    attempt: int = 0
    """Which attempt it is or was, from 1; 0 of a message that is published."""
    seconds: float | None = None
    """For which the handler ran."""
    error: BaseException | None = None
    """Why the publish or the handler failed; a signal such as Retry too."""
    reason: str = ""
    """Why the message is given up or discarded: ``max_attempts``, ``rejected``, ``expired``, ``cancelled`` …"""
    delay: float | None = None
    """Seconds until the next attempt of a message that failed."""
    decode: Callable[[Message], Any] | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The message's id."""
        return "" if self.message is None else self.message.id

    @property
    def headers(self) -> Mapping[str, HeaderValue]:
        """The message's headers."""
        return {} if self.message is None else self.message.headers

    @property
    def body(self) -> Any:
        """The decoded body, of a task its arguments by name; the bytes where they cannot be decoded. Read when used."""
        if self.message is None or self.decode is None:
            return None
        try:
            return self.decode(self.message)
        except Exception:
            return self.message.body
