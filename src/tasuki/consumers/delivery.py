"""Delivery: one arrival of a message at one consumer, settled exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from logging import Logger, LoggerAdapter
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.consumers.reach.host import Host
from tasuki.consumers.settling.verdict import ACK, LATER, ReplyContent, RetryPolicy, Verdict
from tasuki.contracts.context import NO_VALUES
from tasuki.contracts.driver import Received
from tasuki.contracts.state.jobs import OpenTransaction, Progress, Steps
from tasuki.errors import HandlerError
from tasuki.message import Message, is_member
from tasuki.observe.trace import Headers, OpenSpan, trace_of
from tasuki.units import When

if TYPE_CHECKING:
    from tasuki.security.guard import Guard


class LimitKeeper(Protocol):
    """Interrupts the handlers that run too long."""

    def keep(self, limit: float | None) -> None:
        """Keep a ``handler_timeout`` from now on, in seconds; None: there is none."""


class ResultKeeper(Protocol):
    """Keeps what handlers return, and how far they are."""

    def note(self, delivery: Delivery, progress: Progress) -> bool:
        """Note how far the handler of a delivery is; from any thread. Whether the note is to be written."""

    def write_note(self, delivery: Delivery) -> None:
        """Write the last note now or soon; in the loop of the run."""


class RecordedSteps(Steps, Protocol):
    """Steps whose record ends with the message; see :class:`tasuki.flow.steps.MessageSteps`."""

    @property
    def paused(self) -> float | None:
        """Seconds for which the message is to be postponed; None: its handler goes on."""

    @property
    def awaited(self) -> object:
        """What it waits for; None: nothing."""

    async def is_signalled(self) -> bool:
        """Whether the signal that it waits for was given meanwhile."""

    async def forget(self) -> None:
        """Delete the record."""


class StepKeeper(Protocol):
    """Keeps the steps of deliveries."""

    def open(self, delivery: Delivery) -> RecordedSteps:
        """The steps of a delivery. Raises HandlerError (Invalid), UnsupportedError: it can have none."""


class OwnTransaction(Protocol):
    """The transaction of a delivery that its handler has open."""

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Settle the delivery so once the transaction is over. Raises HandlerError (Invalid): it is an ack."""


class TransactionOpener(Protocol):
    """Opens transactions for the handlers of deliveries."""

    def open(self, delivery: Delivery, connection: Any, *, sync: bool) -> AbstractAsyncContextManager[OpenTransaction]:
        """See :meth:`tasuki.contracts.handler.Context.transaction`."""


class Holder(Protocol):
    """What a delivery needs to know of the consumer that holds it."""

    id: str
    queue_id: str
    policy: RetryPolicy
    stopping: bool
    loop: asyncio.AbstractEventLoop
    thread: int

    @property
    def timeouts(self) -> LimitKeeper:
        """Keeps the limits of its handlers."""

    @property
    def cancelled(self) -> Container[str]:
        """Ids of the cancelled messages of its queue."""

    @property
    def results(self) -> ResultKeeper | None:
        """Keeps what its handlers return; None: nothing is kept."""

    @property
    def stepping(self) -> StepKeeper:
        """Keeps the steps of its messages."""

    @property
    def transacting(self) -> TransactionOpener:
        """Opens the transactions of its handlers."""

    @property
    def function_id(self) -> str:
        """Id of the function that handles now."""

    @property
    def give_up(self) -> Callable[[Delivery, Verdict], Awaitable[None]] | None:
        """Called before a message is dead-lettered; None: nothing is."""

    @property
    def host(self) -> Host:
        """The project in force."""

    @property
    def guard(self) -> Guard | None:
        """The consumer's rights; None: all."""

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Carry out the verdict; called once per delivery, in the loop's thread."""

    def drop(self, delivery: Delivery) -> None:
        """Forget a delivery that the broker has taken back."""

    def answer(self, delivery: Delivery, answer: ReplyContent | None) -> None:
        """Reply to a message that is settled already; None: its handler was cut off, and its end is not known."""

    async def ack(self, delivery: Delivery) -> bool:
        """Ack and wait until the broker has taken it; False: it did not, and the message is redelivered."""

    def logger_of(self, delivery: Delivery) -> Logger | LoggerAdapter[Any]:
        """A logger that names the delivery."""


