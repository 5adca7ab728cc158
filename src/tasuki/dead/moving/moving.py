"""Move letters: choose, pace, put and end, what both ways have in common; and stop when too many fail again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from tasuki.clock import Clock
from tasuki.contracts.driver import Outgoing
from tasuki.dead import steps
from tasuki.dead.batch import Batch
from tasuki.dead.forms import Note, note_of
from tasuki.dead.moving.places import Places
from tasuki.dead.selection import Chooser
from tasuki.dead.walk import Backwards
from tasuki.errors import DriverError
from tasuki.message import BATCH, Message
from tasuki.queues.queue import Queue

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
        total = (await driver.depth(name)).waiting
        pages = Backwards(partial(driver.peek, name), total, max(total - _MOST, 0), _PAGE)
        found: set[str] = set()
        while not pages.is_over:
            here = {message.id for message in await pages.page() if message.headers.get(BATCH) == batch}
            found |= here
            has_enough = total - pages.start >= _PAGE or pages.weight >= _BYTES
            if not here and has_enough and old is not None and pages.start <= old:
                break  # others may have taken some of the old ones, so that the new ones begin before this place
        return frozenset(found)


M = TypeVar("M", bound=Message)


class Letter(NamedTuple, Generic[M]):
    """A letter that is moved: to a queue, or to the trash (None)."""

    message: M
    target: Queue | None
    note: Note


class Moving(Generic[M]):
    """Moves letters until none is left. Every verb may raise HaltedError and DriverError."""

    def __init__(
        self, progress: Progress, places: Places, chooser: Chooser, failed_again: FailedAgain | None = None
    ) -> None:
        self._progress, self._places, self._chooser, self._failed_again = progress, places, chooser, failed_again

    async def run(self) -> None:
        """Move all; the batch is finished when this returns, or its canary has stopped it."""
        progress = self._progress
        try:
            await self._begin()
            while chunk := await self._next():
                await progress.pace(await self._move(chunk))
                if self._failed_again is not None and await self._failed_again.stop(progress):
                    return
        finally:
            await self._end()
        await progress.write(replace(progress.batch, seen=self._chooser.passed, unclear=self._chooser.choice.unclear))
        if self._failed_again is not None:
            await self._failed_again.count(progress)
        await progress.end(steps.finished(progress.batch, await progress.now()))

    async def _begin(self) -> None:
        """Before the first letter."""
        raise NotImplementedError

    async def _next(self) -> Sequence[Letter[M]]:
        """The next letters to move; none: this is the end."""
        raise NotImplementedError

    async def _move(self, chunk: Sequence[Letter[M]]) -> int:
        """Announce the letters, put them, and count them; returns how many were moved."""
        raise NotImplementedError

    async def _end(self) -> None:
        """After the last letter, also after a failure."""

    def _taken(self, message: M) -> Letter[M] | None:
        """The letter, if it is chosen and some queue takes it."""
        batch = self._progress.batch
        if not self._chooser.takes(message):
            return None
        target = None if batch.act == "delete" else self._places.target(message)
        if target is None and batch.act != "delete":
            self._progress.batch = replace(batch, stayed=batch.stayed + 1)
            return None
        return Letter(message, target, note_of(message, batch.act) if batch.kept else {})

    async def _put_each(self, chunk: Sequence[Letter[M]], now: float) -> list[DriverError | None]:
        """Put each letter into its place; one answer for each."""
        groups: dict[Queue | None, list[int]] = {}
        for number, letter in enumerate(chunk):
            groups.setdefault(letter.target, []).append(number)
        answers: dict[int, DriverError | None] = {}
        for target, numbers in groups.items():
            letters = [chunk[number].message for number in numbers]
            to = None if target is None else target.spec
            sent = [self._places.form(letter, now, to) for letter in letters]
            answers.update(zip(numbers, await self._put(target, letters, sent), strict=True))
        return [answers[number] for number in range(len(chunk))]

    async def _put(
        self, target: Queue | None, letters: Sequence[M], sent: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        """Put letters into one queue; None: the trash."""
        raise NotImplementedError
