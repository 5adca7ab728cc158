"""Consumer: the service that takes messages from one queue and treats them with one handler."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.fetcher import Fetcher
from tasuki.consumers.fetching.keeper import Holding, Keeper, lease_of
from tasuki.consumers.fetching.window import Window
from tasuki.consumers.handling.executor import Executor
from tasuki.consumers.handling.overtime import Overtime
from tasuki.consumers.handling.pool import Pool, Worker
from tasuki.consumers.handling.stack import stack_of
from tasuki.consumers.handling.suspects import PROCESS_GATE, Suspects
from tasuki.consumers.reach.host import Host
from tasuki.consumers.settling.replies import Answer
from tasuki.consumers.settling.settler import Settler
from tasuki.consumers.settling.verdict import RELEASE, RetryPolicy, Verdict
from tasuki.contracts.driver import Received, Release, Settlement
from tasuki.contracts.handler import Handler
from tasuki.errors import DriverError, LifecycleError, StopTimeoutError
from tasuki.observe.log import delivery_logger
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.queue import Queue
from tasuki.units import format_duration

if TYPE_CHECKING:
    from types import FrameType

    from tasuki.security.guard import Guard

_log = logging.getLogger("tasuki.consumer")

_CANCEL_GRACE = 1.0
"""Seconds that a cancelled handler has to end before it is left behind."""

_SETTLE_GRACE = 2.5
"""Seconds that the last settlements may take at a stop; with the other graces less than the supervisor's own."""

