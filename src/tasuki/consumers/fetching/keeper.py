"""Keeper: renews the leases of all held deliveries, from its own thread.

The thread has its own loop, on which the drivers' ``extend`` runs, so a handler that blocks the main loop keeps its
messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tasuki.clock import Clock
from tasuki.contracts.driver import SILENCE, Receipt
from tasuki.errors import DriverError
from tasuki.observe.events import LEASE_LOST, LEASE_RENEWED, EventRing
from tasuki.system.loop_thread import LoopThread

# A publisher makes a keeper too, and holds no deliveries.
if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.observe.metrics import ConsumerMetrics
    from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.consumer")


_SESSION_PERIOD = 1.0
"""Seconds between two checks whether a session still holds its deliveries, without a request to the broker."""

_IDLE = 60.0
"""Seconds between two rounds in which nothing is renewed."""


def lease_of(queue: Queue) -> float | None:
    """Seconds for which a delivery certainly belongs to the consumer without a renewal; None: until the driver closes.

    A broker without leases gives deliveries to others after its ``patience`` without a sign of life.
    """
    driver = queue.driver
    return queue.spec.lease if driver.capabilities.has("leases") else driver.patience


@dataclass(eq=False, slots=True)
class Holding:
    """One consumer's deliveries, by receipt. The loop's thread adds and removes; the keeper's thread reads copies."""

    queue: Queue
    metrics: ConsumerMetrics
    lease: float | None
    """See ``lease_of``."""
    events: EventRing = field(default_factory=EventRing)
    deliveries: dict[Receipt, Delivery] = field(default_factory=dict)

    def due(self, now: float) -> dict[Receipt, Delivery]:
        """The deliveries to renew: those past a third of their ``silence``, or all if a session holds them."""
        assert self.lease is not None
        least_left = self.lease - self.silence / 3 if self.queue.driver.capabilities.has("leases") else float("inf")
        return {
            receipt: delivery
            for receipt, delivery in self.deliveries.copy().items()
            if not delivery.lost and delivery.lease_until - now < least_left
        }

    def take_expired(self, due: dict[Receipt, Delivery], now: float) -> None:
        """Take deliveries of a silent session as lost after its patience, as its broker cannot be asked.

        After a suspension of the process the session looks alive until the driver reads that it has ended.
        """
        if not self.queue.driver.capabilities.has("leases"):
            for receipt in [receipt for receipt, delivery in due.items() if delivery.lease_until <= now]:
                self.lose(due.pop(receipt))

    def lose(self, delivery: Delivery) -> None:
        """The broker may have given it to another consumer; logged unless its settlement is already under way."""
        delivery.lost = True
        if delivery.settled:
            return
        self.metrics.lease_lost += 1
        self.events.add(LEASE_LOST, delivery.received.id, delivery.received.attempt)
        about = {"queue": self.queue.id, "message_id": delivery.received.id, "attempt": delivery.received.attempt}
        _log.warning("lease lost: the message may be handled twice", extra=about)

    def late(self, now: float) -> float:
        """Seconds by which the renewal of one of its leases is late; 0: none is."""
        if self.lease is None:
            return 0.0
        ends = [delivery.lease_until for delivery in self.deliveries.copy().values() if not delivery.lost]
        return max(now + self.lease / 2 - min(ends), 0.0) if ends else 0.0

    @property
    def silence(self) -> float:
        """Seconds that a delivery may go without a renewal: its lease, or less where a death is seen by silence."""
        assert self.lease is not None
        return min(self.lease, SILENCE) if self.queue.driver.capabilities.has("sees_silence") else self.lease

    @property
    def period(self) -> float:
        """Seconds between two rounds; a third of ``silence`` is left when a renewal and its repetition fail."""
        period = max(self.silence / 6, 0.01)
        return period if self.queue.driver.capabilities.has("leases") else min(period, _SESSION_PERIOD)


class Renewable(Protocol):
    """Anything renewed beside the leases, such as the claim of a key."""

    period: float
    """Seconds between two renewals."""
    due_at: float
    """Monotonic time of the next one."""

    async def renew(self) -> None:
        """Renew once, from whichever event loop; does not raise."""


