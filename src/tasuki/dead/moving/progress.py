"""Progress: how far a move of letters is; here without a record, for as long as the call that makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tasuki.clock import Clock
from tasuki.dead.rules.batch import Batch
from tasuki.dead.rules.forms import Note

LOOK = 1.0
"""Seconds between two checks while it waits."""


class Progress:
    """A batch of this process alone; ``told`` is called with the number of moved letters."""

    is_recorded = False
    """Whether letters that were refused are counted, or tried again later; else the first refusal is raised."""

    def __init__(self, batch: Batch, clock: Clock, told: Callable[[int], None] | None = None) -> None:
        self.batch, self.clock = batch, clock
        self._told = told
        self._due = clock.monotonic()
        """When the next letter may go."""
        self._meanwhile: Callable[[], Awaitable[None]] | None = None
        self._slice = LOOK

    async def write(self, batch: Batch) -> None:
        """Note how far it is."""
        has_moved = batch.moved > self.batch.moved
        self.batch = batch
        if has_moved and self._told is not None:
            self._told(batch.moved)

    async def announce(self, batch: Batch) -> None:
        """Note the letters that are about to be moved."""
        self.batch = batch

    async def note(self, notes: dict[str, Note]) -> None:
        """Keep what the letters of the next chunk need on their way back."""

    async def end(self, batch: Batch) -> None:
        """Note its end."""
        self.batch = batch

    async def now(self) -> float:
        """The time of its end, Unix seconds."""
        return self.clock.time()

    async def sure(self) -> None:
        """Return if this process may take the next step."""

    async def look(self) -> None:
        """Read whether others have ordered something."""

    async def pace(self, moved: int) -> None:
        """Wait as long as this many letters take at the rate of the batch."""
        if self.batch.rate and not self.batch.is_back:
            now = self.clock.monotonic()
            self._due = max(self._due, now - LOOK) + moved / self.batch.rate
            await self.rest(self._due - now)

    def renew(self, meanwhile: Callable[[], Awaitable[None]], step: float) -> None:
        """Let this be called every ``step`` seconds, or more often, as long as it waits."""
        self._meanwhile, self._slice = meanwhile, min(LOOK, step)

    async def rest(self, seconds: float) -> None:
        """Wait, as long as the batch is to be moved."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            await asyncio.sleep(min(left, self._slice))
            await self.sure()
            if self._meanwhile is not None:
                await self._meanwhile()
            if left > LOOK:
                await self.look()
