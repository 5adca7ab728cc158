"""The wheel: all schedules in memory, in groups that tick together, and the groups by their next ticks.

All ticks until the mark are published. Of the ticks between the mark and now, ``skip`` publishes the last 60 seconds,
``one`` the latest tick, ``all`` the latest 1,000. So every choice has a moment: it drops the ticks before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from tasuki.schedules.schedule import CatchUp, Schedule, Tick
from tasuki.schedules.times.timing import Timing, count_ticks, last_tick, next_tick, nth_last_tick, ticks

LATE = 60
"""Seconds: an older tick is dropped by ``skip``."""

MOST = 1000
"""Ticks that ``all`` publishes of one schedule."""


def begin(timing: Timing, catch_up: CatchUp, mark: int, now: int) -> int:
    """The moment, never before the mark, after which the ticks until now are published; in UTC seconds."""
    if catch_up == "skip":
        return max(mark, now - LATE - 1)
    first = last_tick(timing, now) if catch_up == "one" else nth_last_tick(timing, MOST, mark, now)
    return mark if first is None else max(mark, first - 1)


def dropped(timing: Timing, catch_up: CatchUp, mark: int, now: int) -> int:
    """How many ticks between mark and now are not published."""
    return count_ticks(timing, mark, begin(timing, catch_up, mark, now))


_Waiting = tuple[int, int, "_Group"]
"""The next tick of a group, and the group, with its number between: groups have no order."""


@dataclass(slots=True, eq=False)
class _Group:
    """Schedules with one timing and one choice of what to catch up."""

    number: int
    timing: Timing
    catch_up: CatchUp
    schedules: dict[str, Schedule] = field(default_factory=dict)


class Wheel:
    """Schedules by their next ticks: equal ones share an entry, so that a tick costs what it publishes.

    The wheel stands at a mark (UTC seconds): all ticks until then are published. A caller whose publish failed asks
    :meth:`due` again with the mark it had. Change the schedules between two rounds, not while reading one.
    """

    def __init__(self, schedules: Iterable[Schedule] = ()) -> None:
        self._mark = 0
        self._numbers = count()
        self._schedules: dict[str, Schedule] = {}
        self._groups: dict[tuple[Timing, CatchUp], _Group] = {}
        self._new: list[_Group] = []
        """Groups whose next ticks are not known yet."""
        self._waiting: list[_Waiting] = []
        """A heap of the groups that tick after the mark."""
        self.replace(schedules)

    def __len__(self) -> int:
        return len(self._schedules)

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._schedules.values())

    def get(self, id: str) -> Schedule | None:
        """The schedule of an id, if there is one."""
        return self._schedules.get(id)

    def replace(self, schedules: Iterable[Schedule]) -> None:
        """Hold these schedules and no others, as after a reload; of several with one id the last."""
        for group in self._groups.values():
            group.schedules.clear()
        self._schedules = {schedule.id: schedule for schedule in schedules}
        for schedule in self._schedules.values():
            self._group_of(schedule).schedules[schedule.id] = schedule
        self._forget_empty()

    def put(self, schedule: Schedule) -> None:
        """Add a schedule, or change the one that has its id. For many use :meth:`replace`."""
        self.remove(schedule.id)
        self._schedules[schedule.id] = schedule
        self._group_of(schedule).schedules[schedule.id] = schedule

    def remove(self, id: str) -> None:
        """Remove the schedule of an id, if there is one. For many use :meth:`replace`."""
        if (schedule := self._schedules.pop(id, None)) is None:
            return
        group = self._group_of(schedule)
        del group.schedules[id]
        if not group.schedules:
            self._forget_empty()

    def next_at(self, mark: int) -> int | None:
        """The first moment after the mark at which any schedule ticks; None: there will be none."""
        self._move(mark)
        return self._waiting[0][0] if self._waiting else None

    def due(self, mark: int, now: int) -> Iterator[Tick]:
        """The ticks after the mark and until now, in order of time, without those that their catch-up drops.

        They are found while they are read, also after months without a worker; see :meth:`dropped`.
        """
        coming: list[tuple[int, int, _Group, Iterator[int]]] = []
        for group in self._due_groups(mark, now):
            later = ticks(group.timing, begin(group.timing, group.catch_up, mark, now), now)
            if (first := next(later, None)) is not None:
                coming.append((first, group.number, group, later))
        heapq.heapify(coming)
        while coming:
            at, number, group, later = coming[0]
            for schedule in list(group.schedules.values()):
                if schedule.since < at:
                    yield Tick(schedule, at)
            if (following := next(later, None)) is not None:
                heapq.heapreplace(coming, (following, number, group, later))
            else:
                heapq.heappop(coming)

    def dropped(self, mark: int, now: int) -> Iterator[tuple[Schedule, int]]:
        """The schedules with ticks after the mark and until now that :meth:`due` leaves out, and how many."""
        for group in self._due_groups(mark, now):
            counts: dict[int, int] = {}
            for schedule in list(group.schedules.values()):
                since = max(mark, schedule.since)
                if since not in counts:
                    counts[since] = dropped(group.timing, group.catch_up, since, now)
                if counts[since]:
                    yield schedule, counts[since]

    def _group_of(self, schedule: Schedule) -> _Group:
        key = schedule.timing, schedule.catch_up
        if (group := self._groups.get(key)) is None:
            group = self._groups[key] = _Group(next(self._numbers), *key)
            self._new.append(group)
        return group

    def _forget_empty(self) -> None:
        self._groups = {key: group for key, group in self._groups.items() if group.schedules}
        self._new = [group for group in self._new if group.schedules]
        self._waiting = [waiting for waiting in self._waiting if waiting[2].schedules]
        heapq.heapify(self._waiting)

    def _due_groups(self, mark: int, now: int) -> list[_Group]:
        """The groups with a tick after the mark and until now; visits these and no more than twice as many others."""
        self._move(mark)
        found, places = [], [0]
        for place in places:
            if place < len(self._waiting) and self._waiting[place][0] <= now:
                found.append(self._waiting[place][2])
                places += (2 * place + 1, 2 * place + 2)
        return found

    def _move(self, mark: int) -> None:
        """Stand at a mark. One before the last is rare: another worker has published less than this one believed."""
        if mark < self._mark:
            self._waiting = []
            self._new = list(self._groups.values())
        self._mark = mark
        while self._waiting and self._waiting[0][0] <= mark:
            self._new.append(heapq.heappop(self._waiting)[2])
        for group in self._new:
            if (tick := next_tick(group.timing, mark)) is not None:
                heapq.heappush(self._waiting, (tick, group.number, group))
        self._new = []
