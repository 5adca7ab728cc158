"""MessageSteps: records the steps and pauses of one delivery, so that the next delivery continues after them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from tasuki.backoff import UNTIL_BACK
from tasuki.contracts.state.jobs import Waited
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, DriverError, HandlerError
from tasuki.flow.records import (
    RUN_TTL,
    RunPause,
    RunRecord,
    StepRecord,
    check_name,
    checked,
    decode,
    encode,
    invalid,
    result_of,
)
from tasuki.flow.signals import Topic, Waiter, note_waiter, signal_of, topic_of, wait_name
from tasuki.handlers.store_values import packed
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


class RunOwner(Protocol):
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

    def __init__(self, state: SharedState, key: str, owner: RunOwner, ttl: float) -> None:
        self._state = state
        self._key = key
        self._owner = owner
        self._ttl = max(ttl, RUN_TTL)
        self._token = new_id()
        self._version = 0
        """Of the record, as this delivery wrote it last; 0: it is not taken over."""
        self._is_unsure = False
        """Whether the last write was interrupted, so that it may have happened."""
        self.steps: dict[str, StepRecord] = {}
        """The steps that are done."""
        self.pauses: dict[str, RunPause] = {}
        """The pauses that are not known to be over."""

    async def ready(self) -> None:
        """Be the owner, and know the record. Raises HandlerError: there is nothing to record any more."""
        self._check()
        if not self._version:
            await self.insist(self._take_over)
        if self._is_unsure:  # after an interrupted write: learn whether it happened
            await self.insist(self._read_again)
            self._is_unsure = False

    async def save(self, steps: dict[str, StepRecord], pauses: dict[str, RunPause], name: str) -> None:
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
        record, version = RunRecord(self._token), 0  # most messages have no record yet
        store = await self._state.store()
        for tries in range(_TRIES):
            if tries > 1:  # another worker has just written it
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter
            with suppress(ConflictError):
                self._version = await store.put(self._key, encode(record), ttl=self._ttl_of(record), version=version)
                self._know(record)
                return
            found = await store.get(self._key)
            before = RunRecord("") if found is None else decode(found.value)
            record = RunRecord(self._token, before.steps, before.pauses)
            version = 0 if found is None else found.version
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


_POLL = 60.0
"""Most seconds between two checks for a signal, whose wake-up may be lost with its process."""

_FIRST_POLL = 1.0

_TICK = 0.001
"""Seconds that are not worth another delivery."""

_LISTED = b"\x91"
"""In MessagePack: a list of one value, which follows."""


class Pausing(NamedTuple):
    """Pauses a message: postpones it at its broker, until its next delivery."""

    waiter: Waiter
    longest: float = inf
    """Seconds for which it can be postponed at once; a longer pause has several parts."""
    polls: bool = True
    """Whether it looks for its signal now and then."""
    is_woken: bool = False
    """Whether a signal ends the delay of a message that waits for it, so that it may look seldom."""
    announce: Callable[[float], Awaitable[None]] | None = None
    """Told of the seconds of a pause before it begins; None: without effect."""


class MessageSteps:
    """See Steps.

    Args:
        state: where the record is.
        key: of the record.
        owner: the delivery.
        loop: of the consumer.
        ttl: seconds for which the record is kept after the last step.
        pausing: how it pauses; None: it cannot.
        unable: why it cannot; as the end of a sentence about ``context.sleep``.
    """

    def __init__(
        self,
        state: SharedState,
        key: str,
        owner: RunOwner,
        loop: asyncio.AbstractEventLoop,
        ttl: float = RUN_TTL,
        pausing: Pausing | None = None,
        unable: str = "",
    ) -> None:
        self._loop = loop
        self._clock = state.clock
        self._owner = owner
        self._record = OwnRecord(state, key, owner, ttl)
        self._pausing = pausing
        self._unable = unable
        self._numbers: dict[str, int] = {}
        """The steps that this delivery has called, and as which."""
        self._sleeps = 0
        self._is_warned = False
        self._changing = asyncio.Lock()
        self.paused: float | None = None
        """Seconds for which the message is to be postponed; None: its handler goes on."""
        self.awaited: Topic | None = None
        """The signal that it waits for, if it is paused for that."""

    async def begin(self, name: str) -> tuple[Any] | None:
        """The result of the step if it is done; None: do it now, and call ``end``. See Steps."""
        async with self._changing:
            await self._ready()
            step = self._enter(name)
            return None if step is None else (result_of(step),)

    async def end(self, name: str, result: object) -> None:
        """Record the result of a step that has begun. See Steps."""
        raw = packed(name, result)
        async with self._changing:
            await self._record.ready()
            await self._save(name, raw)

    async def sleep(self, name: str | None, seconds: float) -> float:
        """See Steps."""
        async with self._changing:
            await self._ready()
            if name is None:
                self._sleeps += 1
                name = f"sleep {self._sleeps}"
            if self._enter(name) is not None:
                return 0.0
            pausing = self._needed("sleep")
            pause = await self._begin_pause(pausing, name, seconds)
            left = pause.until - await self._now()
            if left > _TICK:
                return self._pause(min(left, pausing.longest))
            self._record.pauses.pop(name)  # written with the next step: until then the record tells the same
            self._record.steps[name] = self._step(name, packed(name, None))
            return 0.0

    async def wait(self, name: str | None, event: str, key: str | int, seconds: float) -> Waited:
        """See Steps."""
        topic = topic_of(event, key)
        name = wait_name(topic) if name is None else name
        async with self._changing:
            await self._ready()
            if (step := self._enter(name)) is not None:
                found = result_of(step)
                return Waited(0.0, None if found is None else (found[0],))
            pausing = self._needed("wait_for")
            record = self._record
            await record.ask(lambda store: note_waiter(store, topic, pausing.waiter, seconds + RUN_TTL))
            pause = await self._begin_pause(pausing, name, seconds)
            now = await self._now()
            signal = await record.ask(lambda store: signal_of(store, topic))
            if signal is None and now < pause.until - _TICK:
                self.awaited = topic
                left = min(pause.until - now, pausing.longest, _until_next_check(pausing, now - pause.since))
                return Waited(self._pause(left), None)
            raw = packed(name, None) if signal is None else msgspec.Raw(_LISTED + bytes(signal.value))
            step = await self._save(name, raw)
        with suppress(DriverError):  # it ends by itself
            await record.ask(lambda store: store.delete(topic.wait_key(pausing.waiter)))
        return Waited(0.0, None if signal is None else (result_of(step)[0],))

    async def is_signalled(self) -> bool:
        """Whether the signal that it waits for was given meanwhile. Raises DriverError."""
        topic = self.awaited
        return topic is not None and await self._record.ask(lambda store: signal_of(store, topic)) is not None

    async def _ready(self) -> None:
        await self._record.ready()
        if self.paused is not None:
            raise HandlerError(
                "the message pauses: its handler has caught the Suspended that ends it; let it pass",
                kind="Conflict",
                retryable=True,
            )

    def _enter(self, name: str) -> StepRecord | None:
        """The step of this name, if it is done."""
        record = self._record
        check_name(name, self._numbers, record.steps)
        number = self._numbers[name] = len(self._numbers)
        step = record.steps.get(name)
        if step is not None and step.number != number and not self._is_warned:
            self._is_warned = True
            _log.warning("step %r was number %d when it was recorded, and is number %d now: the handler has "
                         "changed, or its order is not fixed", name, step.number + 1, number + 1,
                         extra=self._owner.log_fields())  # fmt: skip
        return step

    def _needed(self, what: str) -> Pausing:
        if self._pausing is None:
            raise invalid(f"context.{what} ends the handler until later, {self._unable}")
        return self._pausing

    async def _begin_pause(self, pausing: Pausing, name: str, seconds: float) -> RunPause:
        """The pause as it was recorded first."""
        if (pause := self._record.pauses.get(name)) is not None:
            return pause
        if (announce := pausing.announce) is not None:
            await self._record.insist(lambda: announce(seconds))
        now = await self._now()
        pause = RunPause(name, now, now + seconds)
        await self._record.save(self._record.steps, {**self._record.pauses, name: pause}, name)
        return pause

    def _pause(self, seconds: float) -> float:
        self.paused = seconds
        return seconds

    async def _now(self) -> float:
        return await self._record.ask(lambda store: store.time())

    def _step(self, name: str, raw: msgspec.Raw) -> StepRecord:
        return StepRecord(name, self._numbers[name], self._clock.time(), raw)

    async def _save(self, name: str, raw: msgspec.Raw) -> StepRecord:
        step, record = self._step(name, raw), self._record
        pauses = {other: pause for other, pause in record.pauses.items() if other != name}
        await record.save({**record.steps, name: step}, pauses, name)
        return step

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """See Steps."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def forget(self) -> None:
        """Delete the record, as its message is done."""
        await self._record.forget()


def _until_next_check(pausing: Pausing, waited: float) -> float:
    """Seconds until a message checks for its signal again."""
    if not pausing.polls:
        return inf
    return _POLL if pausing.is_woken else min(max(waited, _FIRST_POLL), _POLL)
