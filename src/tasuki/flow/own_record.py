"""OwnRecord: the record of a message's run, taken over and written by one delivery."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from tasuki.backoff import UNTIL_BACK
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, DriverError, HandlerError
from tasuki.flow.records import RUN_TTL, Pause, RunRecord, Step, checked, decode, encode, invalid
from tasuki.message import new_id
from tasuki.state.shared import SharedState

T = TypeVar("T")

_log = logging.getLogger("tasuki.consumer")

_PATIENCE = 60.0
"""Seconds for which a step waits for an unavailable store, while its message is ours."""
_TRIES = 20
"""How often a record is taken over from a worker that writes it at the same moment."""
_FORGET = 1.0
"""Seconds to delete a record; it ends by itself if that fails."""


class Owner(Protocol):
    """The delivery that owns the record."""

    lost: bool
    settled: bool

    @property
    def in_transaction(self) -> bool:
        """Whether its handler has a transaction open, with which the message is settled."""

    def log_fields(self) -> dict[str, Any]:
        """The fields of each log record about it."""


class OwnRecord:
    """Read and taken over at its first use, and written only over the version that this delivery wrote last.

    So a delivery that lost its lease fails at its next write, once another one has taken over.

    Args:
        state: where the record is.
        key: of the record.
        owner: the delivery.
        ttl: seconds for which the record is kept after its last write, and after its longest pause.
    """

    def __init__(self, state: SharedState, key: str, owner: Owner, ttl: float) -> None:
        self._state = state
        self._key = key
        self._owner = owner
        self._ttl = max(ttl, RUN_TTL)
        self._token = new_id()
        self._version = 0
        """Of the record, as this delivery wrote it last; 0: it is not taken over."""
        self._is_unsure = False
        """Whether the last write was interrupted, so that it may have happened."""
        self.steps: dict[str, Step] = {}
        """The steps that are done."""
        self.pauses: dict[str, Pause] = {}
        """The pauses that are not known to be over."""

    async def ready(self) -> None:
        """Be the owner, and know the record. Raises HandlerError: there is nothing to record any more."""
        self._check()
        if not self._version:
            await self.insist(self._take_over)
        if self._is_unsure:  # after an interrupted write: learn whether it happened
            await self.insist(self._read_again)
            self._is_unsure = False

    async def save(self, steps: dict[str, Step], pauses: dict[str, Pause], name: str) -> None:
        """Write it, for the step of this name. Raises HandlerError (Invalid): it is too large."""
        record = RunRecord(self._token, [*steps.values()], [*pauses.values()])
        value, ttl = checked(record, name), self._ttl_of(record)
        self._is_unsure = True
        await self.insist(lambda: self._write(value, ttl))
        self._is_unsure = False
        self.steps, self.pauses = steps, pauses

    def _check(self) -> None:
        if self._owner.lost:
            raise self._fenced()
        if self._owner.settled:
            raise invalid("the message is settled already: call its steps before")
        if self._owner.in_transaction:
            raise invalid(
                "context.transaction() is open, and a rollback would undo the work of a step, not its record: call "
                "steps, sleeps and waits before it; what its block writes is done once without them"
            )

    def _ttl_of(self, record: RunRecord) -> float:
        return self._ttl + max((pause.until - pause.since for pause in record.pauses), default=0.0)

    async def _take_over(self) -> None:
        store = await self._state.store()
        for _ in range(_TRIES):
            found = await store.get(self._key)
            before = RunRecord("") if found is None else decode(found.value)
            record = RunRecord(self._token, before.steps, before.pauses)
            version = 0 if found is None else found.version
            try:
                self._version = await store.put(self._key, encode(record), ttl=self._ttl_of(record), version=version)
            except ConflictError:  # another worker has just written it
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
                continue
            self._know(record)
            return
        raise self._fenced()

    def _know(self, record: RunRecord) -> None:
        self.steps = {step.name: step for step in record.steps}
        self.pauses = {pause.name: pause for pause in record.pauses}

    async def _write(self, value: bytes, ttl: float) -> None:
        """Write the record unless that has happened."""
        store = await self._state.store()
        try:
            self._version = await store.put(self._key, value, ttl=ttl, version=self._version)
        except ConflictError:
            found = await store.get(self._key)
            if found is None or found.value != value:
                raise self._fenced() from None
            self._version = found.version  # our own, whose answer was lost

    async def _read_again(self) -> None:
        found = await (await self._state.store()).get(self._key)
        record = None if found is None else decode(found.value)
        if found is None or record is None or record.owner != self._token:
            raise self._fenced()
        self._version = found.version
        self._know(record)

    async def ask(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """The result of a verb of the store, as ``insist``."""
        found: list[T] = []

        async def once() -> None:
            found.append(await work(await self._state.store()))

        await self.insist(once)
        return found[0]

    async def insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, again while the store is unavailable. Raises DriverError: it stays away."""
        clock, failures = self._state.clock, 0
        until = clock.monotonic() + _PATIENCE
        while True:
            try:
                await work()
            except DriverError as error:
                failures += 1
                if not error.retryable or clock.monotonic() >= until:
                    raise
                if self._owner.lost:
                    raise self._fenced() from error
                await asyncio.sleep(UNTIL_BACK.delay(failures))
            else:
                return

    def _fenced(self) -> HandlerError:
        return HandlerError(
            "this delivery of the message has lost its lease, and another worker goes on with its steps: end here; "
            "what this run does now may happen twice",
            kind="Conflict",
            retryable=True,
        )

    async def forget(self) -> None:
        """Delete the record, as its message is done; a failure is harmless, as the record ends by itself."""
        if not self._version:
            return
        try:
            async with asyncio.timeout(_FORGET):
                await (await self._state.store()).delete(self._key, version=self._version)
        except (DriverError, TimeoutError) as error:
            _log.debug("the record of the steps is not deleted: %r", error, extra=self._owner.log_fields())
