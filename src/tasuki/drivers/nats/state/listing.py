"""Listing: the keys of a store in their order, which pages after the first one do not read again.

Keys appear by writes alone, so a page asks for the first message that was written below its prefix since the keys were
read. Most often there is none; a few are added, and after many the keys are read again. Keys that are gone stay, and
have no entry when the page reads its values.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.state.stream import StoreStream
from tasuki.drivers.nats.state.subjects import StoreSubjects

MOST_KEPT = 4
"""Lists under way whose keys are kept; they go with their last page, and the oldest one before another one begins."""
KEPT = 60.0
"""Seconds for which keys are kept at most, for a list that nothing continues."""
MOST_NEW = 32
"""Messages that are added to the keys of a list; after more, reading all of them takes less."""


@dataclass(slots=True)
class _Keys:
    """The keys of one prefix, sorted."""

    connection: Connection
    created: str
    """When the stream was made."""
    last: int
    """The sequence up to which they are known."""
    keys: list[str]


class Listing:
    """Of one store."""

    def __init__(self, stream: StoreStream, subjects: StoreSubjects) -> None:
        self._stream = stream
        self._subjects = subjects
        self._kept: dict[str, _Keys] = {}

    async def keys(self, connection: Connection, prefix: str, after: str) -> tuple[list[str], float]:
        """The keys behind ``after``, also of entries that are gone, and the server's time before."""
        kept = self._kept.get(prefix) if after else None
        now = None if kept is None else await self._renew(connection, prefix, kept)
        if kept is None or now is None:
            kept, now = await self._read(connection, prefix)
        return kept.keys[bisect_right(kept.keys, after) :], now

    def end(self, prefix: str) -> None:
        """The last page of a list was read."""
        self._kept.pop(prefix, None)

    async def _read(self, connection: Connection, prefix: str) -> tuple[_Keys, float]:
        found = await self._stream.names(connection, self._subjects.entries(prefix))
        keys = sorted(key for subject in found.subjects if (key := self._subjects.key(subject)).startswith(prefix))
        self._kept.pop(prefix, None)
        while len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        kept = self._kept[prefix] = _Keys(connection, found.created, found.last, keys)
        asyncio.get_running_loop().call_later(KEPT, self._expire, prefix, id(kept))
        return kept, found.now

    def _expire(self, prefix: str, number: int) -> None:
        if id(self._kept.get(prefix)) == number:
            self.end(prefix)

    async def _renew(self, connection: Connection, prefix: str, kept: _Keys) -> float | None:
        """Add newer keys; returns the server's time before, None if all must be read again."""
        if kept.connection is not connection:
            return None
        first: float | None = None
        for _ in range(MOST_NEW):
            found = await self._stream.next(connection, self._subjects.entries(prefix), kept.last + 1)
            if found is None or found.created != kept.created or found.last < kept.last:
                return None
            first = found.now if first is None else first
            if not found.subjects:
                return first
            kept.last = max(kept.last, found.last)
            key = self._subjects.key(found.subjects[0])
            place = bisect_left(kept.keys, key)
            if key.startswith(prefix) and kept.keys[place : place + 1] != [key]:
                insort(kept.keys, key)
        return None
