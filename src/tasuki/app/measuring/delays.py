"""DelayNotes: leaves in the state of queues when delays of this process end, where the broker does not count them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from tasuki.app.measuring.whole import DELAYS, Delays, Notes, Purge, encode, key_by, key_of_purge
from tasuki.clock import Clock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.errors import DriverError
from tasuki.queues.queue import Queue
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

PERIOD = 5.0
"""Seconds between two checks of what this process has delayed."""
_AFTER_FAILURE = 600.0
"""Seconds after which a store that could not be opened is tried again: this process may have no right to it."""
_GOODBYE = 1.0
"""Longest time that the close of a driver waits for the store."""
_LONGEST = 80 * 86400.0
"""Seconds for which a purge is remembered: longer than any delay of a driver that does not count."""

_LATER = 0.001

_log = logging.getLogger("tasuki.app")

_Name = tuple[str, str]
"""Driver, and queue at the broker."""


@dataclass(slots=True)
class _Written:
    """What one store has; times are of the monotonic clock."""

    ends: dict[_Name, Mapping[float, int]] = field(default_factory=dict)
    since: dict[_Name, float] = field(default_factory=dict)
    """By the store's clock."""
    checked: float = 0.0
    """When this was last compared with what the drivers keep."""


class DelayNotes:
    """One per app; for its loop. It costs nothing where brokers count, or nothing is delayed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.process = uuid4().hex[:12]
        self._queues: dict[SharedState, list[Queue]] = {}
        self._written: dict[SharedState, _Written] = {}
        self._locked: dict[SharedState, float] = {}
        self._purged: dict[_Name, float] = {}
        """When this process purged queues, by the clock of their store."""
        self._task: asyncio.Task[None] | None = None

    def take_charge(self, assembly: Assembly) -> None:
        """These are the queues from now on."""
        self._queues = {}
        for queue in assembly.queues.values():
            state = assembly.state_of(queue.id)
            is_shared = state is not None and state.driver.capabilities.multi_process
            if state is not None and is_shared and queue.driver.kept(queue.spec.name) is not None:
                self._queues.setdefault(state, []).append(queue)
                self._written.setdefault(state, _Written(checked=self._clock.monotonic()))
        if self._queues and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run(), name="delays of this process")

    async def close(self, driver: Driver) -> None:
        """A driver of queues or of a store is about to close: write what there is to write, while that is known."""
        for state, queues in list(self._queues.items()):
            mine = [queue for queue in queues if driver in (queue.driver, state.driver)]
            if mine:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GOODBYE):
                        await self._write(state, queues)
                self._queues[state] = [queue for queue in queues if queue not in mine]
        if not any(self._queues.values()) and self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self.write()

    async def write(self) -> None:
        """Write the notes that have changed."""
        for state, queues in list(self._queues.items()):
            try:
                await self._write(state, queues)
            except Exception:  # a defect here must not end the notes of other stores
                _log.exception("cannot note the delays of this process")

    async def _write(self, state: SharedState, queues: Iterable[Queue]) -> None:
        written, now = self._written[state], self._clock.monotonic()
        ends = {_name(queue): each for queue in queues if (each := _after(_ends(queue), now))}
        before = {name: left for name, each in written.ends.items() if (left := _after(each, now))}
        checked, written.checked = written.checked, now
        if ends == before:
            return
        if state.opened is None and self._locked.get(state, 0.0) > now:
            return
        try:
            store = await state.store()
            at = await store.time()
            first = at - (now - checked)
            since = {
                name: written.since[name]
                if before.get(name, {}).keys() & each
                else max(first, self._purged.get(name, 0.0) + _LATER)
                for name, each in ends.items()
            }
            notes = [Delays(*name, since[name], _shifted(each, at - now)) for name, each in ends.items()]
            if notes:
                last = max(max(each) for each in ends.values())
                await store.put(key_by(self.process), encode(notes), ttl=max(last - now, PERIOD))
            else:
                await store.delete(key_by(self.process))
            self._written[state] = _Written(ends, since, now)
        except DriverError as error:
            self._locked[state] = now + _AFTER_FAILURE
            _log.debug("no note of delays in the store of driver %s: %s", state.driver.name, error)

    def own(self, state: SharedState, queue: Queue, now: float) -> list[Delays]:
        """The notes of this process as they are now; ``now``: the time of the store."""
        ends, name = _ends(queue), _name(queue)
        written, here = self._written.get(state, _Written()), self._clock.monotonic()
        is_known = bool(_after(written.ends.get(name, {}), here).keys() & ends)
        since = written.since[name] if is_known else now
        return [Delays(*name, since, _shifted(ends, now - here))] if ends else []

    async def purged(self, state: SharedState | None, queue: Queue) -> None:
        """A queue was purged: the notes of it by other processes are worth nothing."""
        if state is None or queue not in self._queues.get(state, ()):
            return
        with suppress(DriverError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                store = await state.store()
                at = self._purged[_name(queue)] = await store.time()
                self._written.get(state, _Written()).ends.pop(_name(queue), None)
                purge = Purge(*_name(queue), at)
                await store.put(key_of_purge(*_name(queue)), encode(purge), ttl=_LONGEST)


async def notes_in(store: Store, but: str) -> Notes:
    """All notes in a store, without the ones of one process. Raises DriverError."""
    found, cursor = Notes(), ""
    while True:
        page = await store.list(DELAYS, after=cursor, limit=MAX_PAGE)
        for entry in page.entries:
            found.add(entry.key, entry.value, but=but)
        if not (cursor := page.cursor):
            return found


def _name(queue: Queue) -> _Name:
    return queue.driver.name, queue.spec.name


def _ends(queue: Queue) -> Mapping[float, int]:
    kept = queue.driver.kept(queue.spec.name)
    return {} if kept is None else kept.delays


def _after(ends: Mapping[float, int], now: float) -> Mapping[float, int]:
    return {end: number for end, number in ends.items() if end >= now}


def _shifted(ends: Mapping[float, int], by: float) -> list[tuple[float, int]]:
    return [(round(end + by, 3), number) for end, number in sorted(ends.items())]
