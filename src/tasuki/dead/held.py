"""Letters that a tool has received: their leases, and their settling, however often its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.clock import Clock
from tasuki.contracts.driver import Receipt, Settlement
from tasuki.queues.queue import Queue

AWHILE = 2.0
"""Seconds for which the next message is waited for: a broker that pushes may need some round trips before the first."""


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


class Pace:
    """Waits between batches; ``held``: deliveries of ``source`` that must not come again before the end.

    Raises:
        ValueError: the rate, in messages a second, is not above 0.
    """

    def __init__(self, source: Queue, rate: float | None, clock: Clock, held: Sequence[Receipt]) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"a rate is above 0 messages a second, not {rate:g}")
        self._source, self._rate, self._clock, self._held = source, rate, clock, held
        self._started = self._renewed = clock.monotonic()
        self.step = source.spec.lease / 3
        """Seconds between two renewals."""

    def most(self, batch: int) -> int:
        """Messages to take at a time: what a second lets pass, so that none is held for long."""
        return batch if self._rate is None else max(1, min(batch, int(self._rate)))

    async def keep(self, moved: int, *, is_last: bool) -> None:
        """Wait until the next message may go, unless there is none, and renew the leases of the held messages."""
        await self.renew()
        if self._rate is None or is_last:
            return
        due = self._started + moved / self._rate
        while (left := due - self._clock.monotonic()) > 0:
            await asyncio.sleep(min(left, self.step))
            await self.renew()

    async def renew(self) -> None:
        """Renew the leases of the held messages, if a third of them is over."""
        now = self._clock.monotonic()
        driver, spec = self._source.driver, self._source.spec
        if not self._held or not driver.capabilities.leases or now - self._renewed < self.step:
            return
        self._renewed = now
        receipts = [*self._held]
        size = driver.capabilities.max_batch
        for start in range(0, len(receipts), size):
            await driver.extend(spec.name, receipts[start : start + size], spec.lease)