_END_GRACE = 0.5
"""Seconds that the consumer's own tasks have to end."""


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How a consumer works; times in seconds."""

    concurrency: int = 1
    prefetch: int = 10
    auto_ack: bool = False
    handler_timeout: float | None = None


class Consumer:
    """One queue, one handler, one pool of workers. Start, stop and start again as often as you like."""

    def __init__(
        self,
        id: str,
        *,
        queue: Queue,
        handler: Handler,
        host: Host,
        keeper: Keeper,
        policy: RetryPolicy,
        options: ConsumerOptions,
        dead_letters: Queue | None,
        clock: Clock,
    ) -> None:
        self.id = id
        self.queue = queue
        self.queue_id = queue.id
        self.handler = handler
        self.function_id = handler.id
        self.host = host
        self.guard: Guard | None = None
        """Its rights, and those of what it calls; None: all. Set anew when the project's policies change."""
        self.policy = policy
        self.options = options
        self.metrics = ConsumerMetrics(consumer=id, queue=queue.id, driver=queue.driver.name)
        self.stopping = False
        self.gate = PROCESS_GATE
        self._dead_letters = dead_letters
        self._keeper = keeper
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._handed_back = 0

    async def start(self) -> None:
        """Compile the handler, and begin to receive.

        Raises:
            HandlerError: the handler cannot be used.
            PolicyDeniedError: its actor may not consume from the queue.
        """
        if self._tasks:  # it failed, and is started again
            await self.stop(_CANCEL_GRACE)
        if self.guard is not None:
            self.guard.consume(self.queue_id)
        await self.handler.start()
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.stopping = False
        self._handed_back = 0
        options = self.options
        if options.prefetch < options.concurrency:
            _log.warning("prefetch %d is less than concurrency %d and was raised to it", options.prefetch,
                         options.concurrency, extra={"consumer": self.id})  # fmt: skip
        self._window = Window(max(options.prefetch, options.concurrency))
        self._lease = lease_of(self.queue)
        self._holding = Holding(self.queue, self.metrics, self._lease)
        self._executor = Executor(
            handler=self.handler,
            queue=self.queue,
            policy=self.policy,
            metrics=self.metrics,
            clock=self._clock,
            auto_ack=options.auto_ack,
            handler_timeout=options.handler_timeout,
        )
        self._suspects = Suspects(self.gate)
        suspects = None if options.auto_ack else self._suspects
        self._pool = Pool(
            self.id,
            options.concurrency,
            self._executor.execute,
            self._on_empty,
            suspects,
            monotonic=self._clock.monotonic,
        )
        self._settler = Settler(
            consumer=self.id,
            queue=self.queue,
            dead_letters=self._dead_letters,
            metrics=self.metrics,
            clock=self._clock,
            on_settled=self._on_settled,
            on_kept=self._on_kept,
        )
        self._fetcher = Fetcher(
            consumer=self.id,
            queue=self.queue,
            window=self._window,
            buffered=self._pool.buffer.__len__,
            accept=self._accept,
            on_failure=self._keeper.check,
            clock=self._clock,
        )
        self._keeper.add(self._holding)
        self._pool.start()
        self.queue.consumer_count += 1
        self._fetching = self.loop.create_task(self._fetch(), name=f"{self.id} fetch")
        self._tasks = [self.loop.create_task(self._settler.run(), name=f"{self.id} settle")]
        if options.handler_timeout is not None:
            self._tasks.append(self.loop.create_task(self._watch(options.handler_timeout), name=f"{self.id} timeouts"))

    async def _fetch(self) -> None:
        await self._attach()
        await self._fetcher.run()

    async def _attach(self) -> None:
        """Tell the driver how many consumers the queue has here; it is only for people who look, so it may fail."""
        try:
            async with asyncio.timeout(_END_GRACE):
                await self.queue.driver.attach(self.queue.spec.name, self.queue.consumer_count)
        except (DriverError, TimeoutError) as error:
            _log.debug("consumers are not counted: %s", error, extra={"consumer": self.id, "queue": self.queue_id})

    async def wait(self) -> None:
        """Return when it was stopped; raise what ended it before, so that it is never alive but idle."""
        workers = [worker.task for worker in self._pool.workers if worker.task is not None]
        done, _ = await asyncio.wait([self._fetching, *self._tasks, *workers], return_when=asyncio.FIRST_COMPLETED)
        if self.stopping:
            return
        for task in done:
            if not task.cancelled():
                task.result()
        names = ", ".join(task.get_name() for task in done)
        raise LifecycleError(f"consumer {self.id!r}: a task of it was cancelled: {names}", service=self.id)

    async def stop(self, timeout: float) -> None:
        """Stop receiving, hand back what has not started, wait for what runs, settle it.

        A second call while the first is under way shortens it to its own timeout.

        Raises:
            StopTimeoutError: handlers still ran after ``timeout`` seconds; they were cancelled and their messages
                handed back, not counted as an attempt.
        """
        tasks = self._tasks
        if not tasks:
            return
        self.stopping = True
        try:
            for delivery in self._pool.take_back():
                delivery.conclude(RELEASE)
            self._fetcher.stop()
            self._fetching.cancel()
            await asyncio.wait([self._fetching], timeout=_END_GRACE)
            if not await self._pool.drain(timeout):
                await self._cancel_what_runs()
            is_settled = await self._settler.finish(_SETTLE_GRACE)
        finally:
            await self._end(tasks)
        if self._handed_back:
            raise StopTimeoutError(
                f"consumer {self.id!r}: {self._handed_back} handlers still ran after stop_timeout; "
                "they were cancelled and their messages handed back",
                service=self.id,
            )
        if not is_settled:
            _log.error("the broker did not take the last settlements; those messages come again when their lease ends",
                       extra={"consumer": self.id})  # fmt: skip

    async def _cancel_what_runs(self) -> None:
        running = self._pool.interrupt()
        self._handed_back += len(running)
        await self._pool.drain(_CANCEL_GRACE)
        left = [delivery for delivery in running if not (delivery.ended or delivery.settled)]
        if left:
            _log.error("%d handlers go on although they were interrupted; their messages are kept until they end",
                       len(left), extra={"consumer": self.id, "queue": self.queue_id})  # fmt: skip
            for delivery in left:
                self._on_settled([Release(delivery.received.receipt)])  # from here on it is not held by this consumer
            Overtime(self.queue, left, self)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        if self._tasks is not tasks:
            return  # another stop has been faster
        self._tasks = []
        self._suspects.close()
        self._keeper.remove(self._holding)
        self.queue.consumer_count -= 1
        workers = [worker.task for worker in self._pool.workers if worker.task is not None]
        for task in (*tasks, *workers):  # first, for this stop may be cut short
            task.cancel()
        await asyncio.wait([*tasks, *workers], timeout=_END_GRACE)
        await self._attach()

    def replace_handler(self, handler: Handler) -> None:
        """Treat new messages with another handler, already started; running ones finish with theirs."""
        self.handler = handler
        self.function_id = handler.id
        if self._tasks:
            self._executor.use(handler)

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        self._settler.settle(delivery, verdict)

    def drop(self, delivery: Delivery) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        self.metrics.lease_lost += 1
        self._on_settled([Release(delivery.received.receipt)])

    def answer(self, delivery: Delivery, answer: Answer) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        self._settler.answer(delivery, answer)

    async def ack(self, delivery: Delivery) -> bool:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        return await self._settler.ack(delivery)

    def logger_of(self, delivery: Delivery) -> logging.LoggerAdapter[Any]:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        return delivery_logger(logging.getLogger(f"tasuki.function.{self.function_id}"), delivery.log_fields)

    @property
    def is_consuming(self) -> bool:
        """Whether it receives now: started, and not stopping."""
        return bool(self._tasks) and not self.stopping

    @property
    def problem(self) -> str:
        """Why it cannot receive now; empty if it can, or does not consume."""
        failure = self._fetcher.failure if self.is_consuming else None
        return f"it cannot receive: {failure}" if failure is not None else ""

    @property
    def unsettled(self) -> int:
        """Deliveries whose handlers have ended, and whose settlement the broker has not taken yet.

        Not those that are kept because their dead letter or reply cannot be published yet.
        """
        if not self._tasks:
            return 0
        unstarted = len(self._pool.buffer) + len(self._suspects.parked)
        return max(self.held - self.running - unstarted - self._window.kept, 0)

    @property
    def held(self) -> int:
        """Deliveries that are not settled yet."""
        return self._window.held if self._tasks else 0

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return self._pool.running if self._tasks else 0

    @property
    def has_free_worker(self) -> bool:
        """Whether one of its workers could take a message now."""
        return bool(self._tasks) and self._pool.has_free_worker

    @property
    def workers(self) -> list[Worker]:
        """Its workers, idle ones too."""
        return self._pool.workers if self._tasks else []

    def deliveries(self) -> list[Delivery]:
        """What runs now."""
        return [worker.delivery for worker in self.workers if worker.delivery is not None]

    def stacks(self, here: FrameType | None) -> list[tuple[Delivery, list[traceback.FrameSummary]]]:
        """What runs now, and where each handler stands; ``here``: where this thread does."""
        busy = [(worker.delivery, worker.task) for worker in self.workers]
        return [(delivery, stack_of(task, here)) for delivery, task in busy if delivery and task]

    def _accept(self, received: list[Received], asked_at: float) -> None:
        lease_until = float("inf") if self._lease is None else asked_at + self._lease
        deliveries = [Delivery(one, self, lease_until) for one in received]
        self._window.held += len(deliveries)
        self.metrics.delivered += len(deliveries)
        if self._lease is not None:
            for delivery in deliveries:
                self._holding.deliveries[delivery.received.receipt] = delivery
        if self.stopping:  # a receive that its cancellation came too late for
            for delivery in reversed(deliveries):
                delivery.conclude(RELEASE)
        else:
            self._pool.offer(deliveries)

    def _on_empty(self) -> None:
        self._fetcher.room_made()

    def _on_settled(self, batch: list[Settlement]) -> None:
        self._window.held -= len(batch)
        if self._suspects.current is not None:
            self._suspects.settled(batch)
        if self._lease is not None:
            for settlement in batch:
                self._holding.deliveries.pop(settlement.receipt, None)
        self._fetcher.room_made()

    def _on_kept(self, delivery: Delivery, change: int) -> None:
        self._window.kept += change
        # Its handler has ended, and no suspect may wait for room in a dead-letter queue.
        self._suspects.settled([Release(delivery.received.receipt)])
        self._fetcher.room_made()

    def overdue(self) -> list[Worker]:
        """The workers whose handlers have run for ``handler_timeout``."""
        if self.options.handler_timeout is None:
            return []
        since = self._clock.monotonic() - self.options.handler_timeout
        return [worker for worker in self.workers if worker.delivery is not None and worker.started <= since]

    async def _watch(self, limit: float) -> None:
        """Cancel handlers that run longer than ``limit``: one sweep over the workers instead of a timer per message."""
        while True:
            await asyncio.sleep(min(max(limit / 10, 0.01), 0.1))
            for worker in self.overdue():
                if worker.delivery is not None and worker.interrupt("timeout"):
                    _log.warning(
                        "handler %s has run for handler_timeout (%s): interrupted; its message is kept until it ends",
                        self.function_id,
                        format_duration(limit),
                        extra=worker.delivery.log_fields(),
                    )
