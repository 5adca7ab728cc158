"""Executor: handles one delivery, step by step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasuki.consumers.delivery import Delivery, Holder
from tasuki.consumers.handling.callee import Callee, decoder_by_header, refusing
from tasuki.consumers.handling.idempotency import AlreadyDone
from tasuki.consumers.handling.outcome import (
    Conclusion,
    Ending,
    Outcome,
    conclusion,
    failed,
    outcome_of,
)
from tasuki.consumers.handling.pool import PoolWorker
from tasuki.consumers.handling.tasks import RuledHolder, TaskHandlers, TaskHolder
from tasuki.consumers.reach.host_reach import HostReach
from tasuki.consumers.settling.replies import cancelled, discarded, failure
from tasuki.consumers.settling.verdict import ACK, CANCELLED, RELEASE, ReplyContent, Verdict
from tasuki.consumers.surroundings import Handle, Surrounding, within
from tasuki.contracts.handler import Context, Handler
from tasuki.errors import (
    CodecError,
    DriverError,
    InvalidBodyError,
    ResultError,
    UnknownArgumentError,
    text_of,
)
from tasuki.handlers.threads import is_from_outside, refuse_exit
from tasuki.message import (
    CONTENT_TYPE,
    EXPIRES_AT,
    GROUP,
    MESSAGE_TYPE,
    NOTED,
    REPLY_TO,
    RULES,
    HeaderValue,
    Message,
    wants_answer,
)
from tasuki.observe.log import HANDLED
from tasuki.observe.trace import CURRENT
from tasuki.observe.tracebacks import from_user
from tasuki.queues.messages.rules import rules_of
from tasuki.tracing.rules import HandlerCall
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition

_log = logging.getLogger("tasuki.consumer")

_is_plain, _set_handled = NOTED.isdisjoint, HANDLED.set
_START_PAUSE = 0.5
"""Seconds before a suspect is released if its start cannot be recorded; the broker redelivers it at once."""


class Executor:
    """Runs a consumer's handler and derives the verdict from its outcome.

    ``execute`` raises only what must end its worker: an error from outside, as the cancellation of its task.
    """

    def __init__(self, consumer: Definition, holder: Holder, surroundings: Sequence[Surrounding]) -> None:
        self._queue = queue = consumer.queue
        self._holder = holder
        self._surroundings, self._is_batch = surroundings, consumer.options.batch is not None
        self._metrics, self._events = consumer.metrics, consumer.events
        self._clock = consumer.clock
        self._monotonic = self.now = consumer.clock.monotonic
        self._auto_ack = consumer.options.auto_ack
        self._handler_timeout = consumer.options.handler_timeout
        self._verify = None if queue.signer is None else queue.signer.verify
        self.use(consumer.handler)

    def use(self, handler: Handler) -> None:
        """Handle later deliveries with this handler; running ones keep theirs. One that raises changes nothing."""
        only: Callee | None = None
        tasks: dict[HeaderValue | None, Callee] = {}
        if not isinstance(handler, TaskHandlers):
            only = self._callee_of(handler, self._holder, self._handler_timeout)
        else:
            for name, task in handler.tasks.items():
                holder = TaskHolder(self._holder, task, self._queue)
                holder.callee = tasks[name] = self._callee_of(task.handler, holder, task.handler_timeout)
            if handler.default is not None:
                tasks[None] = self._callee_of(handler.default, self._holder, self._handler_timeout)
        self._callee = only
        """The only function; None: there are tasks."""
        self._tasks = tasks

    def _callee_of(self, handler: Handler, holder: Holder, limit: float | None) -> Callee:
        needs_context = handler.needs_context or any(part.needs_context for part in self._surroundings)
        call = HandlerCall(float("inf") if limit is None else limit, self._monotonic, self._is_batch, needs_context)
        own = self.handle_of(handler)
        handle = within(self._surroundings, lambda part, inner: part.around_handle(inner, call), own)
        decode, decode_as = handler.decoder(self._queue.reader()), decoder_by_header(handler, self._queue)
        return Callee(decode, decode_as, handle, HostReach(holder), holder, limit, needs_context)

    @staticmethod
    def handle_of(handler: Handler) -> Handle:
        """The function of a handler that a message is given to."""
        return handler.handle

    def _choose(self, delivery: Delivery, worker: PoolWorker) -> Callee:
        """The function for a message, among the tasks; its rules are the delivery's from here on."""
        received = delivery.received
        callee = self._tasks.get(received.headers.get(MESSAGE_TYPE))
        if callee is None:
            known = [str(name) for name in self._tasks if name is not None]
            return refusing(received, known, self._holder, HostReach(self._holder))
        delivery.holder, worker.limit = callee.holder, callee.limit
        return callee

    async def execute(self, delivery: Delivery, worker: PoolWorker) -> None:
        """Admit, verify, record, decode, ack, handle, conclude; a step that a message does not need costs no call.

        One check admits the common message: first delivery, lease ours, no header with a meaning for it. The start of
        a suspect is recorded before its body is decoded: the types of the body are the user's, and may end the worker.
        """
        received = delivery.received
        headers = received.headers
        is_plain = _is_plain(headers)
        started = delivery.started_at = worker.started = self._monotonic()
        callee = self._callee or self._choose(delivery, worker)
        if (
            received.attempt > 1
            or delivery.lease_until <= started
            or delivery.lost
            or (not is_plain and (EXPIRES_AT in headers or RULES in headers))
        ) and not self._admit(delivery, started):
            worker.ended = started
            return
        if self._verify is not None and (problem := self._verify(received)) is not None:
            _refuse(delivery, worker, delivery.holder.policy.rejected("unsigned", problem))
            return
        if received.suspect and not self._auto_ack and not await self._prepare(delivery, worker):
            return
        try:
            body = callee.decode(received.body) if CONTENT_TYPE not in headers else callee.decode_as(received)
        except BaseException as error:
            _refuse(delivery, worker, self._undecodable(delivery, error))
            return
        if self._auto_ack and not await self._prepare(delivery, worker):
            return
        try:
            # Where nothing looks at a context, the tracing finds the facts of one in its place.
            context: Any = Context(delivery, delivery, callee.reach) if callee.needs_context else delivery
            _set_handled(delivery)
            if not is_plain:
                CURRENT.set(headers)
            result = await callee.handle(body, context)
            verdict = self._verdict(delivery, worker, "false") if result is False else ACK
        except BaseException as error:
            verdict, result = self._of_error(delivery, worker, error), error
        finally:
            worker.ended = delivery.ended_at = self._monotonic()
            self._metrics.ran(received, started, worker.ended)
        if worker.cause is not None:
            await absorb_cancellation(worker)
        if not is_plain and _left(received):
            self._conclude_request(delivery, verdict, result)
        else:
            delivery.conclude(verdict)
        delivery.ended = True

    def _admit(self, delivery: Delivery, now: float) -> bool:
        """Whether the handler may get it: the lease is ours, attempts are left, it has not expired."""
        received = delivery.received
        if (rules := rules_of(received.headers)) is not None:
            delivery.holder = RuledHolder(delivery.holder, rules)
            self._holder.timeouts.keep(rules.handler_timeout)
        if received.attempt > 1:
            self._metrics.redelivered += 1
        if delivery.lost or delivery.lease_until <= now:
            self._metrics.lease_lost += not delivery.lost  # else the keeper has counted it
            delivery.conclude(RELEASE)  # stale at the broker unless the lease is still ours after all
            return False
        if received.attempt > 1 and delivery.holder.policy.exhausted(received.attempt):
            delivery.conclude(delivery.holder.policy.worker_died(received.attempt))
            return False
        if EXPIRES_AT in received.headers:
            expires_at = received.headers[EXPIRES_AT]
            if isinstance(expires_at, int | float) and expires_at <= self._clock.time():
                self._metrics.expired += 1
                if delivery.holder.policy.drops_expired:
                    self._metrics.dropped += 1
                verdict = delivery.holder.policy.rejected("expired", "its time to live has passed")
                delivery.conclude(discarded(received, verdict))
                return False
        return True

    def _undecodable(self, delivery: Delivery, error: BaseException) -> Verdict:
        if isinstance(error, InvalidBodyError) and not isinstance(error, UnknownArgumentError):
            return delivery.holder.policy.rejected("invalid", str(error))
        if isinstance(error, CodecError):
            return delivery.holder.policy.rejected("undecodable", f"{error}; {self._queue.how_read(delivery.received)}")
        if is_from_outside(error):
            raise error
        # Raised by another package's codec, or by the body's own type: __post_init__, a converter, a validator.
        error = error if isinstance(error, Exception) else refuse_exit(error, "the decoding")
        return self._noted(delivery, failed(delivery.holder.policy, delivery.received.attempt, text_of(error), error))

    async def _prepare(self, delivery: Delivery, worker: PoolWorker) -> bool:
        """Ack a message first, or record the start of a suspect; False: that failed or we stop, do not run it."""
        worker.started = float("inf")  # the handler's time has not begun
        try:
            may_run = await (delivery.acked_first() if self._auto_ack else self._record_start(delivery))
        except asyncio.CancelledError:
            if worker.cause is None:
                raise
            may_run = False
        if worker.cause is not None:
            await absorb_cancellation(worker)
            may_run = False
        if not may_run:
            delivery.conclude(RELEASE)
            worker.ended, delivery.ended = delivery.started_at, True
        worker.started = self._monotonic()
        return may_run

    async def _record_start(self, delivery: Delivery) -> bool:
        """Record at the broker that the handler of a suspect begins; False: the message is not ours to handle."""
        received = delivery.received
        if received.attempt == 1:
            self._metrics.redelivered += 1
        try:
            stale = await self._queue.driver.start(self._queue.spec.name, [received.receipt])
        except DriverError as error:
            _log.warning("cannot record the start of a message that may have killed its worker, so it is released: %s",
                         error, extra=delivery.log_fields())  # fmt: skip
            await asyncio.sleep(_START_PAUSE)
            return False
        if stale:
            delivery.drop()
        return not stale

    def _of_error(self, delivery: Delivery, worker: PoolWorker, error: BaseException) -> Verdict:
        if isinstance(error, AlreadyDone):
            return Verdict("ack", answer=ReplyContent(error.result))
        task = asyncio.current_task()
        outcome = outcome_of(error, is_task_cancelled=task is not None and task.cancelling() > 0)
        if outcome == "signal" and delivery.settled:
            _log.warning("handler %s raised %s after its message was settled: it has no effect", delivery.function,
                         type(error).__name__, extra=delivery.log_fields())  # fmt: skip
        return self._verdict(delivery, worker, outcome, error)

    def _verdict(
        self, delivery: Delivery, worker: PoolWorker, outcome: Outcome, error: BaseException | None = None
    ) -> Verdict:
        """The verdict of the table; counts and logs a failure. Raises the error if the worker cannot go on."""
        concluded = self._conclusion(delivery, worker, outcome, error)
        if concluded.failure:
            self._noted(delivery, concluded)
        if concluded.ends_worker and error is not None:
            if concluded.failure:
                delivery.conclude(concluded.verdict)
                delivery.ended = True
            if delivery.was_acked:
                delivery.holder.answer(delivery, None)
            raise error
        return concluded.verdict

    def _conclusion(
        self, delivery: Delivery, worker: PoolWorker, outcome: Outcome, error: BaseException | None
    ) -> Conclusion:
        cause = worker.cause
        # While the loop is blocked, only its watch can interrupt a function in a thread, without setting a cause.
        if cause is None and outcome == "interrupted" and self._is_overdue(worker):
            cause = "timeout"
        if delivery.cancelled and (cause is not None or outcome not in ("task_cancelled", "closed")):
            cause = "cancel"  # whatever else has ended the handler
        ending = Ending(outcome, error, delivery.received.attempt, worker.most or 0.0)
        return conclusion(delivery.holder.policy, ending, cause)

    def _is_overdue(self, worker: PoolWorker) -> bool:
        limit = worker.most
        return limit is not None and worker.started <= self._monotonic() - limit

    @staticmethod
    def _conclude_request(delivery: Delivery, verdict: Verdict, result: Any) -> None:
        """Conclude with a reply; if the message is settled already, only send the reply."""
        if verdict is ACK:
            is_unfit = type(result) is ResultError
            verdict = Verdict("ack", answer=ReplyContent(None, unfit=str(result)) if is_unfit else ReplyContent(result))
        elif verdict is CANCELLED:
            verdict = cancelled(delivery.received)
        if not delivery.conclude(verdict) and delivery.was_acked:
            answer = None if verdict.action == "release" else verdict.answer or failure(verdict)
            delivery.holder.answer(delivery, answer)

    def _noted(self, delivery: Delivery, concluded: Conclusion) -> Verdict:
        """Count and log a failure."""
        verdict, (text, error) = concluded.verdict, concluded.logged
        self._events.add_error(text, delivery.received.id, delivery.received.attempt)
        self._metrics.fail(concluded.error)
        self._metrics.timed_out += concluded.is_timeout
        if delivery.settled:
            what = "after its message was settled"
        elif verdict.action == "dead_letter":
            what = "given up"
        else:
            what = f"retried in {format_duration(round(verdict.delay, 2))}"
        _log.warning("handler %s failed, %s: %s", delivery.function, what, text, exc_info=from_user(error),
                     extra=delivery.log_fields())  # fmt: skip
        return verdict


def _left(received: Message) -> bool:
    """Leave the trace of a message; whether its result goes to anyone."""
    CURRENT.set(None)
    return (REPLY_TO in received.headers or GROUP in received.headers) and wants_answer(received)


async def absorb_cancellation(worker: PoolWorker) -> None:
    """Undo a cancellation that was meant for the handler, even if the handler had just ended by itself."""
    task = asyncio.current_task()
    if task is not None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        while task.cancelling():
            task.uncancel()
    worker.cause = None  # only now: until here another cancellation may arrive for the ended handler


def _refuse(delivery: Delivery, worker: PoolWorker, verdict: Verdict) -> None:
    """Conclude a delivery whose handler is not called: it has run for no time."""
    worker.ended = worker.started
    delivery.conclude(verdict)
