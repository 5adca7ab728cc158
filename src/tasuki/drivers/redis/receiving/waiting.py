"""Waiting: the receivers of this process that wait, and whether the server knows that the process waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

from tasuki.drivers.toolkit.wait_list import Waiter, WaitList

SLACK = 0.5
"""Seconds by which a check may come early, so that many queues are checked at once; one that is due sooner may not.

Else a check that came before the due time would be repeated with every other one until then.
"""
_EARLY = 0.25
"""Of a longer pause, by which it may come early: with the next turn all come together."""
_EXACT = 0.001
"""Seconds by which a timer may be early."""


class News(Enum):
    """What a wake-up says."""

    MINE = auto()
    """This process was woken: unless it acts, another one must be."""
    ALL = auto()
    """All processes were woken, or there is more than another receiver of this process took."""


@dataclass(slots=True)
class _Line:
    """Of one queue."""

    waiters: WaitList[News] = field(default_factory=WaitList)
    receivers: set[Waiter[News]] = field(default_factory=set)
    """Those that wait, and those that were woken and ask now."""
    is_registered: bool = False
    wakes: int = 0
    """Wake-ups so far: a registration that was asked for before the last one may be used up."""
    check_at: float = inf
    """When the queue is checked next, by the loop's clock."""
    slack: float = SLACK
    """Seconds by which that may come early."""

    def wake(self, news: News) -> bool:
        """Wake the receiver that has waited longest; False if none waits."""
        self.wakes += 1
        self.is_registered = False
        return self.waiters.wake(news)


class Waiters:
    """The receivers that wait, by queue.

    The server knows a process, not its receivers: while the process is registered there, none of them has to ask. One
    wake-up wakes one receiver, which registers the process again. ``on_unheard`` gets the queue of a wake-up for which
    no receiver waits here: another process has to be woken. ``check`` gets the queues that have to be checked, and
    calls ``checked`` for each.
    """

    def __init__(self, on_unheard: Callable[[str], None], check: Callable[[list[str]], None]) -> None:
        self._on_unheard = on_unheard
        self._check = check
        self._lines: dict[str, _Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ends_at = inf

    def __len__(self) -> int:
        """How many queues are waited for."""
        return len(self._lines)

    def join(self, queue: str) -> Waiter[News]:
        """Wait from now on, until ``leave``."""
        line = self._lines.setdefault(queue, _Line())
        waiter = line.waiters.add()
        line.receivers.add(waiter)
        return waiter

    def leave(self, queue: str, waiter: Waiter[News]) -> News | None:
        """Wait no longer. Returns the wake-up that the waiter got."""
        line = self._lines.get(queue)
        if line is None:
            return None
        line.receivers.discard(waiter)
        if not line.receivers and line.check_at == inf:
            del self._lines[queue]
        return line.waiters.leave(waiter)

    def count(self, queue: str) -> int:
        """How many have joined and not left."""
        line = self._lines.get(queue)
        return len(line.receivers) if line is not None else 0

    def wakes(self, queue: str) -> int:
        """Wake-ups so far; for ``registered``."""
        line = self._lines.get(queue)
        return line.wakes if line is not None else 0

    def registered(self, queue: str, wakes: int, seconds: float) -> None:
        """The server knows that this process waits, unless it was woken since ``wakes``; check then by itself."""
        line = self._lines.setdefault(queue, _Line())
        line.is_registered = line.wakes == wakes
        self._plan(line, seconds)

    def checked(self, queue: str, seconds: float | None) -> None:
        """Check the queue again after so many seconds; None: a receiver has to ask."""
        line = self._lines.get(queue)
        if line is None or not line.is_registered:
            return  # it was woken meanwhile
        if seconds is None:
            self.wake(queue)
        elif line.check_at == inf:
            self._plan(line, seconds)

    def is_registered(self, queue: str) -> bool:
        """Whether the server wakes this process when there is a message for it."""
        line = self._lines.get(queue)
        return line is not None and line.is_registered

    def wake(self, queue: str) -> None:
        """Act on a wake-up for this process: wake one receiver, or let another process be woken."""
        line = self._lines.get(queue)
        if line is None or not line.wake(News.MINE):
            self._forget(queue)
            self._on_unheard(queue)

    def wake_one(self, queue: str) -> None:
        """Wake one receiver, if there is one: the wake-up is for all processes, or there is more than another took."""
        line = self._lines.get(queue)
        if line is not None:
            line.wake(News.ALL)

    def wake_all(self, queue: str | None = None) -> None:
        """Wake all receivers of a queue, or of all queues: after a close, or when wake-ups may have been missed."""
        for name in list(self._lines) if queue is None else [queue]:
            line = self._lines.get(name)
            while line is not None and line.wake(News.ALL):
                pass
            self._forget(name)

    def _plan(self, line: _Line, seconds: float) -> None:
        line.check_at = asyncio.get_running_loop().time() + seconds
        line.slack = max(SLACK, _EARLY * seconds) if seconds > SLACK else _EXACT
        self._begin_timer(line.check_at)

    def _begin_timer(self, ends_at: float) -> None:
        if ends_at < self._timer_ends_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(ends_at, self._check_due)
            self._timer_ends_at = ends_at

    def _check_due(self) -> None:
        """Have all queues checked for which it is time: with one call where the process is registered and waits."""
        self._timer, self._timer_ends_at = None, inf
        now = asyncio.get_running_loop().time()
        due = [queue for queue, line in self._lines.items() if line.check_at - line.slack <= now]
        quiet = []
        for queue in due:
            line = self._lines[queue]
            line.check_at = inf
            if line.is_registered and line.waiters:
                quiet.append(queue)
            else:
                self.wake(queue)
        if quiet:
            self._check(sorted(quiet))
        self._begin_timer(min((line.check_at for line in self._lines.values()), default=inf))

    def _forget(self, queue: str) -> None:
        line = self._lines.get(queue)
        if line is not None:
            line.check_at = inf
            if not line.receivers:
                del self._lines[queue]
