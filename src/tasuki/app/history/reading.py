"""Reading: adds up the minutes that all processes have written, and the newest ones of this one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tasuki.app.history.keys import PREFIX, WANTED, WANTED_TTL, before, process_of
from tasuki.app.history.writing import History
from tasuki.clock import Clock
from tasuki.contracts.state.store import Store
from tasuki.errors import DriverError
from tasuki.observe.history import MINUTE, MINUTES, RING, Hour, Hours, Minute, decode
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.runtime import Runtime

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
