"""Reading: adds up the minutes that all processes have written, and the newest ones of this one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.app.history.keys import PREFIX, WANTED, WANTED_TTL, before, process_of
from tasuki.app.history.writing import History, measure_waits
from tasuki.clock import Clock
from tasuki.contracts.state.store import Store
from tasuki.errors import DriverError
from tasuki.observe.history.hours import Hour, Hours
from tasuki.observe.history.minutes import MINUTE, MINUTES, Minute, decode
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

LATE = 3
"""Minutes that are read again, since processes write late, and by clocks of their own."""
_PAGE = 100
_ASK = 600.0
"""Seconds after which the workers are asked again to count waits."""


class HistoryReader:
    """For the loop of one app; it keeps what it has read, and lists only the newest minutes again."""

    def __init__(self) -> None:
        self._hours: dict[SharedState | None, Hours] = {}
        self._asked: dict[SharedState, float] = {}

    async def read(
        self, live: Assembly, states: Iterable[SharedState | None], own: History | None, clock: Clock
    ) -> None:
        """Read what is new in these states; ``own``: what this process keeps, for those that no other process sees.

        Raises DriverError.
        """
        now = clock.time()
        here = int(now // MINUTE)
        for state in dict.fromkeys(states):
            found, newest = list[Minute](), here
            if state is not None and state.driver.capabilities.multi_process:
                store = await state.store()
                newest = int(await store.time() // MINUTE)
                first = self._first(state, newest)
                found += await _listed(store, first, own)
                await self._ask_for_waits(state, store, now)
            else:
                first = self._first(state, newest)
            if own is not None:
                found += [one for kept in own.kept(state) if kept.minute >= first and (one := decode(kept.value))]
            hours = self._hours.setdefault(state, Hours())
            hours.begin(first, newest)
            for minute in found:
                hours.add(minute)
        if own is not None:
            measure_waits(live, clock)

    def _first(self, state: SharedState | None, newest: int) -> int:
        known = self._hours.get(state)
        return max(newest - MINUTES + 1, min(known.newest - LATE, newest) if known is not None else 0)

    async def _ask_for_waits(self, state: SharedState, store: Store, now: float) -> None:
        if now - self._asked.get(state, float("-inf")) > _ASK:
            self._asked[state] = now
            with suppress(DriverError):  # who may only read sees no waits
                await store.put(WANTED, b"", ttl=WANTED_TTL)

    def of(self, live: Assembly, queue: str) -> Hour | None:
        """The last hour of a queue by its id, as it was read; None: nothing happened."""
        found, hours = live.queues[queue], self._hours.get(live.state_of(queue))
        return None if hours is None else hours.of(found.driver.name, found.spec.name)

    def hours(self) -> list[Hours]:
        """What was read, for each state."""
        return list(self._hours.values())


async def _listed(store: Store, first: int, own: History | None) -> list[Minute]:
    """The minutes from the first one on, but for those that this process has in memory."""
    found: list[Minute] = []
    cursor = before(first)
    while True:
        page = await store.list(PREFIX, after=cursor, limit=_PAGE)
        for entry in page.entries:
            if own is not None and process_of(entry.key) == own.process:
                continue
            minute = decode(entry.value)
            if minute is not None:
                found.append(minute)
        cursor = page.cursor
        if not cursor:
            return found
        await asyncio.sleep(0)  # an hour of many processes is long
