"""Cancelling: skips cancelled messages of a consumer, and interrupts their running handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from tasuki.backoff import is_told, pause_after
from tasuki.consumers.batch import Batch
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.executor import Executor, absorb_cancellation
from tasuki.consumers.handling.pool import Pool, Worker
from tasuki.consumers.settling.replies import cancelled
from tasuki.consumers.settling.verdict import RELEASE
from tasuki.errors import DriverError, safe_text
from tasuki.state.cancelling import RUNNING, WAITING, CancelledIds, answer, is_recorded
from tasuki.state.shared import Controls, SharedState

_log = logging.getLogger("tasuki.consumer")


_RECENT = 10.0
"""Seconds for which a failure counts for health; messages are redelivered within two."""

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition


class Held(Protocol):
    """The messages of a run."""

    pool: Pool
    executor: Executor

    def waiting(self) -> Iterable[Delivery]:
        """The deliveries that have not started."""


class Cancelling:
    """The check before each start; while no message of the queue is cancelled, the pool works without it.

    Args:
        run: whose deliveries they are.
        state: where the records are.
        queue: its name at the broker.
        is_strict: read the record of each message from the store before it starts.
    """

    def __init__(self, run: Held, state: SharedState, queue: str, *, is_strict: bool = False) -> None:
        self._run = run
        self._state = state
        self._queue = queue
        self._is_strict = is_strict
        self._answers: set[asyncio.Task[None]] = set()
        self._close: Callable[[], None] = lambda: None
        self.ids: CancelledIds | frozenset[str] = frozenset()
        """The cancelled messages of the queue."""
        self._failures = 0
        self._failed_at, self._failure = float("-inf"), ""

    def follow(self, controls: Controls) -> None:
        """Obey these controls, which are current, from now on."""
        self.ids = ids = CancelledIds(controls, self._queue, self._hear)
        self._close = ids.close
        self._choose()

    @property
    def problem(self) -> str:
        """Why the records could not be read at the last start, a moment ago; empty: they were; from any thread."""
        return self._failure if self._state.clock.monotonic() - self._failed_at < _RECENT else ""

    def close(self) -> None:
        """Hear of no more."""
        self._close()

    def _choose(self) -> None:
        self._run.pool.use(self._execute if self._is_strict or self.ids else self._run.executor.execute)

    def _hear(self, ids: Collection[str], asker: str) -> None:
        """Records have changed: these ids are cancelled now."""
        self._choose()
        if not ids:
            return
        for worker in self._run.pool.workers:
            if worker.delivery is not None:
                self._interrupt(worker, worker.delivery, ids, asker)
        for delivery in self._run.waiting():
            for each in delivery.deliveries:
                if each.received.id in ids:
                    self._answer(asker, each.received.id, WAITING)

    def _interrupt(self, worker: Worker, delivery: Delivery, ids: Collection[str], asker: str) -> None:
        if not any(each.received.id in ids for each in delivery.deliveries):
            return
        for each in delivery.deliveries:
            if each.received.id in ids:
                self._answer(asker, each.received.id, RUNNING)
        if delivery.cancelled and worker.interrupt("cancel"):
            _log.info("handler %s: its message is cancelled: interrupted", delivery.function,
                      extra=delivery.log_fields())  # fmt: skip

    def _answer(self, asker: str, id: str, where: bytes) -> None:
        if asker:
            task = asyncio.get_running_loop().create_task(
                self._put(asker, id, where), name="answer about a cancelled message"
            )
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _put(self, asker: str, id: str, where: bytes) -> None:
        try:
            await answer(self._state, asker, id, where)
        except DriverError as error:
            _log.debug("cannot say that message %s is cancelled: %s", id, error)

    async def _execute(self, delivery: Delivery, worker: Worker) -> None:
        """As the executor, for the messages that are not cancelled."""
        worker.started = worker.ended = self._run.executor.now()
        left = [each for each in delivery.deliveries if not self._is_cancelled(each)]
        if self._is_strict and left:
            left = await self._ask(left, worker)
        if isinstance(delivery, Batch):
            delivery.keep(left)
        if left or isinstance(delivery, Batch):
            await self._run.executor.execute(delivery, worker)

    def _is_cancelled(self, delivery: Delivery) -> bool:
        """Whether it is, and has been settled for that."""
        id = delivery.received.id
        if id not in self.ids:
            return False
        assert isinstance(self.ids, CancelledIds)
        self._discard(delivery)
        self._answer(self.ids.asker_of(id), id, WAITING)
        return True

    async def _unread(self, error: Exception, delivery: Delivery, worker: Worker) -> None:
        """Wait for the store before the message is released, as its broker redelivers it at once."""
        self._failures, self._failure = self._failures + 1, safe_text(error) or repr(error)
        self._failed_at = self._state.clock.monotonic()
        level = logging.WARNING if is_told(self._failures) else logging.DEBUG
        _log.log(level, "cannot read whether a message is cancelled, so it is released: %s", error,
                 extra=delivery.log_fields())  # fmt: skip
        try:
            await asyncio.sleep(pause_after(error, self._failures))
        except asyncio.CancelledError:
            if worker.cause is None:
                raise

    def _discard(self, delivery: Delivery) -> None:
        delivery.conclude(cancelled(delivery.received))
        delivery.ended = True

    async def _ask(self, deliveries: Sequence[Delivery], worker: Worker) -> list[Delivery]:
        """The messages that have no record in the store; the others are settled."""
        worker.started = float("inf")  # the handler's time has not begun
        found: list[bool] | None = None
        try:
            found = await is_recorded(self._state, self._queue, [each.received.id for each in deliveries])
            self._failures, self._failure = 0, ""
        except Exception as error:  # a defect of the store must not end the consumer
            await self._unread(error, deliveries[0], worker)
        except asyncio.CancelledError:
            if worker.cause is None:
                raise
        if worker.cause is not None:
            await absorb_cancellation(worker)
            found = None
        worker.started = self._run.executor.now()
        left: list[Delivery] = []
        for index, each in enumerate(deliveries):
            if self._is_cancelled(each):
                continue
            if found is None:
                each.conclude(RELEASE)
                each.ended = True
            elif found[index]:
                self._discard(each)
            else:
                left.append(each)
        return left


def cancelling_of(run: Held, consumer: Definition) -> Cancelling | None:
    """The check of a run; None: the queue has no state."""
    state, queue = consumer.state, consumer.queue
    if state is None:
        return None
    return Cancelling(run, state, queue.spec.name, is_strict=queue.policy.cancels_strictly)
