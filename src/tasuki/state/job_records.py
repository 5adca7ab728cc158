"""The record of a job: written by its publisher first, where the broker cannot locate it, and by its worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.contracts.state.jobs import JobStatus, Progress
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, DriverError
from tasuki.state.records import part_of
from tasuki.state.shared import SharedState

WAITS = 7 * 86400.0
"""Seconds for which the record of a job that has not ended is kept after its last change, and after its delay."""

RESULTS = "result/"
"""Prefix of the keys: one for each message, by its queue's name at the broker and its id."""


class JobError(msgspec.Struct, frozen=True):
    """The last failure of a job."""

    text: str
    type: str = ""
    """Name of the exception's class; empty: there was none."""
    kind: str = ""
    reason: str = ""
    """Why it is given up, as its dead letter says; empty: it is tried again."""


class JobRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The latest record of a job by its worker; ``at``: Unix time of the worker."""

    status: JobStatus
    at: float
    attempt: int = 0
    value: bytes | None = None
    """The result, as ``codec`` encodes it; None: there is none, or ``problem`` says why it could not be kept."""
    codec: str = ""
    problem: str = ""
    error: JobError | None = None
    progress: Progress | None = None
    due: float | None = None
    """Until when a waiting one is delayed, as far as its publisher or its worker knows."""

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self.status in ("done", "failed", "dead", "expired", "cancelled")

    @property
    def is_given_up(self) -> bool:
        """Whether ``error`` says why nothing follows."""
        return self.status in ("failed", "dead", "expired")

    def ttl(self, after_end: float) -> float:
        """Seconds for which it is kept; ``after_end``: of the queue's policy."""
        if self.is_final:
            return after_end
        return max(after_end, WAITS) + max((self.due or 0.0) - self.at, 0.0)


PURGES = "purged/"
"""Prefix of the notes of the last purge: one for each queue, by its name at the broker."""


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(JobRecord)


def result_key(queue: str, id: str) -> str:
    """The key of a job."""
    return f"{RESULTS}{queue}/{part_of(id)}"


def purge_key(queue: str) -> str:
    """The key of the note of a queue's last purge; its version tells the records from before it."""
    return f"{PURGES}{queue}"


def encode(record: JobRecord) -> bytes:
    """The value under the key."""
    return _encoder.encode(record)


def decode(value: bytes) -> JobRecord | None:
    """The record of a value; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


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
