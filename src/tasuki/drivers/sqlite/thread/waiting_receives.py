"""The receives that wait for a message: which of them a transaction has to try, and when the writer tries again.

A transaction costs the same however many receives wait: it tries those whose queue it touched, those whose queue
another process changed, and those for which a delayed message is due.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping, Sequence, Set
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import NamedTuple

from tasuki.clock import Clock
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.sqlite.thread.requests import Receive


class NextWakeup:
    """One connection's view of its queues."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._queues = store.queues
        self._lanes = store.lanes
        self._execute = store.connection.execute
        self._clock = clock

    def next_at(self, name: str) -> float | None:
        """When a queue of which a claim found nothing can have something (wall clock), unless something happens.

        That is when its first delayed message is due, or when its limit allows the next one. None: never, or the queue
        is gone. Inside the transaction of the claim.
        """
        queue = self._queues.seen(name)
        if queue is None:
            return None
        tally = self._queues.tally(queue)
        first = self._first_due(queue) if tally.delayed else None
        if not tally.is_limited:
            return first
        return self._lanes.next_at(queue, self._lanes.limits.of(queue), tally.held, first)

    def next_lease(self) -> float:
        """When the first lease ends (boot time)."""
        first = self._execute("SELECT min(lease_until) FROM held").fetchone()[0]
        return inf if first is None else float(first)

    def among(self, names: Collection[str]) -> tuple[list[str], dict[str, float | None]]:
        """Which of the queues have a message to claim, and when each of the others can have one, as far as is known.

        Outside of a transaction too.
        """
        numbers = {queue: name for name in names if (queue := self._queues.seen(name)) is not None}
        limited = self._queues.limited & numbers.keys()
        asked = sorted(numbers.keys() - limited)
        ready = [numbers[queue] for queue in self._among("ready", asked)]
        dues: dict[str, float | None] = {
            numbers[queue]: self._first_due(queue) for queue in self._among("delayed", asked)
        }
        for queue in limited:
            at = dues[numbers[queue]] = self._limited_next_at(queue)
            if at is not None and at <= self._clock.time():
                ready.append(numbers[queue])
        return ready, dues

    def _limited_next_at(self, queue: int) -> float | None:
        limited = self._lanes.limits.stored(queue)
        row = self._execute("SELECT held FROM queues WHERE queue = ?", (queue,)).fetchone()
        if limited is None or row is None:  # it has no limits any more: the next transaction learns of it
            return 0.0
        return self._lanes.next_at(queue, limited, row[0], self._first_due(queue))

    def _among(self, table: str, asked: Sequence[int]) -> Iterator[int]:
        """Which of the queues (sorted numbers) have rows in the table.

        Costs a seek for each queue asked for, or for each that has rows: whichever are fewer.
        """
        index, sql = 0, f"SELECT min(queue) FROM {table} WHERE queue >= ?"  # noqa: S608
        while index < len(asked):
            first = self._execute(sql, (asked[index],)).fetchone()[0]
            if first is None:
                return
            index = bisect_left(asked, first, index)
            if index < len(asked) and asked[index] == first:
                yield first
                index += 1

    def _first_due(self, queue: int) -> float | None:
        first = self._execute("SELECT min(ready_at) FROM delayed WHERE queue = ?", (queue,)).fetchone()[0]
        return None if first is None else float(first)


LONGEST, SHORTEST = 0.04, 0.001
"""Seconds between checks: the least while messages flow, the most after a second without any."""

QUIET = 0.02
"""Seconds without a message after which watching for wake-ups is worth its system calls; before, polling is."""
AHEAD = 0.2
"""Seconds by which answers to wake-ups may be ahead of the pace of polling: opening, declaring, publishing all wake."""
MISSES = 2
"""Missed wake-ups in a row before they are distrusted; a single one may still be on its way."""


class Pause(NamedTuple):
    """How long to wait for a request; a deep pause ends with a wake-up too."""

    seconds: float
    is_deep: bool


