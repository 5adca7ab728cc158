"""History of queues: a minute of what each queue did, written by every process and added up by a reader.

A process in which nothing happens writes nothing. A minute is one key for all queues of a store, or a few, in the order
of time, so that a reader lists only the newest ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.state.store import Store
from tasuki.errors import DriverError
from tasuki.observe.history import (
    MINUTE,
    MINUTES,
    RING,
    STEP,
    STEPS,
    Gauges,
    Hour,
    Hours,
    Minute,
    MinuteRecorder,
    Name,
    Queues,
    decode,
    encode,
    next_step_in,
    step_at,
)
from tasuki.observe.metrics import BUCKETS, ConsumerMetrics
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.runtime import Runtime


PREFIX = "history/"

TTL = 7200.0
"""Seconds for which a minute is kept."""

WANTED = "history wanted"
"""A key that is there while anyone reads waits, which workers count then; until then they cost nothing."""

WANTED_TTL = 3600.0


def key_of(minute: int, process: str, part: int) -> str:
    """The key of one part of a process's minute."""
    return f"{before(minute)}{process}/{part}"


def before(minute: int) -> str:
    """A key before all of a minute, and after all of the minutes before it."""
    return f"{PREFIX}{minute:010d}/"


def process_of(key: str) -> str:
    """The process that wrote a key; empty: it is none of these."""
    parts = key.split("/")
    return parts[2] if len(parts) == 4 else ""


_LARGEST = 256 * 1024
"""Bytes of one key."""

_SPREAD = 10.0
"""Seconds over which the processes of an installation spread their writes."""

_GOODBYE = 1.0
"""Longest time that a close waits for the store."""

_MANY = 50
"""Messages that a process has published in its last minute, from which on it opens the store to say so."""

_AFTER_FAILURE = 600.0
"""Seconds after which a store that could not be opened is tried again: this process may have no right to it."""


_log = logging.getLogger("tasuki.app")


class Kept(NamedTuple):
    """A minute in memory: as it is written."""

    minute: int
    value: bytes


