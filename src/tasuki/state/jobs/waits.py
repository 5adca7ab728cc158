"""Waits: the first record of a job, written by its publisher, for brokers that cannot locate a message.

See docs/adr/0056.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from tasuki.contracts.driver import Outgoing
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, DriverError
from tasuki.state.results import WAITS, JobRecord, encode, purge_key, result_key
from tasuki.state.shared import SharedState

_log = logging.getLogger("tasuki.state")

_PATIENCE = 1.0
"""Seconds that a publish waits for these records."""
_AT_ONCE = 100
"""Records that are written at the same time."""

Versions = Mapping[str, int]
"""By id: the version of the record that is replaced; without one it must be absent."""


class Waits:
    """The records of one queue, written after the confirmed publish: a failure here does not fail the publish."""

    def __init__(self, state: SharedState, queue: str, ttl: float) -> None:
        self._state, self._queue, self._ttl = state, queue, ttl

    async def note(self, messages: Sequence[Outgoing], versions: Versions | None = None) -> None:
        """Record that confirmed messages wait, unless their workers have been quicker."""
        known = versions or {}
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                try:
                    store = await self._state.store()
                    for start in range(0, len(messages), _AT_ONCE):
                        part = messages[start : start + _AT_ONCE]
                        await asyncio.gather(*(self._put(store, each, known.get(each.id, 0)) for each in part))
                except DriverError as error:
                    _log.debug("cannot keep the status of messages: %s", error, extra={"queue": self._queue})

    async def versions(self, messages: Sequence[Outgoing]) -> Versions:
        """The versions of the records of messages that are about to be forwarded; empty if they cannot be read."""
        with suppress(TimeoutError, DriverError):
            async with asyncio.timeout(_PATIENCE):
                store = await self._state.store()
                found = await asyncio.gather(*(store.get(result_key(self._queue, each.id)) for each in messages))
                return {each.id: entry.version for each, entry in zip(messages, found, strict=True) if entry}
        return {}

    async def note_purge(self) -> None:
        """Record that the messages which wait now are about to be removed. Raises DriverError."""
        await (await self._state.store()).put(purge_key(self._queue), b"", ttl=2 * WAITS)

    async def _put(self, store: Store, message: Outgoing, version: int) -> None:
        now = self._state.clock.time()
        record = JobRecord("waiting", now, due=now + message.delay if message.delay > 0 else None)
        with suppress(ConflictError):
            key = result_key(self._queue, message.id)
            await store.put(key, encode(record), ttl=record.ttl(self._ttl), version=version)
