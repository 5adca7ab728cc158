"""MessageSteps: the steps of one delivery, recorded so that another delivery of the message goes on after the last."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from tasuki.backoff import UNTIL_BACK
from tasuki.errors import ConflictError, DriverError, HandlerError
from tasuki.flow.records import (
    RUN_TTL,
    RunRecord,
    Step,
    check_name,
    decode,
    encode,
    invalid,
    result_of,
    with_step,
)
from tasuki.handlers.store.values import packed
from tasuki.message import new_id
from tasuki.state.shared import SharedState

T = TypeVar("T")

_log = logging.getLogger("tasuki.consumer")

_PATIENCE = 60.0
"""Seconds for which a step waits for a store that is away, while its message is ours."""
_TRIES = 20
"""How often a record is taken over from a worker that writes it at the same moment."""
_FORGET = 1.0
"""Seconds to delete a record; it ends by itself if that fails."""


class Owner(Protocol):
    """The delivery whose steps these are."""

    lost: bool
    settled: bool

    def log_fields(self) -> dict[str, Any]:
        """The fields of each log record about it."""


class MessageSteps:
    """Reads the record at the first step, takes it over, and writes it after each step.

    Each owner writes by the version that it wrote last. So a delivery that lost its lease fails at its next step, once
    another one has taken over.

    Args:
        state: where the record is.
        key: of the record.
        owner: the delivery.
        loop: of the consumer.
        ttl: seconds for which the record is kept after the last step.
    """

    def __init__(
        self, state: SharedState, key: str, owner: Owner, loop: asyncio.AbstractEventLoop, ttl: float = RUN_TTL
    ) -> None:
        self._loop = loop
        self._state = state
        self._key = key
        self._owner = owner
        self._ttl = max(ttl, RUN_TTL)
        self._token = new_id()
        self._version = 0
        """Of the record, as this delivery wrote it last; 0: it is not taken over."""
        self._is_unsure = False
        """Whether the last write was interrupted, so that it may have happened."""
        self._done: dict[str, Step] = {}
        self._numbers: dict[str, int] = {}
        """The steps that this delivery has called, and as which."""
        self._is_warned = False
        self._changing = asyncio.Lock()

    async def begin(self, name: str) -> tuple[Any] | None:
        """The result of the step if it is done; None: do it now, and call ``end``. See Steps."""
        async with self._changing:
            self._check()
            if not self._version:
                await self._insist(self._take_over)
            await self._be_sure()
            check_name(name, self._numbers, self._done)
            number = self._numbers[name] = len(self._numbers)
            step = self._done.get(name)
            if step is None:
                return None
            if step.number != number and not self._is_warned:
                self._is_warned = True
                _log.warning("step %r was number %d when it was recorded, and is number %d now: the handler has "
                             "changed, or its order is not fixed", name, step.number + 1, number + 1,
                             extra=self._owner.log_fields())  # fmt: skip
            return (result_of(step),)

    async def end(self, name: str, result: object) -> None:
        """Record the result of a step that has begun. See Steps."""
        raw = packed(name, result)
        async with self._changing:
            self._check()
            await self._be_sure()
            step = Step(name, self._numbers[name], self._state.clock.time(), raw)
            value = with_step(self._token, self._done, step)
            self._is_unsure = True
            await self._insist(lambda: self._write(value))
            self._is_unsure = False
            self._done[name] = step

    def _check(self) -> None:
        if self._owner.lost:
            raise self._fenced()
        if self._owner.settled:
            raise invalid("the message is settled already: call its steps before")

    async def _take_over(self) -> None:
        store = await self._state.store()
        for _ in range(_TRIES):
            found = await store.get(self._key)
            steps = [] if found is None else decode(found.value).steps
            value, version = encode(RunRecord(self._token, steps)), 0 if found is None else found.version
            try:
                self._version = await store.put(self._key, value, ttl=self._ttl, version=version)
            except ConflictError:  # another worker has just written it
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
                continue
            self._done = {step.name: step for step in steps}
            return
        raise self._fenced()

    async def _write(self, value: bytes) -> None:
        """Write the record unless that has happened."""
        store = await self._state.store()
        try:
            self._version = await store.put(self._key, value, ttl=self._ttl, version=self._version)
        except ConflictError:
            found = await store.get(self._key)
            if found is None or found.value != value:
                raise self._fenced() from None
            self._version = found.version  # our own, whose answer was lost

    async def _be_sure(self) -> None:
        """After an interrupted write: learn whether it happened."""
        if self._is_unsure:
            await self._insist(self._read_again)
            self._is_unsure = False

    async def _read_again(self) -> None:
        found = await (await self._state.store()).get(self._key)
        record = None if found is None else decode(found.value)
        if found is None or record is None or record.owner != self._token:
            raise self._fenced()
        self._version, self._done = found.version, {step.name: step for step in record.steps}

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, again while the store is away. Raises DriverError: it stays away."""
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

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """See Steps."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def forget(self) -> None:
        """Delete the record, as its message is done; a failure is harmless, as the record ends by itself."""
        if not self._version:
            return
        try:
            async with asyncio.timeout(_FORGET):
                await (await self._state.store()).delete(self._key, version=self._version)
        except (DriverError, TimeoutError) as error:
            _log.debug("the record of the steps is not deleted: %r", error, extra=self._owner.log_fields())
