"""BatchExecutor: handles one batch, step by step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from tasuki.consumers.batch import DeliveryBatch, results_of
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.callee import Callee
from tasuki.consumers.handling.executor import Executor, absorb_cancellation
from tasuki.consumers.handling.outcome import Conclusion, Outcome, outcome_of
from tasuki.consumers.handling.pool import PoolWorker
from tasuki.consumers.settling.verdict import ACK
from tasuki.consumers.surroundings import Handle
from tasuki.contracts.handler import Context, Handler
from tasuki.errors import HandlerError, ResultError
from tasuki.message import wants_answer
from tasuki.observe.log import HANDLED
from tasuki.observe.trace import CURRENT, common
from tasuki.observe.tracebacks import from_user

_log = logging.getLogger("tasuki.consumer")


class BatchExecutor(Executor):
    """Calls the handler once for all messages of a batch, and derives a verdict for each."""

    on_end: Callable[[], None] = staticmethod(lambda: None)
    """Called when a batch has ended, just before its worker is free."""

    @property
    def _only(self) -> Callee:
        assert self._callee is not None  # a consumer has tasks or batches, not both
        return self._callee

    @staticmethod
    def handle_of(handler: Handler) -> Handle:
        """See Executor."""
        return handler.handle_batch

    async def execute(self, delivery: Delivery, worker: PoolWorker) -> None:
        """Sort out what cannot be handled, prepare, handle, conclude each message."""
        assert isinstance(delivery, DeliveryBatch)
        try:
            await self._execute(delivery, worker)
        finally:
            self.on_end()

    async def _execute(self, batch: DeliveryBatch, worker: PoolWorker) -> None:
        worker.started = worker.ended = self._monotonic()
        batch.keep([each for each in batch.deliveries if self._is_ours(each, worker.started)])
        if batch.received.suspect and not self._auto_ack and batch.deliveries:
            (suspect,) = batch.deliveries
            if not await self._prepare(suspect, worker):
                suspect.ended = True
                return
        read = [(each, *body) for each in batch.deliveries if (body := self._read(each)) is not None]
        batch.keep([each for each, _ in read])
        if read and self._auto_ack:
            await self._ack_all_first(batch, worker)
            read = [(each, body) for each, body in read if not each.ended]
            batch.keep([each for each, _ in read])
        if read:
            await self._handle(batch, [body for _, body in read], worker)

    def _is_ours(self, delivery: Delivery, now: float) -> bool:
        """Whether it may be decoded; False: it is settled."""
        if not self._admit(delivery, now):
            return False
        if self._verify is not None and (problem := self._verify(delivery.received)) is not None:
            delivery.conclude(delivery.holder.policy.rejected("unsigned", problem))
            return False
        return True

    def _read(self, delivery: Delivery) -> tuple[Any] | None:
        """The decoded body; None: the message is settled, and not for the handler."""
        try:
            return (self._only.read(delivery.received),)
        except BaseException as error:
            delivery.conclude(self._undecodable(delivery, error))
            return None

    async def _ack_all_first(self, batch: DeliveryBatch, worker: PoolWorker) -> None:
        """Ack all messages first; ends the ones that may not run."""
        worker.started = float("inf")  # the handler's time has not begun
        acked: Sequence[bool] = [False] * len(batch.deliveries)
        try:
            acked = await asyncio.gather(*(each.acked_first() for each in batch.deliveries))
        except asyncio.CancelledError:
            if worker.cause is None:
                raise
        is_interrupted = worker.cause is not None
        if is_interrupted:
            await absorb_cancellation(worker)
        worker.started = self._monotonic()
        for each, is_acked in zip(batch.deliveries, acked, strict=True):
            each.ended = is_interrupted or not is_acked

    async def _handle(self, batch: DeliveryBatch, bodies: list[Any], worker: PoolWorker) -> None:
        count = len(bodies)  # the function may change its list
        results: Sequence[Any]
        raised: BaseException | None = None
        HANDLED.set(batch)
        CURRENT.set(common(each.received.headers for each in batch.deliveries))
        for each in batch.deliveries:
            each.started_at = worker.started
        try:
            result = await self._only.handle(bodies, Context(batch, batch, self._only.reach))
            results = results_of(result, count)
        except ResultError as error:
            raised = HandlerError(f"the results of the batch cannot be read: {error}", kind="Invalid")
            results = [raised] * count
        except BaseException as error:
            results, raised = [error] * count, error
        finally:
            CURRENT.set(None)
            worker.ended = self._monotonic()
            for each in batch.deliveries:
                each.ended_at = worker.ended
            self._metrics.ran_batch((each.received for each in batch.deliveries), worker.started, worker.ended)
        concluded = self._conclude_results(batch, results, worker)
        if worker.cause is not None:
            await absorb_cancellation(worker)
        for each, result, conclusion in concluded:
            if wants_answer(each.received):
                self._conclude_request(each, conclusion.verdict, result)
            else:
                each.conclude(conclusion.verdict)
        batch.end()
        if raised is not None and any(conclusion.ends_worker for _, _, conclusion in concluded):
            raise raised

    def _conclude_results(
        self, batch: DeliveryBatch, results: Sequence[Any], worker: PoolWorker
    ) -> list[tuple[Delivery, Any, Conclusion]]:
        """Delivery, result and conclusion of each message, newest first; counts failures and logs each error once."""
        task = asyncio.current_task()
        is_task_cancelled = task is not None and task.cancelling() > 0
        concluded: list[tuple[Delivery, Any, Conclusion]] = []
        failures: dict[int, list[tuple[Delivery, Conclusion]]] = {}
        for each, result in zip(batch.deliveries, results, strict=True):
            error = result if isinstance(result, BaseException) else None
            if error is None and result is not False:
                concluded.append((each, result, Conclusion(ACK)))
                continue
            outcome: Outcome = "false" if error is None else outcome_of(error, is_task_cancelled=is_task_cancelled)
            conclusion = self._conclusion(each, worker, outcome, error)
            concluded.append((each, result, conclusion))
            if conclusion.failure:
                failures.setdefault(id(result), []).append((each, conclusion))
        for group in failures.values():
            self._note_all(group)
        return concluded[::-1]

    def _note_all(self, group: Sequence[tuple[Delivery, Conclusion]]) -> None:
        """Count the failures of messages with one error, and log the error once."""
        if len(group) == 1:
            self._noted(*group[0])
            return
        delivery, concluded = group[0]
        for one, each in group:
            self._events.add_error(each.logged[0], one.received.id, one.received.attempt)
        self._metrics.timed_out += sum(each.is_timeout for _, each in group)
        given_up = sum(each.verdict.action == "dead_letter" and not one.settled for one, each in group)
        self._metrics.fail(concluded.error, len(group))
        text, error = concluded.logged
        _log.warning(
            "handler %s failed for %d messages of a batch, %d given up: %s",
            delivery.function,
            len(group),
            given_up,
            text,
            exc_info=from_user(error),
            extra={"consumer": delivery.consumer, "queue": delivery.queue, "messages": len(group)},
        )
