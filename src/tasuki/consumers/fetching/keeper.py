"""Keeper: renews the leases of all held deliveries, from a thread of its own.

A handler that blocks the event loop, or holds it with computation, keeps its messages: the thread has its own loop, and
a driver's ``extend`` runs on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass, field

from tasuki.clock import Clock
from tasuki.consumers.delivery import Delivery
from tasuki.contracts.driver import Receipt
from tasuki.errors import DriverError
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.queue import Queue
from tasuki.system.loop_thread import LoopThread

_log = logging.getLogger("tasuki.consumer")


_SESSION_PERIOD = 1.0
"""Seconds between two questions whether a session still holds its deliveries; the broker is not asked."""


def lease_of(queue: Queue) -> float | None:
    """Seconds for which a delivery is surely the consumer's without a renewal; None: until its driver is closed.

    A broker without leases gives deliveries to others when it has heard nothing for its patience.
    """
    driver = queue.driver
    return queue.spec.lease if driver.capabilities.leases else driver.patience


@dataclass(eq=False, slots=True)
class Holding:
    """What one consumer holds, by receipt. The loop's thread adds and removes; the keeper's thread reads copies."""

    queue: Queue
    metrics: ConsumerMetrics
    lease: float | None
    """See ``lease_of``."""
    deliveries: dict[Receipt, Delivery] = field(default_factory=dict)

    def due(self, now: float) -> dict[Receipt, Delivery]:
        """What is to be renewed: what has used up more than a third of its lease; all that hangs on a session."""
        assert self.lease is not None
        least_left = self.lease * 2 / 3 if self.queue.driver.capabilities.leases else float("inf")
        return {
            receipt: delivery
            for receipt, delivery in self.deliveries.copy().items()
            if not delivery.lost and delivery.lease_until - now < least_left
        }

    def take_expired(self, due: dict[Receipt, Delivery], now: float) -> None:
        """Give up what a session has held in silence for too long: only its broker knows, and cannot be asked.

        After a pause of the whole process the session looks alive until its end has been read.
        """
        if not self.queue.driver.capabilities.leases:
            for receipt in [receipt for receipt, delivery in due.items() if delivery.lease_until <= now]:
                self.lose(due.pop(receipt))

    def lose(self, delivery: Delivery) -> None:
        """The broker may have given it to another consumer; news only if its settlement is not under way already."""
        delivery.lost = True
        if delivery.settled:
            return
        self.metrics.lease_lost += 1
        _log.warning("lease lost: the message may be handled twice", extra={"queue": self.queue.id})

    @property
    def period(self) -> float:
        """Seconds between two renewals; a third of the lease is left when one of them fails."""
        assert self.lease is not None
        period = max(self.lease / 6, 0.01)
        return period if self.queue.driver.capabilities.leases else min(period, _SESSION_PERIOD)


class Keeper:
    """One thread for all consumers of an application; it runs only while somebody holds leases."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holdings: dict[Holding, None] = {}
        self._period = 0.0
        """Seconds for which the thread waits between two rounds."""
        self._thread: LoopThread | None = None
        self._changed = asyncio.Event()
        """Of the thread's loop: wakes it for a round."""
        self._lock = threading.Lock()

    def add(self, holding: Holding) -> None:
        """Keep the leases of a holding from now on; nothing to do where the driver has no leases."""
        if holding.lease is None:
            return
        with self._lock:
            self._holdings[holding] = None
            if self._thread is None:
                thread = LoopThread("tasuki keeper", work=lambda: self._keep(thread))
                thread.start()
                self._thread = thread
            if holding.period < self._period:
                self._wake()

    def remove(self, holding: Holding) -> None:
        """Keep it no longer; the thread ends with the last one."""
        with self._lock:
            self._holdings.pop(holding, None)
            if not self._holdings and self._thread is not None:
                self._thread.stop()
                self._thread = None

    def check(self) -> None:
        """Ask now whether sessions still hold their deliveries: a connection seems to be lost."""
        with self._lock:
            self._wake()

    def _wake(self) -> None:
        if self._thread is not None:
            self._thread.tell(self._changed.set)

    def _round(self, thread: LoopThread, changed: asyncio.Event) -> tuple[float, list[Holding]] | None:
        """Seconds until the next round, and what this one renews; None: the thread is not in use any more."""
        changed.clear()
        with self._lock:
            if thread is not self._thread:
                return None
            self._changed = changed
            self._period = min(holding.period for holding in self._holdings)
            return self._period, [holding for holding in self._holdings if holding.deliveries]

    async def _keep(self, thread: LoopThread) -> None:
        """Renew every holding in a task of its own: a broker that hangs costs no other its leases."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        renewals: dict[Holding, asyncio.Task[None]] = {}
        while (found := self._round(thread, changed)) is not None:
            idle_for, holdings = found
            renewals = {holding: task for holding, task in renewals.items() if not task.done()}
            for holding in holdings:
                if holding not in renewals:
                    renewals[holding] = loop.create_task(self.renew(holding), name="renew leases")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(idle_for):
                    await changed.wait()

    async def renew(self, holding: Holding) -> None:
        """Renew what is due; does not raise."""
        spec, driver, lease = holding.queue.spec, holding.queue.driver, holding.lease
        assert lease is not None
        now = self._clock.monotonic()
        due = holding.due(now)
        holding.take_expired(due, now)
        receipts = list(due)
        for start in range(0, len(receipts), driver.capabilities.max_batch):
            batch = receipts[start : start + driver.capabilities.max_batch]
            try:
                stale = set(await driver.extend(spec.name, batch, lease))
            except Exception as error:  # whatever it is, the next round must come
                unexpected = None if isinstance(error, DriverError) else error
                _log.warning("cannot renew leases: %s", error, exc_info=unexpected, extra={"queue": holding.queue.id})
                return
            for receipt in batch:
                if receipt not in stale:
                    due[receipt].lease_until = now + lease
                elif receipt in holding.deliveries:  # else it was settled meanwhile
                    holding.lose(due[receipt])