class Delivery:
    """States: open → settled (once), or open → lost when another consumer got the lease.

    Facts and settling of its handler's context.
    """

    __slots__ = (
        "ended", "ended_at", "holder", "lease_until", "lost", "own_span", "own_steps", "own_transaction", "received",
        "received_at", "settled", "started_at", "was_acked",
    )  # fmt: skip

    own_span: OpenSpan
    """Absent unless its trace is recorded."""
    own_steps: RecordedSteps
    """Absent until its handler has one."""
    own_transaction: OwnTransaction
    """There only while its handler has one open."""

    def __init__(self, received: Received, holder: Holder, lease_until: float, received_at: float = -1.0) -> None:
        self.received = received
        self.received_at = received_at
        """Monotonic time at which it came; negative: it is not known."""
        self.holder = holder
        self.lease_until = lease_until
        """Monotonic time until which it is surely ours; the keeper moves it."""
        self.settled = False
        self.was_acked = False
        """Settled by an ack, so that its handler may still owe a reply."""
        self.lost = False
        self.ended = False
        self.started_at = self.ended_at = -1.0
        """Monotonic times at which its handler started and ended; negative: it has not."""

    def conclude(self, verdict: Verdict) -> bool:
        """Settle unless that has happened; True for the call that did it. Only in the loop's thread."""
        if self.settled:
            return False
        self.settled = True
        self.was_acked = verdict.action == "ack"
        self.holder.settle(self, verdict)
        return True

    def conclude_early(self) -> bool:
        """Ack while its handler goes on; see ``conclude``. A member's ack is sent after the record of its end."""
        return self.conclude(LATER if is_member(self.received) else ACK)

    def drop(self) -> None:
        """Forget a delivery that the broker reported as stale, without settling it."""
        if not self.settled:
            self.settled = True
            self.holder.drop(self)
            self.lost = True

    async def acked_first(self) -> bool:
        """Ack, and wait for it, before the handler runs; False: the message is not ours to handle."""
        self.settled = self.was_acked = True
        return await self.holder.ack(self)

    def log_fields(self) -> dict[str, Any]:
        """The fields of each log record about it."""
        fields = {
            "consumer": self.consumer,
            "queue": self.queue,
            "message_id": self.received.id,
            "attempt": self.received.attempt,
        }
        trace = trace_of(self.received)
        return fields if trace is None else {**fields, "trace": trace}

    @property
    def trace(self) -> Headers:
        """The headers that continue its trace after its handler."""
        return self.own_span.headers if hasattr(self, "own_span") else self.received.headers

    @property
    def function(self) -> str:
        return self.holder.function_id

    @property
    def message(self) -> Message | None:
        return self.received

    @property
    def batch(self) -> Sequence[Delivery]:
        return ()

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """Itself; of a batch the deliveries that it consists of."""
        return (self,)

    @property
    def attempt(self) -> int:
        return self.received.attempt

    @property
    def failures(self) -> int:
        return self.received.attempt - 1 - self.received.deaths

    @property
    def is_last_attempt(self) -> bool:
        return self.holder.policy.is_last(self.received.attempt)

    @property
    def queue(self) -> str:
        return self.holder.queue_id

    @property
    def consumer(self) -> str:
        return self.holder.id

    @property
    def stopping(self) -> bool:
        return self.holder.stopping

    @property
    def lease_lost(self) -> bool:
        return self.lost

    @property
    def cancelled(self) -> bool:
        return self.received.id in self.holder.cancelled

    @property
    def in_transaction(self) -> bool:
        """Whether its handler has a transaction open."""
        return hasattr(self, "own_transaction")

    @property
    def values(self) -> Mapping[str, Any]:
        return NO_VALUES

    @property
    def logger(self) -> Logger | LoggerAdapter[Any]:
        return self.holder.logger_of(self)

    @property
    def keeps_result(self) -> bool:
        return self.holder.results is not None

    def progress(self, done: float, total: float | None, note: str) -> None:
        if hasattr(self, "own_span"):
            self.own_span.event("progress", {"done": done, "note": note, **({} if total is None else {"total": total})})
        # Noted at once: the end of the function may be seen before what its thread tells the loop.
        if (results := self.holder.results) is None or not results.note(self, Progress(done, total, note)):
            return
        if threading.get_ident() == self.holder.thread:
            results.write_note(self)
        else:
            self.holder.loop.call_soon_threadsafe(results.write_note, self)

    @property
    def is_paused(self) -> bool:
        """Whether its handler sleeps or waits, so that its message is redelivered."""
        return hasattr(self, "own_steps") and self.own_steps.paused is not None

    def steps(self) -> Steps:
        if not hasattr(self, "own_steps"):
            self.own_steps = self.holder.stepping.open(self)
        return self.own_steps

    def transaction(self, connection: Any, *, sync: bool) -> AbstractAsyncContextManager[OpenTransaction]:
        return self.holder.transacting.open(self, connection, sync=sync)

    def ack(self) -> None:
        self._settle(ACK)

    def nack(self, due: When | None = None) -> None:
        seconds = None if due is None else self._seconds(due)
        self._settle(self.holder.policy.failed(self.attempt, "nacked by the handler", seconds))

    def reject(self, reason: str = "") -> None:
        self._settle(self.holder.policy.rejected("rejected", str(reason)))

    def snooze(self, due: When) -> None:
        self._settle(self.holder.policy.snoozed(self._seconds(due)))

    def _seconds(self, due: When) -> float:
        try:
            return self.holder.policy.delay(due)
        except ValueError as error:
            raise HandlerError(f"delay: {error}", kind="Invalid", retryable=False) from error

    def _settle(self, verdict: Verdict) -> None:
        if self.in_transaction:
            self.own_transaction.settle(self, verdict)
        else:
            run_in_loop(self.holder, lambda: self._settle_here(verdict))

    def _settle_here(self, verdict: Verdict) -> None:
        if self.ended:
            raise HandlerError("released: the handler has returned", kind="Invalid", retryable=False)
        if not (self.conclude_early() if verdict is ACK else self.conclude(verdict)):
            raise HandlerError("already settled", kind="Invalid", retryable=False)


def run_in_loop(holder: Holder, function: Callable[[], None]) -> None:
    """Run in the thread of the holder's loop, and wait: settlements are decided in one thread only."""
    if threading.get_ident() == holder.thread:
        function()
        return
    done: Future[None] = Future()

    def run() -> None:
        try:
            function()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    try:
        holder.loop.call_soon_threadsafe(run)
    except RuntimeError as error:  # the loop is closed: a thread that outlived its consumer
        raise HandlerError("released: the consumer has stopped", kind="Invalid", retryable=False) from error
    done.result()
