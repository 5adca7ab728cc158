"""Fetcher: requests as many messages as the window has room for, and retries while the broker is unavailable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from tasuki.backoff import UNTIL_BACK, is_told
from tasuki.consumers.fetching.keeper import lease_of
from tasuki.consumers.fetching.limited import LimitedReceiving
from tasuki.consumers.fetching.window import Window
from tasuki.contracts.driver import Receipt, Received, Settlement
from tasuki.errors import DriverError

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition

_log = logging.getLogger("tasuki.consumer")

WAIT = 60.0
"""Seconds that one ``receive`` waits on an empty queue: long, so that a thousand idle queues cost few of them."""
_GROUPS = 16
"""The waits of a group's consumers end at the same moment: what a driver does for them then, it does once."""


class Fetcher:
    """``accept`` gets each batch, with the time just before its request, from which its lease counts.

    The keeper checks the session after each failed receive: the connection that holds earlier messages may be lost too.
    """

    def __init__(
        self,
        consumer: Definition,
        *,
        window: Window,
        buffered: Callable[[], int],
        accept: Callable[[list[Received], float], None],
    ) -> None:
        self._consumer = consumer
        self._queue = consumer.queue
        self._window = window
        self._buffered = buffered
        self._accept = accept
        self._clock = consumer.clock
        limit = consumer.queue.policy.worker_limit
        self.limited = None if limit is None else LimitedReceiving(consumer, limit, window)
        """Keeps the limit of a queue whose driver does not; None: there is none."""
        self._room: asyncio.Future[None] | None = None
        self._stopped = False
        self.failure: DriverError | None = None
        """The error of the last receive; None: it succeeded."""
        self.failures = 0
        """Receives that failed in a row; 0 while the broker answers."""

    async def run(self) -> None:
        """Receive until stopped or cancelled; raises DriverError only if a retry cannot help."""
        name = self._queue.spec.name
        driver = self._queue.driver
        receiver = driver if self.limited is None else self.limited
        # A lease is counted from before the wait, so the wait must leave half of it.
        lease = lease_of(self._queue)
        wait = WAIT if lease is None else min(WAIT, lease / 2)
        half, phase = wait / 2, crc32(self._consumer.id.encode()) % _GROUPS / _GROUPS
        while not self._stopped:
            wanted = min(self._window.wanted(self._buffered()), driver.capabilities.max_batch)
            if not wanted:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
                continue
            asked_at = self._clock.monotonic()
            early = ((asked_at + wait) / half - phase) % 1 * half
            try:
                # After a failure without a wait: the answer says that the broker is back.
                received = await receiver.receive(name, wanted, 0.0 if self.failures else wait - early)
            except DriverError as error:
                if not error.retryable:
                    raise
                await self.back_off(error)
                continue
            if self.failures:
                self.answered()
            if received:
                self._accept(received, asked_at)

    def stop(self) -> None:
        """Stop receiving, even if a cancellation comes too late for the present receive."""
        self._stopped = True

    def go_on(self) -> None:
        """Let ``run`` receive again after a ``stop``."""
        self._stopped = False

    def answered(self) -> None:
        """The broker has answered: if it was unavailable, it is back."""
        if self.failures:
            self.failures, self.failure = 0, None
            self._consumer.metrics.reconnects += 1
            _log.info("consuming again", extra=self._extra())

    def settled(self, batch: Sequence[Settlement], stale: Collection[Receipt]) -> None:
        """Deliveries were settled; ``stale``: those that the broker had given to others."""
        if self.limited is not None:
            self.limited.settled(batch, stale)
        self.room_made()

    def room_made(self) -> None:
        """There may be room, or the buffer is empty: receive again if there is enough room now."""
        if self._room is not None and self._window.wanted(self._buffered()):
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    async def close(self) -> None:
        """Return the tokens and places of a limit."""
        if self.limited is not None:
            await self.limited.close()

    async def back_off(self, error: DriverError) -> None:
        """Take note of a failure, and wait before the next request."""
        self.failures, self.failure = self.failures + 1, error
        self._consumer.events.add_error(error)
        self._consumer.keeper.check()
        delay = UNTIL_BACK.delay(self.failures)
        level = logging.WARNING if is_told(self.failures) else logging.DEBUG
        _log.log(level, "cannot receive, retrying in %.1f s: %s", delay, error, extra=self._extra())
        await asyncio.sleep(delay)

    def _extra(self) -> dict[str, object]:
        return {"consumer": self._consumer.id, "queue": self._queue.id}