class Keeper:
    """One thread for all consumers of an application, from the first lease or claim on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holdings: dict[Holding, None] = {}
        self._claims: dict[Renewable, None] = {}
        self._period = 0.0
        """Seconds for which the thread waits between two rounds."""
        self._thread: LoopThread | None = None
        self._changed = asyncio.Event()
        """Of the thread's loop: wakes it for a round."""
        self._lock = threading.Lock()
        self._silent_since: float | None = None
        """When its thread was asked for a sign of life that it has not given yet, by the machine's clock."""

    def add(self, holding: Holding) -> None:
        """Renew the leases of a holding from now on, if the driver has leases."""
        with self._lock:
            self._holdings[holding] = None
            if holding.lease is not None:
                self._begin(holding.period)

    def _begin(self, period: float) -> None:
        """Have a thread that begins a round this often."""
        if self._thread is None:
            thread = LoopThread("tasuki keeper", work=lambda: self._keep(thread))
            thread.start()
            self._thread = thread
        if period < self._period:
            self._wake()

    def add_claim(self, claim: Renewable) -> None:
        """Renew a claim from now on, whatever blocks the event loop of its handler."""
        with self._lock:
            self._claims[claim] = None
            self._begin(claim.period / 2)

    def remove_claim(self, claim: Renewable) -> None:
        """Stop renewing it; a renewal may be under way. While there are holdings, the thread stays for the next one."""
        with self._lock:
            self._claims.pop(claim, None)
            self._end_if_unused()

    def remove(self, holding: Holding) -> None:
        """Stop renewing; the thread ends with the last holding, or the last claim of a handler that outlasts it."""
        with self._lock:
            self._holdings.pop(holding, None)
            self._end_if_unused()

    def _end_if_unused(self) -> None:
        if not self._holdings and not self._claims and self._thread is not None:
            self._thread.stop()
            self._thread = None

    def check(self) -> None:
        """Check now whether sessions still hold their deliveries, after a sign of a lost connection."""
        with self._lock:
            self._wake()

    def silent_for(self) -> float:
        """Seconds for which its thread has given no sign of life; 0: it has, or there is none. Asks for another one."""
        thread, now = self._thread, time.monotonic()
        if thread is None:
            self._silent_since = None
            return 0.0
        since = self._silent_since
        if since is None:
            self._silent_since = now
        thread.tell(self._speak)  # again each time: it may have a new loop
        return 0.0 if since is None else now - since

    def _speak(self) -> None:
        self._silent_since = None

    def _wake(self) -> None:
        if self._thread is not None:
            self._thread.tell(self._changed.set)

    def _round(self, thread: LoopThread, changed: asyncio.Event) -> tuple[float, list[Holding], list[Renewable]] | None:
        """Seconds until the next round, and its holdings and claims; None: the thread is not in use any more."""
        changed.clear()
        with self._lock:
            if thread is not self._thread:
                return None
            self._changed = changed
            holdings = [holding for holding in self._holdings if holding.lease is not None]
            periods = [holding.period for holding in holdings] + [claim.period / 2 for claim in self._claims]
            self._period, now = min(periods, default=_IDLE), self._clock.monotonic()
            due = [claim for claim in self._claims if claim.due_at <= now]
            return self._period, [holding for holding in holdings if holding.deliveries], due

    async def _keep(self, thread: LoopThread) -> None:
        """Renew each holding and claim in its own task, so that a silent broker does not delay the others."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        renewals: dict[Holding | Renewable, asyncio.Task[None]] = {}
        while (found := self._round(thread, changed)) is not None:
            idle_for, holdings, claims = found
            renewals = {each: task for each, task in renewals.items() if not task.done()}
            for holding in holdings:
                if holding not in renewals:
                    renewals[holding] = loop.create_task(self.renew(holding), name="renew leases")
            for claim in claims:
                if claim not in renewals:
                    renewals[claim] = loop.create_task(claim.renew(), name="renew a claim")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(idle_for):
                    await changed.wait()

    async def renew(self, holding: Holding) -> None:
        """Renew the due leases; does not raise."""
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
            except Exception as error:  # a driver's defect must not end the renewals
                unexpected = None if isinstance(error, DriverError) else error
                _log.warning("cannot renew leases: %s", error, exc_info=unexpected, extra={"queue": holding.queue.id})
                return
            holding.events.add(LEASE_RENEWED, value=len(batch) - len(stale))
            for receipt in batch:
                if receipt not in stale:
                    due[receipt].lease_until = now + lease
                elif receipt in holding.deliveries:  # else it was settled meanwhile
                    holding.lose(due[receipt])
