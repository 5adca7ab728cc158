"""Consumer: the service that takes messages from one queue for one function; and a snapshot of its activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tasuki.consumers.definition import Definition
from tasuki.consumers.run import CANCEL_GRACE, Run
from tasuki.contracts.handler import Handler
from tasuki.errors import BrokerTimeoutError
from tasuki.observe.events import Event, events_of

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import PoolWorker
    from tasuki.consumers.settling.insisting import Trouble
    from tasuki.state.pauses import Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The defaults describe a consumer that does not run."""

    concurrency: int
    """How many messages it handles at the same time, while it is not paused."""
    window: int
    """How many messages it may hold."""
    is_consuming: bool = False
    """Whether it receives: started, and not stopping."""
    pause: Pause | None = None
    """Why it receives nothing; None: it is not paused."""
    problem: str = ""
    """Why it cannot receive; empty if it can."""
    cannot_receive: bool = False
    """Whether its last receive failed, so that it waits for the broker."""
    is_unanswered: bool = False
    """Whether its problem is only that the broker has not answered the last receive."""
    held: int = 0
    """Deliveries that are not settled yet."""
    unsettled: int = 0
    """Deliveries whose handlers have ended, and whose settlement the broker has not taken yet.

    Not counted: kept ones, whose dead letter or reply cannot be published yet.
    """
    running: int = 0
    """Handlers that run."""
    workers: Sequence[PoolWorker] = ()
    """Its workers, idle ones too."""
    has_free_worker: bool = False
    """Whether one of them could take a message."""
    waiting: Sequence[Delivery] = ()
    """Deliveries, or batches of them, that have not started."""
    troubles: Sequence[Trouble] = ()
    """Of the handled messages that are kept, as something about them cannot be written yet."""
    is_filled_by_kept: bool = False
    """Whether these messages leave no place for others."""
    unreadable: str = ""
    """Why it cannot read which messages are cancelled, if it must before each start; empty: it can."""
    late_leases: float = 0.0
    """Seconds by which the renewal of one of its leases is late; 0: none is."""

    @property
    def deliveries(self) -> list[Delivery]:
        """Those whose handlers run."""
        return [worker.delivery for worker in self.workers if worker.delivery is not None]

    @property
    def free(self) -> int:
        """Messages that it could take: 0 while it is paused, all its workers are busy, or its buffer is full."""
        if self.pause is not None or not self.is_consuming or not self.has_free_worker:
            return 0
        return max(min(self.concurrency - self.running, self.window - self.held), 0)

    @property
    def buffered(self) -> int:
        """Messages that have not started."""
        return sum(len(each.deliveries) for each in self.waiting)

    def stage_of(self, id: str) -> Literal["running", "waiting"] | None:
        """Of a message that it has: whether its handler runs, or has not started; None: it has none of this id."""
        for stage, held in (("running", self.deliveries), ("waiting", self.waiting)):
            if any(one.received.id == id for each in held for one in each.deliveries):
                return stage  # type: ignore[return-value]
        return None


def activity_of(consumer: Definition, run: Run | None) -> Activity:
    """What a consumer does in its present life; None: it does not consume."""
    if run is None:
        options = consumer.options
        return Activity(concurrency=options.concurrency, window=max(options.prefetch, options.concurrency))
    failure = run.fetcher.failure
    return Activity(
        concurrency=run.pool.concurrency,
        window=run.window.prefetch,
        is_consuming=not run.stopping,
        pause=run.pause,
        problem=_problem(run),
        cannot_receive=run.fetcher.failures > 0,
        is_unanswered=isinstance(failure, BrokerTimeoutError),
        held=run.window.held,
        unsettled=run.unsettled,
        running=run.pool.running,
        workers=list(run.pool.workers),
        has_free_worker=run.pool.has_free_worker,
        waiting=run.waiting(),
        troubles=list(run.settler.insisting.troubles.copy().values()),
        is_filled_by_kept=run.window.is_filled_by_kept,
        unreadable="" if run.follower is None else run.follower.problem,
        late_leases=run.holding.late(consumer.clock.monotonic()),
    )


def _problem(run: Run) -> str:
    if run.stopping or run.pause is not None:
        return ""
    if (failure := run.fetcher.failure) is not None:
        return f"it cannot receive: {failure}"
    is_waiting = run.controlled is not None and not run.controlled.is_current.is_set()
    return "it has not read yet whether it is paused" if is_waiting else ""


@dataclass(eq=False)
class Consumer(Definition):
    """One queue, one handler, one pool of workers. Start, stop and start again as often as you like."""

    _run: Run | None = field(default=None, init=False)

    async def start(self) -> None:
        """Compile the handler, and begin to receive.

        Raises:
            HandlerError: the handler, or a middleware, cannot be used.
            PolicyDeniedError: its actor may not consume from the queue.
        """
        if self.run is not None:  # a restart after a failure
            await self.stop(CANCEL_GRACE)
        if self.guard is not None:
            self.guard.consume(self.queue.id)
        await self.handler.start()
        layers = [load() for load in self.middleware]
        self._run = Run(self, layers)
        self._run.start()
        if self.attendance is not None and self.state is not None:
            await self.attendance.join(self.state, self)

    async def wait(self) -> None:
        """Return after a stop; raise the error that ended it before, so that it is never alive but idle."""
        if self._run is not None:
            await self._run.wait()

    async def stop(self, timeout: float) -> None:
        """Stop receiving, release deliveries that have not started, wait for running handlers, settle them.

        A second call while the first is under way shortens it to its own timeout.

        Raises:
            StopTimeoutError: handlers still ran after ``timeout`` seconds; they were cancelled and their messages
                released, without counting an attempt.
        """
        if self.run is None:
            return
        try:
            await self.run.stop(timeout)
        finally:
            if self.attendance is not None and self.state is not None:
                await self.attendance.leave(self.state, self)

    def replace_handler(self, handler: Handler) -> None:
        """Handle new messages with another handler, already started; running ones finish with theirs."""
        self.handler = handler
        if self.run is not None:
            handler.add_places(self.run.pool.concurrency - self.options.concurrency)
            self.run.executor.use(handler)

    @property
    def run(self) -> Run | None:
        """Its present life; None: it does not consume."""
        return None if self._run is None or self._run.has_ended else self._run

    @property
    def now(self) -> Activity:
        """What it does at this moment."""
        return activity_of(self, self.run)

    def recent(self) -> list[Event]:
        """The latest events of it and its messages, oldest first; from any thread."""
        return events_of(self.events) if self.run is None else self.run.recent()
