"""Keeper: renews the leases of all held deliveries, from a thread of its own.

A handler that blocks the event loop, or holds it with computation, keeps its messages: the thread has its own loop, and
a driver's ``extend`` runs on it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field

from tasuki.clock import Clock
from tasuki.consumers.delivery import Delivery
from tasuki.contracts.driver import Receipt
from tasuki.errors import DriverError
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.consumer")


@dataclass(eq=False, slots=True)
class Holding:
    """What one consumer holds, by receipt. The loop's thread adds and removes; the keeper's thread reads copies."""

    queue: Queue
    metrics: ConsumerMetrics
    deliveries: dict[Receipt, Delivery] = field(default_factory=dict)


class Keeper:
    """One thread for all consumers of an application; it runs only while somebody holds leases."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holdings: list[Holding] = []
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()
        self._lock = threading.Lock()

    def add(self, holding: Holding) -> None:
        """Keep the leases of a holding from now on; nothing to do where the driver has no leases."""
        if not holding.queue.driver.capabilities.leases:
            return
        with self._lock:
            self._holdings.append(holding)
            if self._thread is None:
                self._changed.clear()
                self._thread = threading.Thread(target=self._run, name="tasuki keeper", daemon=True)
                self._thread.start()

    def remove(self, holding: Holding) -> None:
        """Keep it no longer; the thread ends with the last one."""
        with self._lock:
            if holding in self._holdings:
                self._holdings.remove(holding)
            if not self._holdings:
                self._thread = None
                self._changed.set()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while threading.current_thread() is self._thread:
                with self._lock:
                    holdings = list(self._holdings)
                for holding in holdings:
                    runner.run(self._extend(holding))
                # A third of the shortest lease is renewed in time even when one renewal fails.
                shortest = min((holding.queue.spec.lease for holding in holdings), default=30.0)
                self._changed.wait(max(shortest / 6, 0.01))

    async def _extend(self, holding: Holding) -> None:
        """Renew what has used up more than a third of its lease."""
        spec, driver = holding.queue.spec, holding.queue.driver
        now = self._clock.monotonic()
        due = {
            receipt: delivery
            for receipt, delivery in list(holding.deliveries.items())
            if not delivery.lost and delivery.lease_until - now < spec.lease * 2 / 3
        }
        receipts = list(due)
        for start in range(0, len(receipts), driver.capabilities.max_batch):
            batch = receipts[start : start + driver.capabilities.max_batch]
            try:
                stale = set(await driver.extend(spec.name, batch, spec.lease))
            except DriverError as error:
                _log.warning("cannot renew leases: %s", error, extra={"queue": holding.queue.id})
                return
            for receipt in batch:
                if receipt not in stale:
                    due[receipt].lease_until = now + spec.lease
                elif receipt in holding.deliveries:  # else it was settled meanwhile
                    due[receipt].lost = True
                    holding.metrics.lease_lost += 1
                    _log.warning("lease lost: the message may be handled twice", extra={"queue": holding.queue.id})
