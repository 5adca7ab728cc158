"""The receives that wait for a message, and which of them a transaction has to try. No I/O, no clock.

A transaction costs the same however many receives wait: it tries those whose queue it touched, those whose queue
another process changed, and those for which a delayed message is due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping, Set
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from tasuki.drivers.sqlite.thread.requests import Receive

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
