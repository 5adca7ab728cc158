"""ScheduleGroup: the schedules of one queue, which publishes their ticks beside all others.

A queue that is full, or whose broker is unavailable, holds up no other queue: each lane has its own mark, and
tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from tasuki.errors import DriverError
from tasuki.schedules.schedule import Schedule, Tick
from tasuki.schedules.wheel import Wheel

_log = logging.getLogger("tasuki.schedules")


AGAIN = 1.0
"""Seconds after which a lane tries again what could not be published."""

_TOGETHER = 500
"""Ticks that are published at once."""


class Left(NamedTuple):
    """Ticks that could not be published now, with the cause."""

    ticks: Sequence[Tick]
    error: DriverError


Publish = Callable[[Sequence[Tick]], Awaitable[Left | None]]
"""Publishes the messages of ticks. Returns when all are decided; None: all are confirmed. DriverError: all are left."""


class Lane:
    """The schedules of one queue, and the mark of their published ticks.

    Args:
        name: of the lane.
        broker: to which it publishes.
        schedules: of it.
        mark: UTC seconds; its ticks until then are published.
    """

    def __init__(self, name: str, broker: str, schedules: Iterable[Schedule], mark: int) -> None:
        self.name = name
        self.broker = broker
        self.mark = mark
        self.work: asyncio.Task[None] | None = None
        """The publish that is under way."""
        self.again_at = 0.0
        """Monotonic time before which it publishes nothing."""
        self.error = ""
        """Why the last publish left ticks out; empty: it did not."""
        self._wheel = Wheel(schedules)
        self._done: dict[int, set[str]] = {}
        """The ticks after the mark that are published already: of each moment the ids of their schedules."""
        self._is_new = True

    @property
    def is_finished(self) -> bool:
        """Whether a publish has ended, and ``finish`` was not called yet."""
        return self.work is not None and self.work.done()

    def finish(self) -> bool:
        """Take note of the end of a publish; whether all was published. Raises the defect that ended it."""
        work, self.work = self.work, None
        if work is not None:
            work.result()
        return not self.error

    def is_behind(self, now: int) -> bool:
        """Whether ticks until now are not published yet."""
        return self.work is not None or ((at := self._wheel.next_at(self.mark)) is not None and at <= now)

    def due_in(self, time: float, monotonic: float) -> float | None:
        """Seconds from a time until the next publish; 0 or less: it is due; None: there is none, or it is under way."""
        if self.work is not None or (at := self._wheel.next_at(self.mark)) is None:
            return None
        wait = at - time
        return max(wait, self.again_at - monotonic) if self.error else wait

    async def publish(
        self, now: int, publish: Publish, is_paused: Callable[[str], bool], may_go_on: Callable[[], bool]
    ) -> None:
        """Publish the ticks until now, and move the mark; ``error`` says why some are left."""
        confirmed = 0
        for ticks in _portions(self._due(now)):
            if not may_go_on():
                return
            wanted = [tick for tick in ticks if not is_paused(tick.schedule.id)]
            try:
                left = await publish(wanted) if wanted else None
            except DriverError as error:
                left = Left(wanted, error)
            if left is not None:
                self._keep(now, confirmed, ticks, left)
                return
            confirmed += len(ticks)
        if self._is_new or self.error:
            self._tell_dropped(now)
        if self.error:
            _log.info("schedules of %s: published again", self.name)
        self.mark, self._done, self.error, self._is_new = now, {}, "", False

    def _due(self, now: int) -> Iterator[Tick]:
        for tick in self._wheel.due(self.mark, now):
            if tick.schedule.id not in self._done.get(tick.at, ()):
                yield tick

    def _keep(self, now: int, confirmed: int, ticks: Sequence[Tick], left: Left) -> None:
        """Note which ticks are published, so that the next publish leaves them out."""
        missing = set(left.ticks)
        done = [*islice(self._due(now), confirmed), *(tick for tick in ticks if tick not in missing)]
        for tick in done:
            self._done.setdefault(tick.at, set()).add(tick.schedule.id)
        if not self.error:
            _log.warning("schedules of %s wait for the broker: %s", self.name, left.error)
        self.error = str(left.error) or "unknown"

    def _tell_dropped(self, now: int) -> None:
        for schedule, count in self._wheel.dropped(self.mark, now):
            _log.warning("schedule %s: %d ticks of a time without a worker are dropped (catch_up: %s)",
                         schedule.id, count, schedule.catch_up)  # fmt: skip


def lanes_of(schedules: Iterable[Schedule], mark_of: Callable[[str], int]) -> list[Lane]:
    """The lanes of these schedules, each at its mark."""
    found: dict[str, list[Schedule]] = {}
    for schedule in schedules:
        found.setdefault(schedule.lane, []).append(schedule)
    return [Lane(name, each[0].broker, each, mark_of(name)) for name, each in found.items()]


def _portions(due: Iterable[Tick]) -> Iterator[list[Tick]]:
    while portion := list(islice(due, _TOGETHER)):
        yield portion
