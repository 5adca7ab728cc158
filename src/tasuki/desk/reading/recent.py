"""The past: the last hour of each queue, read every few seconds while anyone looks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tasuki.app.measuring.history import HistoryReader, Read, measure_waits
from tasuki.clock import Clock
from tasuki.desk.site import Site
from tasuki.errors import TasukiError
from tasuki.observe.history import MINUTE, MINUTES, Hour, Process, Span, Times
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly

_AGE = 10.0
"""Seconds after which the stores are read again."""
_OLD = 60.0
"""Seconds after which a read is not shown as the present any more."""
_FIRST = 2.0
"""Seconds that a snapshot waits for it."""
_SETTLED = 20.0
"""Seconds after its end in which a minute is written by all processes."""
_RECENT = 5
"""Minutes over which waits and run times are computed."""


class QueuePast:
    """The last hour of one queue; each number is computed once."""

    def __init__(self, hour: Hour, newest: int) -> None:
        self.hour = hour
        self.newest = newest
        """The last minute that all processes have written."""

    @cached_property
    def last(self) -> Span:
        """The last minute."""
        return self.hour.span(self.newest, self.newest)

    @property
    def in_rate(self) -> float:
        """Messages published a second, in the last minute."""
        return self.last.published / MINUTE

    @property
    def out_rate(self) -> float:
        """Messages done a second, in the same minute."""
        return self.last.done / MINUTE

    @property
    def failed_rate(self) -> float:
        """Failures a second, in the same minute."""
        return self.last.failed / MINUTE

    @cached_property
    def _recent(self) -> Span:
        return self.hour.span(self.newest - _RECENT + 1, self.newest)

    @property
    def wait(self) -> Times:
        """Waits in the last five minutes."""
        return self._recent.wait

    @property
    def run(self) -> Times:
        """Times of handlers in the last five minutes."""
        return self._recent.run

    @cached_property
    def lines(self) -> Mapping[str, list[int]]:
        """Of each minute: ``published``, ``done``, ``failed``."""
        return {name: self.hour.numbers(name, self.newest) for name in ("published", "done", "failed")}

    def p95(self, name: str) -> list[float | None]:
        """Of each minute, within which 95 % of its waits or runs (``wait``, ``run``) ended; None: there was none."""
        minutes = range(self.newest - MINUTES + 1, self.newest + 1)
        return [getattr(self.hour.span(minute, minute), name).p95 for minute in minutes]

    @cached_property
    def sums(self) -> Mapping[str, int]:
        """The same over the hour."""
        return {name: sum(line) for name, line in self.lines.items()}


@dataclass(frozen=True, slots=True)
class _MinutePart:
    """One read of the queues of one app."""

    at: float
    """When, on the monotonic clock."""
    newest: int
    queues: Mapping[str, QueuePast]
    known: frozenset[str]
    """The queues whose minutes were read, also those in which nothing happened."""
    processes: Sequence[Process]


class Past:
    """Belongs to the event loop of the desk. A minute that was read more than ``_OLD`` seconds ago is not shown."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._readers: dict[App, HistoryReader] = {}
        self._task: asyncio.Task[None] | None = None
        self._tried_at = float("-inf")
        self._parts: dict[App, _MinutePart] = {}

    async def latest(self) -> None:
        """Read again if the last read is old; returns soon in any case."""
        now = self._clock.monotonic()
        if now - self._tried_at < _AGE and self.ends is not None and self.ends > self._newest() * MINUTE:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="desk history")
        if now - self._tried_at > _AGE:  # a first visit, or one after a while: a client that asks once has no next page
            await asyncio.wait([self._task], timeout=_FIRST)

    @property
    def queues(self) -> Mapping[str, QueuePast]:
        """By id; without queues in which nothing happened, or whose minutes are too old to be shown.

        A queue without a state has what this process did.
        """
        return {id: past for part in self._fresh for id, past in part.queues.items()}

    @property
    def known(self) -> frozenset[str]:
        """The queues whose last hour is known."""
        return frozenset[str]().union(*(part.known for part in self._fresh))

    @property
    def processes(self) -> list[Process]:
        """The processes that did something in the hour."""
        return [each for part in self._fresh for each in part.processes]

    @property
    def ends(self) -> float | None:
        """Unix time of the end of the last minute that is known; None: none is."""
        return min(((part.newest + 1) * MINUTE for part in self._fresh), default=None)

    @property
    def _fresh(self) -> list[_MinutePart]:
        oldest = self._clock.monotonic() - _OLD
        return [part for part in self._parts.values() if part.at >= oldest]

    async def close(self) -> None:
        """End a read under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        """Read what can be read: a missing history is no reason to show nothing."""
        own = self._site.own
        if own is not None and own._runtime.assembly is not None:
            measure_waits(own._runtime.assembly, own._runtime.clock)
        try:
            parts = self._site.parts()
        except TasukiError:
            parts = []
        try:
            for app, ids in parts:
                with suppress(TasukiError):  # the snapshot says which broker is unavailable
                    await self._read_part(app, ids)
        finally:
            self._tried_at = self._clock.monotonic()
        apps = (self._site.reader, own)
        self._readers = {app: reader for app, reader in self._readers.items() if app in apps}
        self._parts = {app: part for app, part in self._parts.items() if app in apps}

    async def _read_part(self, app: App, ids: Sequence[str]) -> None:
        reader, newest = self._readers.setdefault(app, HistoryReader()), self._newest()
        reads = await self._site.on(app, partial(self._fetch, reader, ids))
        await reader.apply(reads)
        if (live := app._runtime.assembly) is None:
            return
        states = {read.state for read in reads}
        is_own = app is self._site.own
        known = [id for id in ids if _is_told(live, id, states, is_own=is_own)]
        found = {id: QueuePast(hour, newest) for id in ids if (hour := reader.of(live, id)) is not None}
        processes = [each for hours in reader.hours() for each in hours.processes]
        self._parts[app] = _MinutePart(self._clock.monotonic(), newest, found, frozenset(known), processes)

    async def _fetch(self, reader: HistoryReader, ids: Iterable[str], live: Assembly) -> list[Read]:
        own = self._site.own
        states = [live.state_of(id) for id in ids]
        # A store is made by opening it: not by a desk.
        seen = [state for state in dict.fromkeys(states) if state is None or state.opened or _is_private(state)]
        return await reader.fetch(seen, None if own is None else own._runtime.history, self._clock)

    def _newest(self) -> int:
        now = self._clock.time()
        return int((now - _SETTLED) // MINUTE) - 1


def _is_told(live: Assembly, id: str, states: Collection[SharedState | None], *, is_own: bool) -> bool:
    """Whether all processes that have a queue write its minutes where they were read."""
    state = live.state_of(id)
    if state is None:  # only this process's own
        return is_own and not live.queues[id].driver.capabilities.multi_process
    return state in states


def _is_private(state: SharedState) -> bool:
    return not state.driver.capabilities.multi_process