class PollPacing:
    """When checks and wake-ups found messages, while receives wait."""

    def __init__(self) -> None:
        self.must_poll = False
        """Whether wake-ups cannot be relied on: then the thread polls."""
        self._news_at = 0.0
        self._checked_at = 0.0
        self._answered_until = 0.0
        """Until when polling would have cost as much as the answers to wake-ups did."""
        self._is_woken = False
        self._is_clear = False
        """Whether a check has covered all earlier wake-ups; only then the next one is new, and another process's."""
        self._misses = 0

    def pause(self, now: float, until: float) -> Pause:
        """The wait, not beyond ``until``. Any number of wake-ups causes hardly more checks than polling."""
        if self._is_clear and not self.must_poll and now - self._news_at >= QUIET:
            return Pause(max(until - now, 0.0), is_deep=True)
        # Act on a wake-up at once; throttle a burst.
        due = self._answered_until - AHEAD if self._is_woken else self._checked_at + self._pace(now)
        return Pause(max(min(due, until) - now, 0.0), is_deep=False)

    def woke(self) -> None:
        """A deep pause ended with a wake-up."""
        self._is_clear = False
        self._is_woken = True
        self._misses = 0

    def worked(self, now: float, *, has_notified: bool, has_taken: bool) -> None:
        """A transaction of this driver is over; it saw all that others had committed before."""
        self._checked_at = now
        self._is_woken = False
        if has_taken:
            self._news_at = now
        if has_notified:
            self._is_clear = False

    def checked(self, now: float, *, was_woken: bool, has_found: bool) -> bool:
        """A check is over; ``was_woken``: a wake-up came before it. Returns False if wake-ups cannot be relied on."""
        has_missed = has_found and self._is_clear and not was_woken and not self.must_poll
        if has_found and was_woken:
            self._misses = 0
        self._misses += has_missed
        if self._is_woken:
            self._answered_until, self._is_woken = max(self._answered_until, now) + self._pace(now), False
        self._checked_at = now
        self._is_clear = not has_found
        return not has_missed or self._misses < MISSES

    def _pace(self, now: float) -> float:
        return min(max((now - self._news_at) * LONGEST, SHORTEST), LONGEST)


_SPARE = 100
"""Deadlines of answered receives that are kept beside as many as there are waiting ones."""


class WaitingReceives:
    """Receives by queue, in the order in which they came; their deadlines; when each queue's first message is due."""

    def __init__(self) -> None:
        self._by_queue: dict[str, dict[Receive, None]] = {}
        self._count = 0
        self._deadlines: list[tuple[float, int, Receive]] = []
        self._numbers = count()
        self._due: dict[str, float] = {}
        self._changed: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._by_queue)

    def __iter__(self) -> Iterator[Receive]:
        return (receive for waiting in self._by_queue.values() for receive in waiting)

    @property
    def queues(self) -> KeysView[str]:
        """The queues whose messages are waited for."""
        return self._by_queue.keys()

    @property
    def deadline(self) -> float:
        """When the first wait ends (monotonic clock)."""
        while self._deadlines and not self._has(self._deadlines[0][2]):
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else inf

    @property
    def due(self) -> float:
        """When the first delayed message of these queues is due (wall clock)."""
        return min(self._due.values(), default=inf)

    def add(self, receive: Receive) -> None:
        """Let it wait; again does nothing."""
        if self._has(receive):
            return
        self._by_queue.setdefault(receive.queue, {})[receive] = None
        self._count += 1
        heappush(self._deadlines, (receive.deadline, next(self._numbers), receive))

    def discard(self, receive: Receive) -> None:
        """Forget one that is answered, or was never here."""
        if not self._has(receive):
            return
        waiting = self._by_queue[receive.queue]
        del waiting[receive]
        self._count -= 1
        if not waiting:
            del self._by_queue[receive.queue]
            self._due.pop(receive.queue, None)
        if len(self._deadlines) > 2 * self._count + _SPARE:
            self._deadlines = [item for item in self._deadlines if self._has(item[2])]
            heapify(self._deadlines)

    def expect(self, dues: Mapping[str, float | None]) -> None:
        """Note when the first delayed message of each of these queues is due; None: there is none."""
        for queue, due in dues.items():
            if due is None or queue not in self._by_queue:
                self._due.pop(queue, None)
            else:
                self._due[queue] = due

    def change(self, queues: Collection[str]) -> None:
        """Have the receives of these queues tried by the next transaction that succeeds."""
        self._changed.update(queues)

    def wanted(self, touched: Set[str], now: float) -> list[Receive]:
        """The receives that a transaction has to try: it touched these queues, and it is ``now`` (wall clock)."""
        queues = touched | self._changed | {queue for queue, due in self._due.items() if due <= now}
        found = [receive for queue in queues for receive in self._by_queue.get(queue, ())]
        return [receive for receive in found if not self._is_dropped(receive)]

    def tried(self, receives: Collection[Receive]) -> None:
        """The transaction succeeded: keep those that got nothing."""
        self._changed.clear()
        for receive in receives:
            (self.discard if receive.is_over else self.add)(receive)

    def take_over(self, now: float, forgotten: Iterable[str] = ()) -> list[Receive]:
        """Remove those whose wait is over (monotonic clock), or whose queue this process has forgotten."""
        if not self._by_queue:
            return []
        over = [receive for queue in forgotten for receive in self._by_queue.get(queue, ())]
        for receive in over:
            self.discard(receive)
        while self.deadline <= now:
            over.append(self._deadlines[0][2])
            self.discard(over[-1])
        return over

    def prune(self) -> None:
        """Drop those whose callers were cancelled."""
        for receive in list(self):
            self._is_dropped(receive)

    def _has(self, receive: Receive) -> bool:
        return receive in self._by_queue.get(receive.queue, ())

    def _is_dropped(self, receive: Receive) -> bool:
        if receive.is_abandoned:
            self.discard(receive)
        return receive.is_abandoned
