"""Firing: one worker of an application publishes the messages of due ticks, and any other can take its place.

Applications may share a broker, a store and a namespace. Each set of schedules has its own mark, so that none moves the
mark of another: a set is found again by the identities that it shares with its last version.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.errors import ConflictError, DriverError
from tasuki.schedules.schedule import Schedule
from tasuki.schedules.schedule_group import AGAIN, Lane, Publish, lanes_of
from tasuki.schedules.times.timing import Timing

SKETCH = 64
"""Identities that stand for a set: its smallest ones. A version with some new schedules shares most of them."""

SHARDS = 64
"""Records into which the known schedules of a set are divided."""

SET_BACK = 3600
"""Seconds by which a clock may be set back, and no tick comes twice; a moment further ahead is of a wrong clock."""

_KNOWN = struct.Struct(">8sq")


def identity(id: str, queue: str) -> bytes:
    """Of a schedule: 8 bytes of a hash of its id and of its queue's name at the broker."""
    return blake2b(f"{id}\0{queue}".encode(), digest_size=8).digest()


def sketch(identities: Iterable[bytes]) -> list[str]:
    """The smallest identities of a set, as text."""
    return [each.hex() for each in heapq.nsmallest(SKETCH, identities)]


def find_scope(own: list[str], known: Mapping[str, Iterable[str]]) -> str:
    """The scope of a set of schedules: of the known ones the one that shares most with it, else a new one.

    Args:
        own: its sketch, not empty.
        known: the sketch of each scope.
    """
    shared = {scope: len(set(own).intersection(theirs)) for scope, theirs in known.items()}
    best = max(shared, key=lambda scope: (shared[scope], scope), default="")
    return best if best and shared[best] else own[0]


class KnownSchedules:
    """Since when each schedule of a set has its timing, in UTC seconds, as the store keeps it in shards."""

    def __init__(self) -> None:
        self._shards: list[dict[bytes, int]] = [{} for _ in range(SHARDS)]

    def read(self, shard: bytes) -> None:
        """Take note of the content of a shard; a broken end is passed over."""
        shards = self._shards
        for start in range(0, len(shard) - _KNOWN.size + 1, _KNOWN.size):
            key, since = _KNOWN.unpack_from(shard, start)
            shards[key[0] % SHARDS][key] = since

    def see(self, schedules: Iterable[tuple[bytes, Schedule]], now: int) -> tuple[list[Schedule], set[int]]:
        """The schedules with the moment from which their ticks are due, and the numbers of the shards that changed.

        A schedule that is new, or has another timing than before, begins now.
        """
        found: list[Schedule] = []
        changed: set[int] = set()
        for own, schedule in schedules:
            key = _key(own, schedule)
            shard = self._shards[key[0] % SHARDS]
            since = shard.get(key)
            if since is None or since > now + SET_BACK:
                since = shard[key] = now
                changed.add(key[0] % SHARDS)
            found.append(replace(schedule, since=since))
        return found, changed

    def since(self, own: bytes, schedule: Schedule) -> int | None:
        """Since when a schedule is known with its timing; None: it is not."""
        key = _key(own, schedule)
        return self._shards[key[0] % SHARDS].get(key)

    def shard(self, number: int) -> bytes:
        """The content of a shard, to be stored."""
        return b"".join(_KNOWN.pack(key, since) for key, since in sorted(self._shards[number].items()))

    def filled(self) -> set[int]:
        """The numbers of the shards that have schedules."""
        return {number for number, shard in enumerate(self._shards) if shard}

    def has_too_many(self, count: int) -> bool:
        """Whether others than ``count`` schedules are more than half: they may be forgotten."""
        return sum(map(len, self._shards)) > 2 * count + SHARDS

    def forget_others(self, schedules: Mapping[bytes, Schedule]) -> set[int]:
        """Drop others than these; the numbers of the shards that may have changed."""
        kept = {_key(own, schedule) for own, schedule in schedules.items()}
        self._shards = [{key: since for key, since in shard.items() if key in kept} for shard in self._shards]
        return set(range(SHARDS))


def _key(own: bytes, schedule: Schedule) -> bytes:
    return blake2b(own + _text(schedule.timing), digest_size=8).digest()


@lru_cache(maxsize=16_384)
def _text(timing: Timing) -> bytes:
    return repr(timing).encode()


_log = logging.getLogger("tasuki.schedules")


