"""Letters that a tool has received: their leases, and their settling, however often its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Receipt, Release, Settlement
from tasuki.queues.queue import Queue


async def settle_all(source: Queue, settlements: Sequence[Settlement]) -> None:
    """Settle letters in the order given, in batches; a cancellation is raised when all are settled.

    Raises:
        DriverError: a batch could not be settled; the later ones are not.
    """
    settling, is_cancelled = asyncio.create_task(_settle(source, settlements), name="settle letters"), False
    while not settling.done():
        try:
            await asyncio.wait([settling])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        settling.exception()  # read, so that asyncio does not log it
        raise asyncio.CancelledError
    settling.result()


async def _settle(source: Queue, settlements: Sequence[Settlement]) -> None:
    size = source.driver.capabilities.max_batch
    for start in range(0, len(settlements), size):
        await source.driver.settle(source.spec.name, settlements[start : start + size])


class Held:
    """Deliveries of a queue that are not handed out again before they are released."""

    def __init__(self, source: Queue, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._renewed = clock.monotonic()
        self.receipts: list[Receipt] = []
        """There may be very many."""
        self.step = source.spec.lease / 3
        """Seconds between two renewals."""

    async def renew(self) -> None:
        """Renew their leases, if a third of them is over."""
        now = self._clock.monotonic()
        driver, spec = self._source.driver, self._source.spec
        if not self.receipts or not driver.capabilities.has("leases") or now - self._renewed < self.step:
            return
        self._renewed = now
        receipts = [*self.receipts]
        size = driver.capabilities.max_batch
        for start in range(0, len(receipts), size):
            await driver.extend(spec.name, receipts[start : start + size], spec.lease)

    async def release(self) -> None:
        """Give them back, the newest first: each goes to the head of the queue, so the old order is restored."""
        await settle_all(self._source, [Release(receipt) for receipt in reversed(self.receipts)])