class History:
    """One per app; for its loop. ``kept`` may be read from any thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.process = uuid4().hex[:12]
        """Its part of the keys."""
        self._recorder = MinuteRecorder()
        self._states: dict[Name, SharedState | None] = {}
        self._kept: dict[SharedState | None, deque[Kept]] = {}
        self._minute = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: list[tuple[SharedState, Minute]] = []
        """Minutes that wait for the turn of this process."""
        self._writes: set[asyncio.Task[None]] = set()
        self._locked: dict[SharedState, float] = {}
        """Stores that could not be opened, and until when (monotonic) they are left alone."""
        self._has_written: set[SharedState] = set()

    def kept(self, state: SharedState | None) -> list[Kept]:
        """The last hour of the queues with this state, of this process."""
        return list(self._kept.get(state, ()))

    def begin(self, assembly: Assembly) -> None:
        """The app has opened, or has a new version."""
        consumers: dict[str, list[ConsumerMetrics]] = {}
        for consumer in assembly.consumers.values():
            consumers.setdefault(consumer.queue.id, []).append(consumer.metrics)
        counted = {
            (queue.driver.name, queue.spec.name): (queue.metrics, consumers.get(queue.id, []))
            for queue in assembly.queues.values()
        }
        self._recorder.watch(counted)
        self._states = {
            (queue.driver.name, queue.spec.name): assembly.state_of(queue.id) for queue in assembly.queues.values()
        }
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._minute, self._loop = self._now(), loop
            self._timer = loop.call_later(next_step_in(self._runtime.clock.time()), self._tick)

    async def stop(self) -> None:
        """Write the unfinished minute where the stores are open and answer; then end. It can begin again."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        for task in self._writes:
            task.cancel()
        self._recorder.step(STEPS if self._now() > self._minute else step_at(self._runtime.clock.time()))
        last = self._close_minute()
        self._pending += [
            (state, self._minute_of(queues, has_ended=True))
            for state, queues in last.items()
            if _is_shared(state) and (queues or state in self._has_written)
        ]
        self._pending = [each for each in self._pending if each[0].opened is not None or _is_worth_it(each[1])]
        if self._pending:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._write_pending()
        self._pending.clear()

    def _now(self) -> int:
        return int(self._runtime.clock.time() // MINUTE)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        if self._runtime.assembly is None or self._loop is not loop:
            self._timer = None  # it has ended without being closed
            return
        at = self._runtime.clock.time()
        self._timer = loop.call_later(next_step_in(at), self._tick)
        now = int(at // MINUTE)
        if now == self._minute:
            self._recorder.step(step_at(at - STEP / 2))  # the one that has just ended; a timer may be early
            return
        self._recorder.step(STEPS)  # it belongs to the end of the minute that is over
        closed = self._close_minute()
        self._pending += [
            (state, self._minute_of(queues)) for state, queues in closed.items() if queues and _is_shared(state)
        ]
        self._minute = now
        if self._pending:
            task = loop.create_task(self._write_soon(), name="history of the queues")
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def _write_soon(self) -> None:
        await asyncio.sleep(random.uniform(0, _SPREAD))  # noqa: S311 - so that not all processes write at once
        await self._write_pending()

    async def _write_pending(self) -> None:
        pending, self._pending = self._pending, []
        for state, minute in pending:
            await self._write(state, minute)

    def _close_minute(self) -> dict[SharedState, Queues]:
        """End the minute, and keep it; by state, also of those in whose queues nothing happened."""
        found: dict[SharedState | None, Queues] = {state: {} for state in self._states.values()}
        for driver, queues in self._recorder.close(self._gauges()).items():
            for queue, point in queues.items():
                state = self._states.get((driver, queue))
                found.setdefault(state, {}).setdefault(driver, {})[queue] = point
        for state, mine in found.items():
            if mine:
                kept = self._kept.setdefault(state, deque())
                kept.extend(Kept(self._minute, value) for value in encode(self._minute_of(mine), _LARGEST))
                while kept and kept[0].minute <= self._minute - RING:
                    kept.popleft()
        return {state: mine for state, mine in found.items() if state is not None}

    def _gauges(self) -> Gauges:
        assembly = self._runtime.assembly
        readings = self._runtime.known_depths()
        ids = {} if assembly is None else {(q.driver.name, q.spec.name): q.id for q in assembly.queues.values()}
        busy: dict[str, int] = {}
        for consumer in () if assembly is None else assembly.consumers.values():
            busy[consumer.queue.id] = busy.get(consumer.queue.id, 0) + consumer.now.running

        def gauges(name: Name) -> tuple[int, int]:
            id = ids.get(name, "")
            return readings[id].depth.ready if id in readings else -1, busy.get(id, 0)

        return gauges

    def _minute_of(self, queues: Queues, *, has_ended: bool = False) -> Minute:
        assembly = self._runtime.assembly
        consumes = assembly is not None and any(each.now.is_consuming for each in assembly.consumers.values())
        return Minute(self._minute, socket.gethostname(), os.getpid(), len(BUCKETS) + 1, queues, consumes, has_ended)

    async def _write(self, state: SharedState, minute: Minute) -> None:
        """Write a minute; an unavailable store misses it."""
        clock = self._runtime.clock
        if state.opened is None and self._locked.get(state, 0.0) > clock.monotonic():
            return
        try:
            store = await state.store()
        except DriverError as error:
            self._locked[state] = clock.monotonic() + _AFTER_FAILURE
            _log.debug("no history of the queues in the store of driver %s: %s", state.driver.name, error)
            return
        try:
            await self._put(store, minute)
            self._has_written.add(state)
        except DriverError as error:
            _log.debug("a minute is missing in the history of the queues: %s", error)

    async def _put(self, store: Store, minute: Minute) -> None:
        ahead = round((await store.time() - self._runtime.clock.time()) / MINUTE)  # a wrong clock of this machine
        minute.minute += ahead
        most = min(_LARGEST, store.facts.max_value_bytes)
        for part, value in enumerate(encode(minute, most)):
            await store.put(key_of(minute.minute, self.process, part), value, ttl=TTL)
        assembly = self._runtime.assembly
        if assembly is None or minute.has_ended or all(each.metrics.waits for each in assembly.consumers.values()):
            return
        if await store.get(WANTED) is not None:
            measure_waits(assembly, self._runtime.clock)


def measure_waits(assembly: Assembly, clock: Clock) -> None:
    """Count waits too from now on."""
    for consumer in list(assembly.consumers.values()):
        consumer.metrics.measure(clock)


def _is_worth_it(minute: Minute) -> bool:
    """Whether a process that only published opens the store for it."""
    return sum(point.published for queues in minute.queues.values() for point in queues.values()) >= _MANY


def _is_shared(state: SharedState) -> bool:
    return state.driver.capabilities.multi_process


LATE = 3
"""Minutes that are read again, since processes write late, and by their own clocks."""

_PAGE = 100

_ASK = 600.0
"""Seconds after which the workers are asked again to count waits."""


class Read(NamedTuple):
    """A read of one state: all minutes from ``first`` to ``newest``."""

    state: SharedState | None
    first: int
    newest: int
    minutes: list[Minute]


class HistoryReader:
    """Keeps what it has read, and lists only the newest minutes again. Its verbs do not overlap."""

    def __init__(self) -> None:
        self._hours: dict[SharedState | None, Hours] = {}
        self._asked: dict[SharedState, float] = {}

    async def fetch(self, states: Iterable[SharedState | None], own: History | None, clock: Clock) -> list[Read]:
        """Read the new minutes of these states, on the loop of their app; ``apply`` adds it, on any one.

        ``own``: what this process keeps in memory, of states that no other process sees, and its newest minutes.
        Raises DriverError.
        """
        return [await self._fetch(state, own, clock) for state in dict.fromkeys(states)]

    async def _fetch(self, state: SharedState | None, own: History | None, clock: Clock) -> Read:
        newest, found = int(clock.time() // MINUTE), list[Minute]()
        kept = [] if own is None else own.kept(state)
        if state is None or not state.driver.capabilities.multi_process:
            first = self._first(state, newest)
        else:
            store = await state.store()
            newest = int(await store.time() // MINUTE)
            first = self._first(state, newest)
            found = await _listed(store, first, own.process if own is not None and kept else "")
            await self._ask_for_waits(state, store, clock.monotonic())
        found += [one for each in kept if each.minute >= first and (one := decode(each.value)) is not None]
        return Read(state, first, newest, found)

    async def apply(self, reads: Iterable[Read]) -> None:
        """Add fetched minutes; an hour of a thousand busy queues takes a while, in which others have their turn."""
        for read in reads:
            hours = self._hours.setdefault(read.state, Hours())
            hours.begin(read.first, read.newest)
            for minute in read.minutes:
                hours.add(minute)
                await asyncio.sleep(0)

    def _first(self, state: SharedState | None, newest: int) -> int:
        known = self._hours.get(state)
        return max(newest - RING + 1, min(known.newest - LATE, newest) if known is not None else 0)

    async def _ask_for_waits(self, state: SharedState, store: Store, now: float) -> None:
        if now - self._asked.get(state, float("-inf")) > _ASK:
            self._asked[state] = now
            with suppress(DriverError):  # who may only read sees no waits
                if await store.exists():  # else no worker has made it, so there is nothing to ask for
                    await store.put(WANTED, b"", ttl=WANTED_TTL)

    def of(self, live: Assembly, queue: str) -> Hour | None:
        """The last hour of a queue by its id, as read; None: nothing happened."""
        found, hours = live.queues[queue], self._hours.get(live.state_of(queue))
        return None if hours is None else hours.of(found.driver.name, found.spec.name)

    def hours(self) -> list[Hours]:
        """The hours that were read, one for each state."""
        return list(self._hours.values())


async def _listed(store: Store, first: int, left_out: str) -> list[Minute]:
    """The minutes from the first one on, without the minutes of one process."""
    found: list[Minute] = []
    cursor = before(first)
    while True:
        page = await store.list(PREFIX, after=cursor, limit=_PAGE)
        values = (entry.value for entry in page.entries if process_of(entry.key) != left_out)
        found += [minute for value in values if (minute := decode(value)) is not None]
        cursor = page.cursor
        if not cursor:
            return found
        await asyncio.sleep(0)  # an hour of many processes is long


class Passed(msgspec.Struct, frozen=True):
    """One minute of a queue, over all processes; times in seconds."""

    at: float
    """Unix time of its start."""
    published: int
    done: int
    failed: int
    dead: int
    """Messages that became dead letters."""
    ready: int | None
    """Ready messages at its end; None: no process read them."""
    wait_p95: float | None
    """Within which 95 % of the messages started after they were due; None: unknown, or there was none."""
    run_p95: float | None
    """Within which 95 % of the handlers ended; None: there was none."""


async def past_of(runtime: Runtime, queue: str) -> list[Passed]:
    """See :meth:`tasuki.QueueHandle.history`."""
    live = runtime.live()
    found = live.queue_of_application(runtime.full_id(queue))
    reader, state = HistoryReader(), live.state_of(found.id)
    if state is not None and state.opened is None:
        await found.depth()  # a store is made by opening it: not for a queue that does not exist
    await reader.apply(await reader.fetch([state], runtime.history, runtime.clock))
    hour = reader.of(live, found.id) or Hour()
    newest = max((hours.newest for hours in reader.hours()), default=int(runtime.clock.time() // MINUTE))
    spans = (hour.span(minute, minute) for minute in range(newest - MINUTES + 1, newest + 1))
    return [
        Passed(each.at, each.published, each.done, each.failed, each.dead, each.ready, each.wait.p95, each.run.p95)
        for each in spans
    ]