MARKS = "schedules/mark/"
"""Prefix of the keys of marks, by scope; a scope's place has the same key."""

KNOWN = "schedules/known/"
"""Prefix of the keys of the known schedules, by scope and shard."""

LEASE = 5.0
"""Seconds after which another worker fires in the place of one that was killed."""

_RENEW = LEASE / 3
"""Most seconds between two renewals of the place."""

KEPT = 400 * 86400.0
"""Seconds for which a scope that no worker fires any more is kept: then its schedules were renamed or removed."""

_RENEW_ALL = 30 * 86400.0
"""Seconds after which a holder writes its records again, and so keeps them."""

_GOODBYE = 1.0
"""Longest time that a stop waits for the store."""

_ASK_EVERY = 1.0
"""Seconds between two questions of a worker that does not fire."""

_SEEN_AT_ONCE = 1000
"""Schedules that are looked up before others on the loop have their turn."""

_AT_ONCE = 64
"""Queues of one broker that are published to at the same time."""

_MOST_BEHIND = 100
"""Queues that are behind, of each of which a record has its own mark; of more it has the earliest mark."""


class Mark(msgspec.Struct):
    """The record of a scope: its ticks until ``mark`` (UTC seconds) are published, but of the lanes ``behind``."""

    mark: int
    sketch: list[str]
    behind: dict[str, int] = {}

    def of(self, lane: str) -> int:
        """The mark of a lane."""
        return self.behind.get(lane, self.mark)


@dataclass(slots=True)
class _Turn:
    """What the holder of the place works with."""

    lanes: list[Lane]
    mark: Mark
    version: int
    began_at: float
    """Monotonic time."""
    is_noted: bool = True
    """Whether the store has the mark."""
    at_once: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
    )
    """By broker."""


