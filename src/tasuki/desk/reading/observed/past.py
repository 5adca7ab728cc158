"""The past: the last hour of each queue, read every few seconds while anyone looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tasuki.app.history.reading import HistoryReader, Read
from tasuki.app.history.writing import measure_waits
from tasuki.clock import Clock
from tasuki.desk.site import Site
from tasuki.errors import TasukiError
from tasuki.observe.history.hours import Hour, Process, Span, Times
from tasuki.observe.history.minutes import MINUTE
from tasuki.state.shared import SharedState

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly

_AGE = 10.0
"""Seconds after which the stores are read again."""
_FIRST = 1.0
"""Seconds that the first page waits for it."""
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

    @cached_property
    def sums(self) -> Mapping[str, int]:
        """The same over the hour."""
        return {name: sum(line) for name, line in self.lines.items()}


class Past:
    """Belongs to the event loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._readers: dict[App, HistoryReader] = {}
        self._task: asyncio.Task[None] | None = None
        self._read_at = float("-inf")
        self.queues: Mapping[str, QueuePast] = {}
        """By id; without those in which nothing happened."""
        self.processes: list[Process] = []
        """Those that did something in the hour."""

    async def latest(self) -> None:
        """Read again if the last read is old; returns soon in any case."""
        is_first = self._read_at == float("-inf")
        if self._clock.monotonic() - self._read_at < _AGE:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="desk history")
        if is_first:
            await asyncio.wait([self._task], timeout=_FIRST)

    async def close(self) -> None:
        """End a read under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        """Read what can be read: a missing history is no reason to show nothing."""
        found: dict[str, QueuePast] = {}
        processes: list[Process] = []
        own = self._site.own
        if own is not None and own.assembly is not None:
            measure_waits(own.assembly, own.clock)
        try:
            for app, ids in self._site.parts():
                reader = self._readers.setdefault(app, HistoryReader())
                await reader.apply(await self._site.on(app, partial(self._fetch, reader, ids)))
                live = app.assembly
                for id in ids if live is not None else ():
                    assert live is not None
                    if (hour := reader.of(live, id)) is not None:
                        found[id] = QueuePast(hour, self._newest())
                processes += [each for hours in reader.hours() for each in hours.processes]
        except TasukiError:
            return  # the snapshot says which broker is away
        finally:
            self._read_at = self._clock.monotonic()
        self._readers = {app: reader for app, reader in self._readers.items() if app in (self._site.reader, own)}
        self.queues, self.processes = found, processes

    async def _fetch(self, reader: HistoryReader, ids: Iterable[str], live: Assembly) -> list[Read]:
        own = self._site.own
        states = [live.state_of(id) for id in ids]
        # A store is made by opening it: not by a desk.
        seen = [state for state in dict.fromkeys(states) if state is None or state.opened or _is_private(state)]
        return await reader.fetch(seen, None if own is None else own.recent_history(), self._clock)

    def _newest(self) -> int:
        now = self._clock.time()
        return int((now - _SETTLED) // MINUTE) - 1


def _is_private(state: SharedState) -> bool:
    return not state.driver.capabilities.multi_process
