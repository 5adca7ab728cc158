"""When the writer has to try again for a waiting receive. It only reads, inside a transaction or outside."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from math import inf

from tasuki.clock import Clock
from tasuki.drivers.sqlite.store.store import Store


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