class Firing:
    """Fires the schedules whose state is in one store; ``run`` it beside the consumers.

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
        self._is_store_away = False
        self._held_until = 0.0
        """Until then, by the monotonic clock, no other worker has the place."""
        self._ahead = 0.0
        """Seconds by which the clock of the store is ahead of the monotonic one."""

    @property
    def is_firing(self) -> bool:
        """Whether this worker had the place when it last asked."""
        return self._turn is not None

    def use(self, schedules: Mapping[bytes, Schedule]) -> None:
        """Fire these, by identity, and no others; also while it runs."""
        self._schedules = dict(schedules)
        self._scope = ""
        self._end_turn()
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
                if works := self._end_turn():
                    await asyncio.wait(works)
                with suppress(DriverError, TimeoutError):
                    async with asyncio.timeout(_GOODBYE):
                        await self._store.release(MARKS + self._scope, self._holder)

    async def _round(self) -> float | None:
        """Fire the due ticks, if this worker has the place. Returns seconds until the next round; None: a change."""
        if not self._schedules:
            return None
        try:
            if not await self._hold():
                self._end_turn()
                return _ASK_EVERY * random.uniform(0.7, 1.3)  # noqa: S311 - so that workers do not ask together
            if self._turn is not None and (
                self._turn.mark.mark > self._now() + SET_BACK or self._is_to_be_renewed(self._turn)
            ):
                self._end_turn()
            if self._turn is None:
                self._turn = await self._begin()
            return await self._fire(self._turn)
        except ConflictError:
            _log.debug("another worker has fired the schedules of %s", self._scope)
        except DriverError as error:
            if not self._is_store_away:
                _log.warning("schedules wait for their store: %s", error)
            self._is_store_away = True
            if self._has_place():
                return _ASK_EVERY
        self._end_turn()
        return _ASK_EVERY

    async def _hold(self) -> bool:
        if not self._scope:
            self._scope = (await find_mark(self._store, self._schedules))[0]
        asked = self._clock.monotonic()
        end = await self._store.hold(MARKS + self._scope, self._holder, places=1, lease=LEASE)
        self._is_store_away = False
        if end is not None:
            self._held_until = asked + LEASE
            self._ahead = end - LEASE - self._clock.monotonic()
        return end is not None

    def _has_place(self) -> bool:
        return self._turn is not None and self._clock.monotonic() < self._held_until

    def _is_to_be_renewed(self, turn: _Turn) -> bool:
        is_idle = turn.is_noted and all(lane.work is None for lane in turn.lanes)
        return is_idle and self._clock.monotonic() > turn.began_at + _RENEW_ALL

    async def _begin(self) -> _Turn:
        """What the last holder has left; of a new scope nothing, and its ticks begin now."""
        known = await read_known(self._store, self._scope)
        now, entry = self._now(), await self._store.get(MARKS + self._scope)
        schedules = await self._see(known, now)
        mark = (None if entry is None else _mark(MARKS + self._scope, entry.value)) or Mark(now, [])
        if mark.mark > now + SET_BACK:
            _log.warning("the clock of the store was ahead and is set back: the ticks of the schedules begin now")
            mark.mark, mark.behind = now, {}
        mark.sketch = sketch(self._schedules)
        version = 0 if entry is None else entry.version
        turn = _Turn(lanes_of(schedules, mark.of), mark, version, self._clock.monotonic())
        await self._put(turn)
        return turn

    async def _see(self, known: KnownSchedules, now: int) -> list[Schedule]:
        """The schedules with the moment from which each is due; others have their turn on the loop meanwhile."""
        schedules: list[Schedule] = []
        changed: set[int] = set()
        left = iter(list(self._schedules.items()))
        while part := list(islice(left, _SEEN_AT_ONCE)):
            seen, changed_now = known.see(part, now)
            schedules += seen
            changed |= changed_now
            await asyncio.sleep(0)
        if known.has_too_many(len(schedules)):
            changed |= known.forget_others(self._schedules)
        for shard in sorted(changed | known.filled()):
            await self._store.put(f"{KNOWN}{self._scope}/{shard}", known.shard(shard), ttl=KEPT)
            if self._clock.monotonic() > self._held_until - LEASE / 2 and not await self._hold():
                raise ConflictError("the lease ended before its holder began")
        return schedules

    async def _fire(self, turn: _Turn) -> float:
        """Let each lane publish its due ticks, and note the published ones. Returns seconds until the next round."""
        for lane in turn.lanes:
            if lane.is_finished and lane.finish():
                turn.is_noted = False
        monotonic, wait = self._clock.monotonic(), _RENEW
        time = monotonic + self._ahead
        now = int(time)
        for lane in turn.lanes:
            due = lane.due_in(time, monotonic)
            if due is not None and due <= 0:
                lane.work = asyncio.create_task(self._publish_in(lane, turn, now), name=f"schedules of {lane.name}")
                lane.work.add_done_callback(lambda _: self._changed.set())
            elif due is not None:
                wait = min(wait, due)
        if not turn.is_noted:
            self._note(turn, now)
            await self._put(turn)
        return wait

    async def _publish_in(self, lane: Lane, turn: _Turn, now: int) -> None:
        async with turn.at_once[lane.broker]:
            await lane.publish(now, self._publish, self._is_paused, lambda: self._turn is turn and self._has_place())
        if lane.error:
            lane.again_at = self._clock.monotonic() + AGAIN

    @staticmethod
    def _note(turn: _Turn, now: int) -> None:
        behind = {lane.name: lane.mark for lane in turn.lanes if lane.is_behind(now)}
        if len(behind) > _MOST_BEHIND:
            now, behind = min(behind.values()), {}
        turn.mark.mark, turn.mark.behind = now, behind

    def _end_turn(self) -> list[asyncio.Task[None]]:
        """Leave the place, as far as this worker is concerned; the publishes that it had begun."""
        turn, self._turn = self._turn, None
        works = [lane.work for lane in turn.lanes if lane.work is not None] if turn is not None else []
        for work in works:
            work.cancel()
        return works

    async def _put(self, turn: _Turn) -> None:
        value = msgspec.json.encode(turn.mark)
        turn.version = await self._store.put(MARKS + self._scope, value, version=turn.version, ttl=KEPT)
        turn.is_noted = True

    def _now(self) -> int:
        """The time of the store in whole seconds, rather late than early."""
        return int(self._clock.monotonic() + self._ahead)


def _mark(key: str, value: bytes) -> Mark | None:
    """The record; None: it cannot be read, and what it said is lost."""
    try:
        return msgspec.json.decode(value, type=Mark)
    except msgspec.MsgspecError as error:
        _log.warning("the record %r in the store cannot be read, and is passed over: %s", key, error)
        return None


async def find_mark(store: Store, identities: Iterable[bytes]) -> tuple[str, Mark | None]:
    """The scope of a set of schedules, and its record; None: no worker has fired any of them yet."""
    found = {key.removeprefix(MARKS): _mark(key, value) async for key, value in entries_of(store, MARKS)}
    marks = {scope: mark for scope, mark in found.items() if mark is not None}
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
