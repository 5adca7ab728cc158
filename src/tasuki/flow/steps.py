"""MessageSteps: records the steps and pauses of one delivery, so that the next delivery continues after them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple, TypeVar

import msgspec

from tasuki.contracts.state.steps import Waited
from tasuki.errors import DriverError, HandlerError
from tasuki.flow.own_record import Owner, OwnRecord
from tasuki.flow.records import RUN_TTL, Pause, Step, check_name, invalid, result_of
from tasuki.flow.signals import Topic, Waiter, note_waiter, signal_of, topic_of, wait_name
from tasuki.handlers.store.values import packed
from tasuki.state.shared import SharedState

T = TypeVar("T")

_log = logging.getLogger("tasuki.consumer")

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
        owner: Owner,
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

    def _enter(self, name: str) -> Step | None:
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

    async def _begin_pause(self, pausing: Pausing, name: str, seconds: float) -> Pause:
        """The pause as it was recorded first."""
        if (pause := self._record.pauses.get(name)) is not None:
            return pause
        if (announce := pausing.announce) is not None:
            await self._record.insist(lambda: announce(seconds))
        now = await self._now()
        pause = Pause(name, now, now + seconds)
        await self._record.save(self._record.steps, {**self._record.pauses, name: pause}, name)
        return pause

    def _pause(self, seconds: float) -> float:
        self.paused = seconds
        return seconds

    async def _now(self) -> float:
        return await self._record.ask(lambda store: store.time())

    def _step(self, name: str, raw: msgspec.Raw) -> Step:
        return Step(name, self._numbers[name], self._clock.time(), raw)

    async def _save(self, name: str, raw: msgspec.Raw) -> Step:
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
