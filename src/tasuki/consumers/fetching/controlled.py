"""ControlledFetching: obeys the controls of a consumer: pauses, resumes and scales its fetching."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.fetcher import Fetcher
from tasuki.consumers.fetching.window import MOST_CONCURRENCY
from tasuki.consumers.handling.pool import WorkerPool
from tasuki.consumers.reports.recorder_queries import EventAnswers
from tasuki.errors import DriverError
from tasuki.observe.events import PAUSED, RESUMED, Event, EventRing
from tasuki.queues.queue import Queue
from tasuki.state.pauses import Pause, Scale, pause_key, pause_of_consumer, scale_in, scale_key
from tasuki.state.shared import Controls, SharedState

_log = logging.getLogger("tasuki.consumer")


class Follower(Protocol):
    """Is notified of the controls too, once they are read."""

    def follow(self, controls: Controls) -> None:
        """Take note of the present controls, and of each change."""


class Controlled(Protocol):
    """The parts of a consumer that controls change."""

    id: str
    queue: Queue
    queue_id: str
    fetcher: Fetcher
    events: EventRing
    options: ConsumerOptions
    pool: WorkerPool

    @property
    def follower(self) -> Follower | None:
        """What cancels its messages; None: nothing does."""

    def recent(self) -> list[Event]:
        """The latest events."""

    def release_unstarted(self) -> None:
        """Release the messages that have not started."""

    def resize(self, concurrency: int) -> bool:
        """Handle this many messages at the same time; False: it does already."""


class ControlledFetching:
    """Fetching of one run. Reads the controls before the first receive: without their store it receives no message."""

    def __init__(self, run: Controlled, state: SharedState) -> None:
        self._run = run
        self._state = state
        self._queue, self._consumer = run.queue.spec.name, run.id
        self._receiving: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._extra = {"consumer": run.id, "queue": run.queue_id}
        self.is_current = asyncio.Event()
        """Set once the controls are read."""
        self.pause: Pause | None = None
        """Why it does not receive; None: it may."""

    async def run(self) -> None:
        """Receive unless paused, until cancelled; raises DriverError only if a retry cannot help."""
        controls = await self._follow()
        if (follower := self._run.follower) is not None:
            follower.follow(controls)
        keys = (pause_key("queue", self._queue), pause_key("consumer", self._consumer), scale_key(self._consumer))
        ends = [controls.listen(key, lambda key, value: self._obey(controls)) for key in keys]
        ends.append(
            EventAnswers(self._run.id, self._run.recent, lambda: self._run.pool.workers, self._state).listen(controls)
        )
        try:
            self._obey(controls)
            self.is_current.set()
            await self._receive_unless_paused()
        finally:
            for end in ends:
                end()

    async def _follow(self) -> Controls:
        fetcher = self._run.fetcher
        while True:
            try:
                controls = await self._state.follow()
            except DriverError as error:
                if not error.retryable:
                    raise
                await fetcher.back_off(error)
            else:
                fetcher.answered()
                return controls

    async def _receive_unless_paused(self) -> None:
        while True:
            self._changed.clear()
            if self.pause is not None:
                await self._changed.wait()
                continue
            self._run.fetcher.go_on()
            self._receiving = receiving = asyncio.create_task(self._run.fetcher.run(), name=f"{self._consumer} receive")
            try:
                await asyncio.wait([receiving])
            finally:
                receiving.cancel()
                await asyncio.wait([receiving])  # a receive that ends all the same hands its messages over first
            if not receiving.cancelled():
                receiving.result()

    def _obey(self, controls: Controls) -> None:
        """Take note of the present controls, and do what has changed."""
        self._scale(scale_in(controls, self._consumer))
        before, self.pause = self.pause, pause_of_consumer(controls, self._queue, self._consumer)
        if self.pause is not None and self.pause != before:
            self._run.events.add(PAUSED, value=str(self.pause))
            _log.info("paused %s", self.pause, extra=self._extra)
        if self.pause is not None and before is None:
            self._run.fetcher.stop()
            if self._receiving is not None:
                self._receiving.cancel()
            self._run.release_unstarted()
        elif before is not None and self.pause is None:
            self._run.events.add(RESUMED)
            _log.info("resumed", extra=self._extra)
        self._changed.set()

    def _scale(self, scale: Scale | None) -> None:
        own = self._run.options.concurrency
        wanted = own if scale is None else min(scale.concurrency, MOST_CONCURRENCY)
        if wanted > 0 and self._run.resize(wanted):
            by = f", by {scale.actor}" if scale is not None and scale.actor else ""
            _log.info("handles %d messages at the same time now%s", wanted, by, extra=self._extra)
