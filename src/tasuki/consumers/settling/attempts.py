"""Attempts: records of failed attempts, written beside the settlements; they neither fail nor delay one.

A storm of failures becomes few writes: records wait a moment for others, and are written together. Records beyond the
allowance, and records that the store refuses, are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tasuki.consumers.settling.letters import origin_for
from tasuki.errors import DriverError
from tasuki.flow.attempts import attempt_key, lifetime, read_attempts
from tasuki.observe.redact import redact
from tasuki.observe.tracebacks import kept_traceback
from tasuki.queues.dead.attempts import (
    MAX_TRACEBACK_BYTES,
    AttemptRecord,
    encode,
    recorded,
    round_of,
)
from tasuki.state.shared import Allowance

if TYPE_CHECKING:
    from tasuki.consumers.definition import Definition
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.settling.verdict import Verdict
    from tasuki.contracts.state.store import Store
    from tasuki.state.shared import SharedState

_log = logging.getLogger("tasuki.consumer")

BATCH = 200
"""Records of one write."""
MOST_WAITING = 2000
"""Records that wait for the store; more are dropped."""
MOST_IN_MEMORY = 10_000
"""Records of a run in a store that lives in the memory of this process."""
_SOON = 0.05
"""Seconds for which a record waits for others."""
_PATIENCE = 1.0
"""Seconds that a dead letter waits for the records of its earlier attempts, and a stop for the last write."""
_QUIET = 60.0
"""Seconds between two complaints."""
_PAUSE = 10.0
"""Seconds for which nothing is read after a read has failed: a dead letter must not wait for an unavailable store."""
_LONGEST_TEXT = 4096
"""Characters of an error that are looked through for secrets."""
_UNRECORDED = frozenset({"expired", "cancelled"})
"""Reasons of verdicts that no attempt has led to."""


class _Waiting(NamedTuple):
    """A record that is not written yet, of a message; ``lifetime``: seconds for which it is needed."""

    id: str
    record: AttemptRecord
    lifetime: float


class Attempts:
    """The records of one run of a consumer, in its event loop."""

    def __init__(self, consumer: Definition, state: SharedState) -> None:
        self._consumer = consumer.id
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._queue = consumer.queue.spec.name
        self._clock, self._metrics = consumer.clock, consumer.metrics
        self._state = state
        self._waiting: deque[_Waiting] = deque()
        self._sending: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._allowance = Allowance(consumer.id, state.hour)
        self._mine: dict[str, None] = {}
        """Keys in the memory of this process, oldest first."""
        self._read_again_at = self._complain_again_at = float("-inf")

    def failed(self, delivery: Delivery, verdict: Verdict) -> AttemptRecord | None:
        """Record an attempt that this verdict ends; never raises, never waits. None: there is no record."""
        if verdict.reason in _UNRECORDED:
            return None
        refused = self._allowance.take(now := self._clock.monotonic())
        if refused:
            self._drop(1, refused, now)
            if verdict.action != "dead_letter":
                return None
        try:
            record = self._record(delivery, verdict)
        except Exception:  # an error whose text or causes raise
            _log.debug("no record of a failed attempt", exc_info=True, extra=delivery.log_fields())
            self._metrics.attempts_dropped += not refused
            return None
        if refused:
            return record
        if len(self._waiting) >= MOST_WAITING:
            self._metrics.attempts_dropped += 1
            return record
        self._waiting.append(_Waiting(delivery.received.id, record, lifetime(verdict.delay)))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name=f"attempts of {self._consumer}")
        return record

    def _record(self, delivery: Delivery, verdict: Verdict) -> AttemptRecord:
        origin, cause = origin_for(verdict, self._consumer), verdict.cause
        ended = delivery.ended_at if delivery.ended_at >= delivery.started_at else self._clock.monotonic()
        return recorded(
            AttemptRecord(
                attempt=delivery.received.attempt,
                at=round(self._clock.time(), 3),
                worker=self._worker,
                took=round(max(ended - delivery.started_at, 0.0), 6) if delivery.started_at >= 0 else 0.0,
                type=origin.type,
                place=origin.place,
                message=redact(verdict.error[:_LONGEST_TEXT]),
                traceback="" if cause is None else kept_traceback(cause, MAX_TRACEBACK_BYTES),
                round=round_of(delivery.received),
            )
        )

    async def _write(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < BATCH:
                    await asyncio.sleep(_SOON)
                self._sending = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                await self._write_some(self._sending)
                self._sending = []
        finally:
            self._writing, self._sending = None, []

    async def _write_some(self, batch: Sequence[_Waiting]) -> None:
        try:
            store = await self._state.store()
            entries = [(attempt_key(self._queue, id, record), encode(record)) for id, record, _ in batch]
            needed = max(each.lifetime for each in batch)
            await store.put_all(entries, ttl=min(needed, self._state.hour.longest()))
            if not store.facts.multi_process:
                await self._make_room(store, entries)
        except DriverError as error:
            self._drop(len(batch), f"their store does not take them: {error}", self._clock.monotonic())
        except Exception:  # a defect here must not end the consumer
            self._metrics.attempts_dropped += len(batch)
            _log.exception("records of failed attempts are dropped: %d", len(batch))

    def _drop(self, count: int, why: str, now: float) -> None:
        self._metrics.attempts_dropped += count
        if now >= self._complain_again_at:
            self._complain_again_at = now + _QUIET
            _log.warning("records of failed attempts are dropped, as %s", why, extra={"consumer": self._consumer})

    async def _make_room(self, store: Store, entries: Sequence[tuple[str, bytes]]) -> None:
        """Delete the oldest records from the memory of this process: what else it keeps there needs room too."""
        self._mine.update(dict.fromkeys(key for key, _ in entries))
        while len(self._mine) > MOST_IN_MEMORY:
            oldest = next(iter(self._mine))
            del self._mine[oldest]
            await store.delete(oldest)

    async def before(self, delivery: Delivery) -> list[AttemptRecord]:
        """The earlier attempts of a message that is given up; without the ones that the store does not show now."""
        received = delivery.received
        if received.attempt == 1 and not round_of(received):
            return []
        mine = [record for id, record, _ in (*self._sending, *self._waiting) if id == received.id]
        return [*await self._read(received.id), *mine]

    async def _read(self, id: str) -> list[AttemptRecord]:
        if self._clock.monotonic() < self._read_again_at:
            return []
        try:
            async with asyncio.timeout(_PATIENCE):
                return await read_attempts(await self._state.store(), self._queue, id)
        except (DriverError, TimeoutError) as error:
            self._read_again_at = self._clock.monotonic() + _PAUSE
            _log.debug("cannot read the failed attempts of a message: %r", error)
        except Exception:  # a defect here must not keep the letter
            _log.exception("cannot read the failed attempts of a message")
        return []

    async def finish(self) -> None:
        """Write what waits; what takes too long is dropped."""
        if self._writing is None:
            return
        writing = self._writing
        await asyncio.wait([writing], timeout=_PATIENCE)
        if not writing.done():
            self._metrics.attempts_dropped += len(self._waiting) + len(self._sending)
            self._waiting.clear()
            writing.cancel()


class NoAttempts:
    """The records of a run whose queue has no store: none."""

    def failed(self, delivery: Delivery, verdict: Verdict) -> None:
        """Nothing is recorded."""

    async def before(self, delivery: Delivery) -> list[AttemptRecord]:
        """Nothing is known."""
        return []

    async def finish(self) -> None:
        """Nothing waits."""


def attempts_for(consumer: Definition) -> Attempts | NoAttempts:
    """The records of a run."""
    return NoAttempts() if consumer.state is None else Attempts(consumer, consumer.state)
