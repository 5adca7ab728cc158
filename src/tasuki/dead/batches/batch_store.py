"""Batch store: records of batches with ids and notes for an undo, and the lease of the process that runs one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.dead import steps
from tasuki.dead.batch import Batch, State, decode, encode
from tasuki.dead.forms import Note
from tasuki.dead.moving.moving import Progress
from tasuki.dead.steps import is_due_to_be_emptied, needs_ids, needs_notes
from tasuki.errors import BatchNotFoundError, ConflictError, DriverError
from tasuki.message import HeaderValue
from tasuki.state.shared import CONTROL

RECORDS, IDS, NOTES = "batches/", "batch-ids/", "batch-notes/"

PLACE = "batch/"
"""Of the place that the process has which drives a batch, and, under ``CONTROL``, of what tells all processes of it."""

KEPT = 86_400.0
"""Seconds for which an ended batch is kept, unless its letters are in the trash still."""

LONGEST = 7 * KEPT
"""Seconds without any change after which a batch is forgotten."""

NOTES_KEPT = 2 * KEPT
"""Seconds for which letters that were moved can be brought back."""

_PAGE = 2000


Step = Callable[[Batch], Batch]


_ids = msgspec.msgpack.Decoder(list[str])

_notes = msgspec.msgpack.Decoder(dict[str, dict[str, HeaderValue]])

_pack = msgspec.msgpack.Encoder().encode


class BatchStore:
    """The batches in one store. Every verb may raise DriverError."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def get(self, id: str) -> tuple[Batch, int] | None:
        """The batch and its version; None: there is none."""
        entry = await self.store.get(RECORDS + id)
        if entry is None or (batch := decode(entry.value)) is None or batch.id != id:
            return None
        return batch, entry.version

    async def found(self, id: str) -> tuple[Batch, int]:
        """The same. Raises BatchNotFoundError."""
        if (found := await self.get(id)) is None:
            raise BatchNotFoundError(f"there is no batch {id} any more: ended ones are kept for a day", batch=id)
        return found

    async def put(self, batch: Batch, version: int) -> int:
        """Write it over this version of it; returns the new one. Raises ConflictError."""
        ttl = LONGEST if batch.ended is None or is_due_to_be_emptied(batch) else KEPT
        return await self.store.put(RECORDS + batch.id, encode(batch), ttl=ttl, version=version)

    async def all(self) -> list[Batch]:
        """All batches, the newest first."""
        found: list[Batch] = []
        after = ""
        while True:
            page = await self.store.list(RECORDS, after=after, limit=MAX_PAGE)
            found += [batch for entry in page.entries if (batch := decode(entry.value)) is not None]
            if not (after := page.cursor):
                return found[::-1]

    async def tell(self, id: str) -> None:
        """Tell all processes that there is something to do for it."""
        await self.store.put(CONTROL + PLACE + id, id.encode(), ttl=LONGEST)

    async def told(self, id: str) -> int | None:
        """The version of the control that tells all processes of it; None: there is none."""
        entry = await self.store.get(CONTROL + PLACE + id)
        return None if entry is None else entry.version

    async def hush(self, id: str, version: int) -> None:
        """Take that back, unless it was written again."""
        with suppress(ConflictError):
            await self.store.delete(CONTROL + PLACE + id, version=version)

    async def put_ids(self, id: str, ids: Sequence[str]) -> None:
        """Keep the ids of the letters that were chosen."""
        for start in range(0, len(ids), _PAGE):
            await self.store.put(_ids_key(id, start), _pack(ids[start : start + _PAGE]), ttl=LONGEST)

    async def ids(self, id: str) -> list[str]:
        """The ids of the letters that were chosen."""
        page = await self.store.list(f"{IDS}{id}/", limit=MAX_PAGE)
        return [each for entry in page.entries for each in _ids.decode(entry.value)]

    async def put_notes(self, id: str, chunk: int, notes: dict[str, Note]) -> None:
        """Keep what the letters of a chunk must get again."""
        await self.store.put(_note_key(id, chunk), _pack(notes), ttl=NOTES_KEPT)

    async def notes(self, id: str, chunk: int) -> dict[str, dict[str, HeaderValue]]:
        """What the letters of a chunk must get again, by their ids."""
        entry = await self.store.get(_note_key(id, chunk))
        return {} if entry is None else _notes.decode(entry.value)

    async def tidy(self, batch: Batch) -> None:
        """Delete what the batch does not need any more; what a kill in between leaves ends with its time to live."""
        if not needs_ids(batch):
            for start in range(0, batch.ids, _PAGE):
                await self.store.delete(_ids_key(batch.id, start))
        if not needs_notes(batch):
            for chunk in range(batch.chunks):
                await self.store.delete(_note_key(batch.id, chunk))

    async def change(self, id: str, step: Step) -> Batch:
        """Write what the step makes of a batch, also if its process writes meanwhile.

        Raises:
            BatchNotFoundError: there is none. BatchStateError: the step does not fit its state.
        """
        while True:
            batch, version = await self.found(id)
            changed = step(batch)
            try:
                await self.put(changed, version)
            except ConflictError:
                continue
            return changed


def _ids_key(id: str, start: int) -> str:
    return f"{IDS}{id}/{start:06}"


def _note_key(id: str, chunk: int) -> str:
    return f"{NOTES}{id}/{chunk:06}"


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
