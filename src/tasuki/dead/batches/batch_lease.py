"""Batch lease: one process has the lease of a batch, and writes down what it does with it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tasuki.clock import Clock
from tasuki.dead.batches.batch_store import PLACE, BatchStore
from tasuki.dead.moving.progress import Progress
from tasuki.dead.rules import steps
from tasuki.dead.rules.batch import Batch, State
from tasuki.dead.rules.forms import Note
from tasuki.errors import ConflictError, DriverError

LEASE = 10.0
"""Seconds after which another process goes on in place of one that was killed."""


class HaltedError(Exception):
    """The batch is not to be driven on: another process has it, or it is in another state."""


class LeasedBatch(Progress):
    """A batch and its record. Every verb may raise HaltedError and DriverError."""

    is_recorded = True

    def __init__(self, batch: Batch, batches: BatchStore, holder: str, clock: Clock, lease: float = LEASE) -> None:
        super().__init__(batch, clock)
        self.batches = batches
        self._holder, self._lease = holder, lease
        self._renewed = 0.0
        self._version = 0
        self._as: State = "running"

    async def take(self) -> bool:
        """Take the lease and the batch; False: another process has it, or there is nothing to do for it."""
        id = self.batch.id
        if not await self._hold():
            return False
        while (found := await self.batches.get(id)) is not None and found[0].is_driven:
            self.batch = steps.taken(found[0], self._holder)
            self._as = self.batch.state
            with suppress(ConflictError):
                self._version = await self.batches.put(self.batch, found[1])
                return True
        await self.leave()
        return False

    async def leave(self) -> None:
        """Free the place for others; where that fails, it ends with its lease."""
        with suppress(DriverError):
            await asyncio.shield(self.batches.store.release(PLACE + self.batch.id, self._holder))

    async def write(self, batch: Batch) -> None:
        """Write the batch down, with the orders that others have written meanwhile.

        Raises:
            HaltedError: it is in another state now; what this process has counted is written all the same.
        """
        while True:
            try:
                self._version = await self.batches.put(batch, self._version)
                break
            except ConflictError:
                found = await self.batches.get(batch.id)
                if found is None or found[0].runner != self._holder:
                    raise HaltedError from None
                stored, self._version = found
                batch = steps.merged(batch, stored)
        self.batch = batch
        self._check()

    async def announce(self, batch: Batch) -> None:
        """Write down the letters that are about to be moved; where something else is ordered, that none is."""
        before = self.batch
        try:
            await self.write(batch)
        except HaltedError:
            if self.batch is not before:
                await self.write(steps.merged(before, self.batch))
            raise

    async def note(self, notes: dict[str, Note]) -> None:
        """Keep them beside the record."""
        await self.batches.put_notes(self.batch.id, self.batch.chunks, notes)

    def _check(self) -> None:
        if self.batch.state != self._as:
            raise HaltedError

    async def end(self, batch: Batch) -> None:
        """Write its end, if no other has ordered something else meanwhile."""
        self._as = batch.state
        await self.write(batch)

    async def now(self) -> float:
        """The time of the store."""
        return await self.batches.store.time()

    async def sure(self) -> None:
        """Return if no other process can have the lease while the next step is taken."""
        if self.clock.monotonic() - self._renewed > self._lease / 3 and not await self._hold():
            raise HaltedError

    async def _hold(self) -> bool:
        asked = self.clock.monotonic()
        if await self.batches.store.hold(PLACE + self.batch.id, self._holder, places=1, lease=self._lease) is None:
            return False
        self._renewed = asked
        return True

    async def look(self) -> None:
        """Read whether others have ordered something."""
        found = await self.batches.get(self.batch.id)
        if found is None or found[0].runner != self._holder:
            raise HaltedError
        if found[0].state != self._as:
            await self.write(self.batch)
