"""Firing: one worker of an application publishes the messages of due ticks, and any other can take its place."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.store import MAX_PAGE, Store
from tasuki.errors import ConflictError, DriverError
from tasuki.schedules.identities import KnownSchedules, find_scope, sketch
from tasuki.schedules.schedule import Schedule, Tick
from tasuki.schedules.wheel import Wheel

_log = logging.getLogger("tasuki.schedules")

MARKS = "schedules/mark/"
"""Prefix of the keys of marks, by scope; a scope's place has the same key."""
KNOWN = "schedules/known/"
"""Prefix of the keys of the known schedules, by scope and shard."""
LEASE = 5.0
"""Seconds after which another worker fires in the place of one that was killed."""
_RENEW = LEASE / 3
"""Most seconds between two renewals of the place."""
_GOODBYE = 1.0
"""Longest time that a stop waits for the store."""
_ASK_EVERY = 1.0
"""Seconds between two questions of a worker that does not fire."""
_TOGETHER = 500
"""Ticks that are published at once."""

Publish = Callable[[Sequence[Tick]], Awaitable[None]]
"""Publishes the messages of ticks. Returns when all are confirmed; raises DriverError, and is called again, if not."""


class Mark(msgspec.Struct):
    """The record of a scope: its ticks until ``mark`` (UTC seconds) are published."""

    mark: int
    sketch: list[str]


@dataclass(slots=True)
class _Turn:
    """What the holder of the place works with."""

    wheel: Wheel
    mark: Mark
    version: int


class Firing:
    """Of the schedules whose state is in one store; ``run`` it beside the consumers.

    Every worker asks for the one place, and its holder fires. Times are the store's: each answer to ``hold`` tells the
    time, and between two of them the monotonic clock counts on.

    Args:
        store: an open store.
        publish: see ``Publish``.
        is_paused: whether the ticks of a schedule are passed over now, by its id.
        clock: of this process.
        holder: names this worker, and no other.
    """

    def __init__(
        self, store: Store, publish: Publish, is_paused: Callable[[str], bool], *, clock: Clock, holder: str
    ) -> None:
        self._store = store
        self._publish = publish
        self._is_paused = is_paused
        self._clock = clock
        self._holder = holder
        self._schedules: dict[bytes, Schedule] = {}
        self._changed = asyncio.Event()
        self._scope = ""
        self._turn: _Turn | None = None
        self._ahead = 0.0
        """Seconds by which the clock of the store is ahead of the monotonic one."""

    @property
    def is_firing(self) -> bool:
        """Whether this worker had the place when it last asked."""
        return self._turn is not None

    def use(self, schedules: Mapping[bytes, Schedule]) -> None:
        """Fire these, by identity, and no others; also while it runs."""
        self._schedules = dict(schedules)
        self._scope, self._turn = "", None
        self._changed.set()

    async def run(self) -> None:
        """Take part until cancelled; then another worker can have the place at once."""
        try:
            while True:
                self._changed.clear()
                pause = await self._round()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
        finally:
            if self._turn is not None:
                self._turn = None
                with suppress(DriverError, TimeoutError):
                    async with asyncio.timeout(_GOODBYE):
                        await self._store.release(MARKS + self._scope, self._holder)

    async def _round(self) -> float | None:
        """Fire the due ticks, if this worker has the place. Returns seconds until the next round; None: a change."""
        if not self._schedules:
            return None
        try:
            if not await self._hold():
                self._turn = None
                return _ASK_EVERY * random.uniform(0.7, 1.3)  # noqa: S311 - so that workers do not ask together
            if self._turn is None:
                self._turn = await self._begin()
            return await self._fire(self._turn)
        except ConflictError:
            _log.debug("another worker has fired the schedules of %s", self._scope)
        except DriverError as error:
            _log.warning("schedules wait for the broker: %s", error)
        self._turn = None
        return _ASK_EVERY

    async def _hold(self) -> bool:
        if not self._scope:
            self._scope = (await find_mark(self._store, self._schedules))[0]
        end = await self._store.hold(MARKS + self._scope, self._holder, places=1, lease=LEASE)
        if end is not None:
            self._ahead = end - LEASE - self._clock.monotonic()
        return end is not None

    async def _begin(self) -> _Turn:
        """What the last holder has left; of a new scope nothing, and its ticks begin now."""
        known = await read_known(self._store, self._scope)
        now, entry = self._now(), await self._store.get(MARKS + self._scope)
        schedules, changed = known.see(self._schedules, now)
        changed |= known.forget_others(self._schedules)
        for shard in sorted(changed):
            await self._store.put(f"{KNOWN}{self._scope}/{shard}", known.shard(shard))
        mark = Mark(now, []) if entry is None else _mark(entry.value)
        turn = _Turn(Wheel(schedules), mark, 0 if entry is None else entry.version)
        if mark.sketch != (own := sketch(self._schedules)):
            mark.sketch = own
            await self._put(turn)
        for schedule, count in turn.wheel.dropped(mark.mark, now):
            _log.warning("schedule %s: %d ticks of a time without a worker are dropped (catch_up: %s)",
                         schedule.id, count, schedule.catch_up)  # fmt: skip
        return turn

    async def _fire(self, turn: _Turn) -> float:
        """Publish the due ticks, then move the mark. Returns seconds until the next ones, or until the next renewal."""
        wheel, mark = turn.wheel, turn.mark.mark
        now, following = self._now(), wheel.next_at(mark)
        if following is not None and following <= now:
            for ticks in _portions(wheel.due(mark, now)):
                if wanted := [tick for tick in ticks if not self._is_paused(tick.schedule.id)]:
                    await self._publish(wanted)
                if not await self._hold():
                    raise ConflictError("the lease ended while its holder published")
            turn.mark.mark = now
            await self._put(turn)
            following = wheel.next_at(now)
        wait = _RENEW if following is None else following - (self._clock.monotonic() + self._ahead)
        return min(max(wait, 0.0), _RENEW)

    async def _put(self, turn: _Turn) -> None:
        value = msgspec.json.encode(turn.mark)
        turn.version = await self._store.put(MARKS + self._scope, value, version=turn.version)

    def _now(self) -> int:
        """The time of the store in whole seconds, rather late than early."""
        return int(self._clock.monotonic() + self._ahead)


def _mark(value: bytes) -> Mark:
    return msgspec.json.decode(value, type=Mark)


async def find_mark(store: Store, identities: Iterable[bytes]) -> tuple[str, Mark | None]:
    """The scope of a set of schedules, and its record; None: no worker has fired any of them yet."""
    marks = {key.removeprefix(MARKS): _mark(value) async for key, value in entries_of(store, MARKS)}
    scope = find_scope(sketch(identities), {scope: mark.sketch for scope, mark in marks.items()})
    return scope, marks.get(scope)


async def read_known(store: Store, scope: str) -> KnownSchedules:
    """The known schedules of a scope."""
    known = KnownSchedules()
    async for _, value in entries_of(store, f"{KNOWN}{scope}/"):
        known.read(value)
    return known


async def entries_of(store: Store, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
    """All keys of a prefix with their values."""
    cursor = ""
    while True:
        page = await store.list(prefix, after=cursor, limit=MAX_PAGE)
        for key, value, _ in page.entries:
            yield key, value
        if not (cursor := page.cursor):
            return


def _portions(due: Iterable[Tick]) -> Iterator[list[Tick]]:
    left = iter(due)
    while portion := list(islice(left, _TOGETHER)):
        yield portion
