"""Run: one life of a consumer, from its start to its stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Container, Coroutine, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter, contains
from typing import TYPE_CHECKING, Any

from tasuki.consumers.batch_executor import BatchExecutor
from tasuki.consumers.definition import Definition
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.controlled import ControlledFetching
from tasuki.consumers.fetching.fetcher import Fetcher
from tasuki.consumers.fetching.following import Following
from tasuki.consumers.fetching.keeper import Holding, lease_of
from tasuki.consumers.fetching.window import DeliveryWindow, Keeping, prefetch_for
from tasuki.consumers.gatherer import Gatherer
from tasuki.consumers.handling.executor import Executor
from tasuki.consumers.handling.overtime import Overtime
from tasuki.consumers.handling.pool import PoolWorker, WorkerPool
from tasuki.consumers.handling.shared import SharedPool
from tasuki.consumers.handling.suspects import Suspects
from tasuki.consumers.jobs.cancelling import Cancelling, cancelling_of
from tasuki.consumers.jobs.job_layers import jobs_of
from tasuki.consumers.jobs.timeouts import Timeouts, shortest_limit
from tasuki.consumers.reports.completion_log import CompletionLog, log
from tasuki.consumers.reports.reporting import AutoAckReporting, DeliveryReport, Reporting
from tasuki.consumers.settling.settler import Settler
from tasuki.consumers.settling.verdict import RELEASE
from tasuki.consumers.surroundings import ConsumeMiddleware, Middleware, Observed, Settle, Surrounding, within
from tasuki.contracts.driver import Receipt, Received, Release, Settlement
from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.message import FAILURES
from tasuki.observe.events import Event, events_of
from tasuki.observe.log import DeliveryLogger
from tasuki.queues.dead_letter import counted

if TYPE_CHECKING:
    from tasuki.consumers.reach.host import Host
    from tasuki.queues.middleware import OnSettled
    from tasuki.security.guard import Guard
    from tasuki.state.pauses import Pause
    from tasuki.tracing.tracing import Accept

_log = logging.getLogger("tasuki.consumer")

CANCEL_GRACE = 1.0
"""Seconds that a cancelled handler has to end before it is left behind."""

_SETTLE_GRACE = 2.5
"""Seconds that the last settlements may take at a stop; with the other graces less than the supervisor's own."""

_END_GRACE = 0.5
"""Seconds that the run's own tasks have to end."""

_RECEIPT = attrgetter("receipt")
_HEADERS = attrgetter("headers")


