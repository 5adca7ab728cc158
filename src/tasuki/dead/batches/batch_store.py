"""Batch store: the records of batches in a store, with their chosen ids and their notes for the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.dead.rules.batch import Batch, decode, encode
from tasuki.dead.rules.forms import Note
from tasuki.dead.rules.steps import is_due_to_be_emptied, needs_ids, needs_notes
from tasuki.errors import BatchNotFoundError, ConflictError
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
