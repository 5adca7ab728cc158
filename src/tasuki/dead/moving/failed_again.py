"""Failed again: the letters of a batch that failed again and are dead letters once more."""

from __future__ import annotations

from msgspec.structs import replace

from tasuki.dead.moving.places import Places
from tasuki.dead.moving.progress import Progress
from tasuki.dead.rules import steps
from tasuki.dead.walk import FIRST, fitting
from tasuki.message import BATCH

PATIENCE = 10.0
"""Seconds for which a retry waits after its first letters, unless they are done before."""
_PERIOD = 2.0
"""Seconds between two counts of the letters that came back."""
_LOOK = 0.2
_PAGE = 500
"""Letters that are read at once, at most; and this many of the newest are looked at in any case, or ``_BYTES``."""
_BYTES = 64 * 2**20
_MOST = 10_000
"""Newest letters that are looked at."""


class FailedAgain:
    """Looks at the end of the queue of one batch."""

    def __init__(self, places: Places) -> None:
        self._places, self._source = places, places.source
        self._looked = -_PERIOD
        self._has_watched = False

    async def stop(self, progress: Progress) -> bool:
        """Whether the canary has stopped the batch. It waits after the first letters, and counts now and then."""
        batch = progress.batch
        if batch.act != "retry" or not self._source.driver.capabilities.has("peek"):
            return False
        if steps.is_watching(batch) and not self._has_watched:
            self._has_watched = True
            await self._watch(progress)
        elif progress.clock.monotonic() - self._looked >= _PERIOD:
            await self.count(progress)
        if not steps.is_alarmed(progress.batch):
            return False
        await progress.end(steps.stopped(progress.batch, await progress.now()))
        return True

    async def _watch(self, progress: Progress) -> None:
        until = progress.clock.monotonic() + PATIENCE
        while progress.clock.monotonic() < until and not steps.is_alarmed(progress.batch):
            is_empty = await self._is_done(progress)
            await self.count(progress)
            if is_empty:
                return
            await progress.rest(_LOOK)

    async def _is_done(self, progress: Progress) -> bool:
        """Whether no message waits or runs in the queues of the letters."""
        for queue in self._places.queues(progress.batch.targets):
            occupancy = await queue.driver.occupancy(queue.spec.name)
            if occupancy.ready or occupancy.hidden:
                return False
        return True

    async def count(self, progress: Progress) -> None:
        """Count the letters that came back, among the newest ones."""
        batch = progress.batch
        if batch.act != "retry" or not self._source.driver.capabilities.has("peek"):
            return
        self._looked = progress.clock.monotonic()
        found = await self._found(batch.id, None if batch.there is None else batch.there - batch.moved)
        first = len(found.intersection(batch.first))
        if (len(found), first) != (batch.returned, batch.returned_first):
            await progress.write(replace(batch, returned=len(found), returned_first=first))

    async def _found(self, batch: str, old: int | None) -> frozenset[str]:
        """The ids of the letters that came back, from the end of the queue on; ``old``: this many were there before."""
        driver, name = self._source.driver, self._source.spec.name
        depth = await driver.depth(name)
        total = end = depth.waiting
        lowest = max(end - _MOST, 0)
        found: set[str] = set()
        size, weight = FIRST, 0
        while end > lowest:
            start = max(end - size, lowest)
            page = await driver.peek(name, end - start, start)
            here = {message.id for message in page if message.headers.get(BATCH) == batch}
            found |= here
            weight += sum(len(message.body) for message in page)
            has_enough = total - start >= _PAGE or weight >= _BYTES
            if not here and has_enough and old is not None and start <= old:
                break  # others may have taken some of the old ones, so that the new ones begin before this place
            end = start
            size = min(_PAGE, 4 * size, fitting(page))
        return frozenset(found)
