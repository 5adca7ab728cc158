"""Keeper: renews the leases of all held deliveries, from a thread of its own.

A handler that blocks the event loop, or holds it with computation, keeps its messages: the thread has its own loop, and
a driver's ``extend`` runs on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Callable
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
        self._look: Callable[[], object] = _nothing
        self._lock = threading.Lock()

    def add(self, holding: Holding) -> None:
        """Keep the leases of a holding from now on; nothing to do where the driver has no leases."""
        if not holding.queue.driver.capabilities.leases:
            return
        with self._lock:
            self._holdings.append(holding)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tasuki keeper", daemon=True)
                self._thread.start()
            self._look()  # its lease may be shorter than what the thread is waiting for

    def remove(self, holding: Holding) -> None:
        """Keep it no longer; the thread ends with the last one."""
        with self._lock:
            if holding in self._holdings:
                self._holdings.remove(holding)
            if not self._holdings:
                self._look()
                self._thread, self._look = None, _nothing

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        """Renew every holding in a task of its own: a broker that hangs costs no other its leases."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        renewals: dict[Holding, asyncio.Task[None]] = {}
        while True:
            changed.clear()
            with self._lock:
                if threading.current_thread() is not self._thread:
                    return
                self._look = functools.partial(loop.call_soon_threadsafe, changed.set)
                holdings = list(self._holdings)
            renewals = {holding: task for holding, task in renewals.items() if not task.done()}
            for holding in holdings:
                if holding not in renewals:
                    renewals[holding] = loop.create_task(self.renew(holding), name="renew leases")
            # A third of the shortest lease is renewed in time even when one renewal fails.
            shortest = min(holding.queue.spec.lease for holding in holdings)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(shortest / 6, 0.01)):
                    await changed.wait()

    async def renew(self, holding: Holding) -> None:
        """Renew what has used up more than a third of its lease; does not raise."""
        spec, driver = holding.queue.spec, holding.queue.driver
        now = self._clock.monotonic()
        due = {
            receipt: delivery
            for receipt, delivery in holding.deliveries.copy().items()
            if not delivery.lost and delivery.lease_until - now < spec.lease * 2 / 3
        }
        receipts = list(due)
        for start in range(0, len(receipts), driver.capabilities.max_batch):
            batch = receipts[start : start + driver.capabilities.max_batch]
            try:
                stale = set(await driver.extend(spec.name, batch, spec.lease))
            except Exception as error:  # whatever it is, the next round must come
                unexpected = None if isinstance(error, DriverError) else error
                _log.warning("cannot renew leases: %s", error, exc_info=unexpected, extra={"queue": holding.queue.id})
                return
            for receipt in batch:
                if receipt not in stale:
                    due[receipt].lease_until = now + spec.lease
                elif receipt in holding.deliveries and not due[receipt].settled:  # else it was settled meanwhile
                    due[receipt].lost = True
                    holding.metrics.lease_lost += 1
                    _log.warning("lease lost: the message may be handled twice", extra={"queue": holding.queue.id})


def _nothing() -> None:
    """Nobody looks."""