class Run:
    """Fetches, handles and settles; the holder of its deliveries. Made and started on the loop that it runs in.

    A verdict goes from its delivery through the layers around ``settle`` to the settler; ``answer`` and ``ack`` are the
    settler's.
    """

    def __init__(self, consumer: Definition, layers: Sequence[ConsumeMiddleware] = ()) -> None:
        options, queue = consumer.options, consumer.queue
        self.consumer = consumer
        self.id = consumer.id
        self.queue, self.queue_id = queue, queue.id
        self.policy = consumer.policy
        self.options = options
        self.metrics = consumer.metrics
        self.stopping = self.has_ended = False
        self.give_up = None
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.window = DeliveryWindow(max(options.prefetch, options.concurrency))
        self.lease = lease_of(queue)
        self.events, self._monotonic = consumer.events, consumer.clock.monotonic
        self.holding = Holding(queue, self.metrics, self.lease, self.events)
        self.suspects = Suspects(consumer.gate, self.events)
        self.completions = CompletionLog(consumer) if log.isEnabledFor(logging.INFO) else None
        self.reporting = self._make_reporting()
        self.results, self.stepping, self.transacting, own = jobs_of(self, consumer)
        parts = self._surroundings((*own, *map(Middleware, layers)))
        self.executor = (Executor if options.batch is None else BatchExecutor)(consumer, self, parts)
        self._first_end: asyncio.Future[asyncio.Task[None]] = self.loop.create_future()
        self.pool = self._make_pool()
        self.gatherer = self._make_gatherer()
        self._offer = self.pool.offer if self.gatherer is None else self.gatherer.offer
        self.settler, self.settle = self._make_settling(parts)
        self.follower: Cancelling | None = cancelling_of(self, consumer)
        self.answer, self.ack = self.settler.answer, self.settler.ack
        self.following = self._make_following()
        """Fits the window to the handler; None: it stays as it is written."""
        self.fetcher = self._make_fetcher(parts)
        self.controlled = None if consumer.state is None else ControlledFetching(self, consumer.state)
        """Obeys the controls of the queue's state; None: it has none."""
        self.fetching: asyncio.Task[None]
        self.tasks: list[asyncio.Task[None]] = []
        """The tasks that settle and watch; each worker has its own."""
        self._cut_off = 0

    def _make_settling(self, parts: Sequence[Surrounding]) -> tuple[Settler, Settle]:
        on_settled: OnSettled = self._on_settled
        on_settled = within(parts, lambda part, inner: part.around_settled(inner), on_settled)
        settler = Settler(self.consumer, on_settled=on_settled, on_kept=self._on_kept)
        settler.flush = within(parts, lambda part, inner: part.around_flush(inner), settler.flush)
        settle: Settle = settler.settle
        return settler, within(parts, lambda part, inner: part.around_settle(inner), settle)

    def _make_fetcher(self, parts: Sequence[Surrounding]) -> Fetcher:
        accept: Accept = self._accept
        accept = within(parts, lambda part, inner: part.around_accept(inner, self._monotonic), accept)
        if self.following is not None:
            accept = self.following.around_accept(accept)
        return Fetcher(self.consumer, window=self.window, buffered=self.pool.buffer.__len__, accept=accept)

    def _make_following(self) -> Following | None:
        if not self.options.follows:
            return None
        return Following(self.window, self.metrics, self._monotonic, self.pool.buffer.__len__, self._release_newest)

    def _release_newest(self, count: int) -> None:
        """Release the newest messages of those that have not started, up to one whose attempts a release raises."""
        counts = self.queue.driver.counts_releases
        for _ in range(count):
            if counts(self.queue.spec.name, self.pool.buffer[-1].received.receipt):
                return
            self.metrics.unstarted += 1
            self.pool.buffer.pop().conclude(RELEASE)

    def _surroundings(self, inner: Sequence[Surrounding]) -> list[Surrounding]:
        tracing, reporting = self.consumer.tracing, self.reporting
        observers = self.consumer.observers if reporting is None else (*self.consumer.observers, reporting)
        completions = None if self.options.auto_ack else self.completions  # else the reports hold it
        outer = [tracing, Observed(observers, self.id), reporting, completions]
        return [*(part for part in outer if part is not None), *inner]

    def _make_reporting(self) -> Reporting | None:
        """What tells hooks of each message; None: there are none."""
        reports: list[DeliveryReport] = list(self.consumer.reports)
        kind = Reporting
        if self.options.auto_ack:  # settled before its handler runs, so the log takes the handler's end
            kind = AutoAckReporting
            reports += [] if self.completions is None else [self.completions]
        return kind(reports, self.consumer.clock.monotonic) if reports else None

    def _make_pool(self) -> WorkerPool:
        share = self.consumer.share
        return (WorkerPool if share is None else partial(SharedPool, share))(
            self.id,
            self.options.concurrency,
            self.executor.execute,
            self._on_empty,
            None if self.options.auto_ack else self.suspects,
            monotonic=self.consumer.clock.monotonic,
            limit=self.options.handler_timeout,
            on_end=self._on_end,
            is_ending=self._is_ending,
        )

    def waiting(self) -> list[Delivery]:
        """See :class:`tasuki.consumers.jobs.cancelling.CancellableRun`."""
        return [*self.pool.waiting(), *(() if self.gatherer is None else self.gatherer.waiting())]

    def _make_gatherer(self) -> Gatherer | None:
        """What joins messages into batches; None: each is handled by itself."""
        if not isinstance(self.executor, BatchExecutor) or self.options.batch is None:
            return None
        gatherer = Gatherer(self.pool, self.options.batch, has_suspects=not self.options.auto_ack)
        self.executor.on_end = gatherer.look_again
        return gatherer

    def start(self) -> None:
        """Begin to fetch, handle and settle."""
        self.consumer.keeper.add(self.holding)
        self.queue.consumer_count += 1
        self.fetching = self._make_task(self._fetch(), "fetch")
        self.tasks.append(self._make_task(self.settler.run(), "settle"))
        self.timeouts = Timeouts(self.overdue, self.events, self._start_timeouts)
        self.timeouts.keep(shortest_limit(self.options, self.consumer.handler))

    def _start_timeouts(self, sweeps: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self._make_task(sweeps, "timeouts"))

    def _make_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self.loop.create_task(work, name=f"{self.id} {name}")
        task.add_done_callback(self._on_end)
        return task

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not self._first_end.done():
            self._first_end.set_result(task)

    def _is_ending(self) -> bool:
        """Whether it is being stopped, or the event loop ends and has cancelled all of its tasks."""
        return self.fetching.cancelling() > 0

    async def _fetch(self) -> None:
        await (self.fetcher if self.controlled is None else self.controlled).run()

    async def wait(self) -> None:
        """Return when it was stopped; raise what ended it before, so that it is never alive but idle."""
        task = await asyncio.shield(self._first_end)
        if self.stopping:
            return
        if not task.cancelled():
            task.result()
        raise LifecycleError(f"consumer {self.id!r}: a task of it was cancelled: {task.get_name()}", service=self.id)

    async def stop(self, timeout: float) -> None:
        """See :meth:`tasuki.consumers.consumer.Consumer.stop`."""
        self.stopping = True
        try:
            self.release_unstarted()
            self.fetcher.stop()
            self.fetching.cancel()
            await asyncio.wait([self.fetching], timeout=_END_GRACE)
            if not await self.pool.drain(timeout):
                await self._cancel_what_runs()
            is_settled = await self.settler.finish(_SETTLE_GRACE)
            await self.settler.attempts.finish()
        finally:
            await self._end()
        if self._cut_off:
            raise StopTimeoutError(
                f"consumer {self.id!r}: handlers that still ran after stop_timeout: {self._cut_off}; "
                "they were cancelled and their messages released",
                service=self.id,
            )
        if not is_settled:
            _log.error("the broker did not take the last settlements: their messages come back when their lease ends",
                       extra={"consumer": self.id})  # fmt: skip

    def release_unstarted(self) -> None:
        """Release the messages whose handlers have not started."""
        waiting = [] if self.gatherer is None else self.gatherer.take_back()
        for delivery in (*waiting, *self.pool.take_back()):
            self.metrics.unstarted += len(delivery.deliveries)
            delivery.conclude(RELEASE)

    def recent(self) -> list[Event]:
        """The latest events of the consumer and its messages, oldest first; from any thread."""
        return events_of(self.events, list(self.holding.deliveries.copy().values()))

    @property
    def pause(self) -> Pause | None:
        """Why it receives nothing now; None: it is not paused."""
        return None if self.controlled is None else self.controlled.pause

    def resize(self, concurrency: int) -> bool:
        """Handle this many messages at the same time from now on; False: it does already."""
        if (change := concurrency - self.pool.concurrency) == 0:
            return False
        options = self.options
        window = max(options.prefetch, options.concurrency)
        least = 1 if options.batch is None else options.batch.size
        self.window.prefetch = prefetch_for(concurrency, window, options.concurrency, least)
        if self.following is not None:
            self.following.restart()
        self.consumer.handler.add_places(change)
        self.pool.resize(concurrency)
        self._on_empty()
        return True

    async def _cancel_what_runs(self) -> None:
        running = self.pool.interrupt()
        self._cut_off += len(running)
        await self.pool.drain(CANCEL_GRACE)
        deliveries = [delivery for each in running for delivery in each.deliveries]
        left = [each for each in deliveries if not each.ended and (not each.settled or self.settler.owes(each))]
        if left:
            _log.error("handlers that go on although they were interrupted: %d; their messages are kept until they end",
                       len(left), extra={"consumer": self.id, "queue": self.queue_id})  # fmt: skip
            for delivery in left:
                self._forget(delivery)  # from here on it is not held by this consumer
            Overtime(self.queue, left, self)

    async def _end(self) -> None:
        if self.has_ended:
            return  # already stopped
        self.has_ended = True
        if self.follower is not None:
            self.follower.close()
        self.consumer.handler.add_places(self.options.concurrency - self.pool.concurrency)
        for part in (self.completions, self.following):
            if part is not None:
                part.close()
        self.suspects.close()
        self.settler.insisting.is_over = True
        self.consumer.keeper.remove(self.holding)
        self.queue.consumer_count -= 1
        workers = [worker.task for worker in self.pool.workers if worker.task is not None]
        for task in (*self.tasks, *workers):  # first, for this stop may be cut short
            task.cancel()
        await asyncio.wait([*self.tasks, *workers], timeout=_END_GRACE)
        await self.fetcher.close()

    @property
    def function_id(self) -> str:
        """Id of the function that handles now."""
        return self.consumer.handler.id

    @property
    def cancelled(self) -> Container[str]:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        return () if self.follower is None else self.follower.ids

    @property
    def host(self) -> Host:
        """The project in force."""
        return self.consumer.host

    @property
    def guard(self) -> Guard | None:
        """The consumer's rights; None: all."""
        return self.consumer.guard

    def drop(self, delivery: Delivery) -> None:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        self.metrics.lease_lost += not delivery.lost  # else the keeper has counted it
        if self.reporting is not None:
            self.reporting.forget(delivery)
        self._forget(delivery)

    def logger_of(self, delivery: Delivery) -> logging.LoggerAdapter[Any]:
        """See :class:`tasuki.consumers.delivery.Holder`."""
        return DeliveryLogger(logging.getLogger(f"tasuki.function.{self.function_id}"), delivery.log_fields)

    @property
    def unsettled(self) -> int:
        """See :meth:`tasuki.consumers.consumer.Consumer.unsettled`."""
        running = sum(len(worker.delivery.deliveries) for worker in self.pool.workers if worker.delivery is not None)
        waiting = self.pool.unstarted + (0 if self.gatherer is None else len(self.gatherer))
        return max(self.window.held - running - waiting - self.window.kept - self.window.parked, 0)

    def overdue(self) -> list[PoolWorker]:
        """The workers whose handlers have run for ``handler_timeout``."""
        busy = [worker for worker in self.pool.workers if worker.delivery is not None]
        now = self.consumer.clock.monotonic() if busy else 0.0
        return [worker for worker in busy if (most := worker.most) is not None and worker.started <= now - most]

    def _accept(self, received: list[Received], asked_at: float) -> None:
        lease_until = float("inf") if self.lease is None else asked_at + self.lease
        if any(map(contains, map(_HEADERS, received), repeat(FAILURES))):  # no instruction of Python's for a message
            received = list(map(counted, received))
        deliveries = list(map(Delivery, received, repeat(self), repeat(lease_until), repeat(self._monotonic())))
        self.window.held += len(deliveries)
        self.metrics.delivered += len(deliveries)
        self.holding.deliveries.update(zip(map(_RECEIPT, received), deliveries, strict=True))
        if self.stopping or self.pause is not None:  # a receive that its cancellation came too late for
            self.metrics.unstarted += len(deliveries)
            for delivery in reversed(deliveries):
                delivery.conclude(RELEASE)
        else:
            self._offer(deliveries)

    def _on_empty(self) -> None:
        self.fetcher.room_made()
        if self.gatherer is not None:
            self.gatherer.look_again()

    def _on_settled(self, batch: list[Settlement], stale: Collection[Receipt] = ()) -> None:
        self.window.held -= len(batch)
        if self.suspects.current is not None:
            self.suspects.settled(batch)
        handled = list(map(self.holding.deliveries.pop, map(_RECEIPT, batch), repeat(None)))
        self.events.add_settled(batch, handled, stale)
        self.fetcher.settled(batch, stale)

    def _forget(self, delivery: Delivery) -> None:
        self._on_settled([Release(delivery.received.receipt)], {delivery.received.receipt})

    def _on_kept(self, delivery: Delivery, change: Keeping) -> bool:
        is_done = self.window.keep(change, len(delivery.received.body))
        # Its handler has ended, and no suspect may wait for room in a dead-letter queue.
        self.suspects.settled([Release(delivery.received.receipt)])
        self.fetcher.room_made()
        return is_done
