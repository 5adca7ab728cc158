"""Consumer: the service that takes messages from one queue and handles them with one function."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from tasuki.consumers.activity import Activity, activity_of
from tasuki.consumers.definition import Definition
from tasuki.consumers.run import CANCEL_GRACE, Run
from tasuki.contracts.handler import Handler
from tasuki.observe.events import Event, events_of

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
    def now(self) -> Activity:
        """What it does at this moment."""
        return activity_of(self, self.run)

    def recent(self) -> list[Event]:
        """The latest events of it and its messages, oldest first; from any thread."""
        return events_of(self.events) if self.run is None else self.run.recent()
