"""Consumer: the service that takes messages from one queue and handles them with one function."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tasuki.consumers.definition import Definition
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.pool import Worker
from tasuki.consumers.handling.stack import stacks_of
from tasuki.consumers.reports.long_runs import LEAST, LongRun, bound_of
from tasuki.consumers.run import CANCEL_GRACE, Run
from tasuki.consumers.settling.insisting import Trouble
from tasuki.contracts.handler import Handler
from tasuki.errors import BrokerTimeoutError
from tasuki.observe.events import Event, events_of

if TYPE_CHECKING:
    from types import FrameType

    from tasuki.state.pauses import Pause

_log = logging.getLogger("tasuki.consumer")


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
        options = self.options
        if options.prefetch < options.concurrency:
            _log.warning("prefetch %d is less than concurrency %d and was raised to it", options.prefetch,
                         options.concurrency, extra={"consumer": self.id})  # fmt: skip
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
    def is_consuming(self) -> bool:
        """Whether it receives now: started, and not stopping."""
        return self.run is not None and not self.run.stopping

    @property
    def problem(self) -> str:
        """Why it cannot receive now; empty if it can, or does not consume."""
        run = self.run
        if run is None or run.stopping or run.pause is not None:
            return ""
        if (failure := run.fetcher.failure) is not None:
            return f"it cannot receive: {failure}"
        is_waiting = run.controlled is not None and not run.controlled.is_current.is_set()
        return "it has not read yet whether it is paused" if is_waiting else ""

    @property
    def is_unanswered(self) -> bool:
        """Whether its problem is only that the broker has not answered the last receive."""
        return self.run is not None and isinstance(self.run.fetcher.failure, BrokerTimeoutError)

    @property
    def pause(self) -> Pause | None:
        """Why it receives nothing now; None: it is not paused, or does not consume."""
        return None if self.run is None else self.run.pause

    @property
    def concurrency(self) -> int:
        """How many messages it handles at the same time, while it is not paused."""
        return self.options.concurrency if self.run is None else self.run.pool.concurrency

    async def until_current(self) -> None:
        """Return when it has read whether it is paused."""
        if self.run is not None and self.run.controlled is not None:
            await self.run.controlled.is_current.wait()

    @property
    def window(self) -> int:
        """How many messages it may hold."""
        return max(self.options.prefetch, self.options.concurrency) if self.run is None else self.run.window.prefetch

    @property
    def unsettled(self) -> int:
        """Deliveries whose handlers have ended, and whose settlement the broker has not taken yet.

        Not counted: deliveries that are kept because their dead letter or reply cannot be published yet.
        """
        return 0 if self.run is None else self.run.unsettled

    @property
    def troubles(self) -> list[Trouble]:
        """Of the handled messages that are kept, as something about them cannot be written yet; from any thread."""
        return [] if self.run is None else list(self.run.settler.insisting.troubles.copy().values())

    @property
    def is_filled_by_kept(self) -> bool:
        """Whether these messages leave no place for others."""
        return self.run is not None and self.run.window.is_filled_by_kept

    @property
    def unreadable(self) -> str:
        """Why it cannot read which messages are cancelled, if it must before each start; empty: it can."""
        return "" if self.run is None or self.run.follower is None else self.run.follower.problem

    @property
    def held(self) -> int:
        """Deliveries that are not settled yet."""
        return 0 if self.run is None else self.run.window.held

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return 0 if self.run is None else self.run.pool.running

    @property
    def buffered(self) -> int:
        """Messages that have not started; for any thread."""
        return 0 if self.run is None else sum(len(each.deliveries) for each in self.run.waiting())

    def stage_of(self, id: str) -> Literal["running", "waiting"] | None:
        """Of a message that it has: whether its handler runs, or has not started; None: it has none of this id."""
        if self.run is None:
            return None
        if any(one.received.id == id for each in self.deliveries() for one in each.deliveries):
            return "running"
        is_here = any(one.received.id == id for each in self.run.waiting() for one in each.deliveries)
        return "waiting" if is_here else None

    @property
    def cannot_receive(self) -> bool:
        """Whether its last receive failed, so that it waits for the broker."""
        return self.run is not None and self.run.fetcher.failures > 0

    @property
    def has_free_worker(self) -> bool:
        """Whether one of its workers could take a message now."""
        return self.run is not None and self.run.pool.has_free_worker

    @property
    def workers(self) -> list[Worker]:
        """Its workers, idle ones too."""
        return [] if self.run is None else self.run.pool.workers

    @property
    def free(self) -> int:
        """Messages that it could take now: 0 while it is paused, all its workers are busy, or its buffer is full."""
        if self.pause is not None or not self.is_consuming or not self.has_free_worker:
            return 0
        return max(min(self.concurrency - self.running, self.window - self.held), 0)

    @property
    def late_leases(self) -> float:
        """Seconds by which the renewal of one of its leases is late; 0: none is."""
        return 0.0 if self.run is None else self.run.holding.late(self.clock.monotonic())

    def recent(self) -> list[Event]:
        """The latest events of it and its messages, oldest first; from any thread."""
        return events_of(self.events) if self.run is None else self.run.recent()

    def overdue(self) -> list[Worker]:
        """The workers whose handlers have run for ``handler_timeout``."""
        return [] if self.run is None else self.run.overdue()

    def long_runs(self) -> dict[Delivery, LongRun]:
        """The handlers without ``handler_timeout`` that have run for long, see ``long_runs.py``; from any thread."""
        now, found = self.clock.monotonic(), dict[Delivery, LongRun]()
        busy = [(worker.delivery, worker.started, worker.limit) for worker in list(self.workers)]
        old = [(delivery, now - started) for delivery, started, limit in busy if delivery is not None and limit is None
               and now - started > LEAST]  # fmt: skip
        bound = bound_of(self.metrics.handler_seconds) if old else 0.0
        for delivery, seconds in old:
            if seconds > bound:
                found[delivery] = LongRun(seconds, bound)
        return found

    def deliveries(self) -> list[Delivery]:
        """Deliveries whose handlers run now."""
        return [worker.delivery for worker in self.workers if worker.delivery is not None]

    def stacks(self, here: FrameType | None) -> list[tuple[Delivery, list[traceback.FrameSummary]]]:
        """Running deliveries, with the stack of each handler; ``here``: the current frame of this thread."""
        return stacks_of(self.workers, here)
