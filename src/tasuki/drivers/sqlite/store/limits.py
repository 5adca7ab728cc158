"""The limits of queues, and the used part of each whole queue's rate; inside the transaction of a group.

Used places are not stored: they are the held messages. Of a rate one time is stored.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import Limit, QueueSpec
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.rows import Tally
from tasuki.drivers.toolkit import limits


@dataclass(slots=True)
class Limited:
    """A queue's limits during a transaction; the used part is written back at its end."""

    whole: Limit
    lane: Limit
    fair: int
    tat: float = 0.0
    entered: int = 0

    @property
    def used(self) -> tuple[float, int]:
        """What changes without a declaration, in the order of its columns."""
        return self.tat, self.entered

    @property
    def options(self) -> tuple[Limit, Limit, int]:
        """What a declaration gives."""
        return self.whole, self.lane, self.fair


def limited_by(spec: QueueSpec) -> Limited | None:
    """The limits of a declaration; None: it has none."""
    if spec.limit is None and not spec.fair:
        return None
    lane = spec.lane_limit if spec.fair else None
    return Limited(spec.limit or limits.NONE, lane or limits.NONE, spec.fair)


class Limits:
    """One connection's view of the table."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._clock = clock
        self._loaded: dict[int, tuple[Limited, tuple[float, int]]] = {}

    def of(self, queue: int) -> Limited:
        """The limits of a queue that has some, read once a transaction."""
        if queue not in self._loaded:
            found = self.stored(queue) or Limited(limits.NONE, limits.NONE, 0)
            self._loaded[queue] = found, found.used
        return self._loaded[queue][0]

    def stored(self, queue: int) -> Limited | None:
        """The limits as they were committed, or changed by this transaction's statements; also outside of one."""
        row = self._execute(statements.LIMITS, (queue,)).fetchone()
        return None if row is None else Limited(Limit(*row[:3]), Limit(*row[3:6]), *row[6:])

    def in_force(self, tally: Tally) -> dict[str, Any]:
        """The fields of ``QueueSpec`` for the limits of a queue."""
        limited = self.of(tally.queue) if tally.is_limited else Limited(limits.NONE, limits.NONE, 0)
        limit, lane = (None if each == limits.NONE else each for each in (limited.whole, limited.lane))
        return {"limit": limit, "lane_limit": lane, "fair": limited.fair}

    def fair(self, tally: Tally) -> int:
        """Most messages that a lane of the queue is given in its turn; 0: it has no lanes."""
        return self.of(tally.queue).fair if tally.is_limited else 0

    def room(self, tally: Tally, wanted: int) -> int:
        """How many of the wanted messages the limits of the whole queue allow now."""
        limited = self.of(tally.queue)
        return min(wanted, limits.room(limited.whole, limited.tat, self._clock.time(), tally.held))

    def hand_out(self, tally: Tally, messages: int) -> None:
        """Note what the messages use of the queue's rate."""
        if tally.is_limited:
            limited = self.of(tally.queue)
            limited.tat = limits.spent(limited.whole, limited.tat, self._clock.time(), messages)

    def give_back(self, queue: int, messages: int) -> None:
        """Return the parts of released messages to the queue's rate."""
        limited = self.of(queue)
        for _ in range(messages):
            limited.tat = limits.given_back(limited.whole, limited.tat)

    def change(self, queue: int, old: Limited | None, new: Limited | None) -> None:
        """Store other limits; a used part stays used."""
        if new is None:
            self._execute("DELETE FROM limits WHERE queue = ?", (queue,))
        else:
            if old is not None:
                tat = limits.changed(old.whole, new.whole, old.tat, self._clock.time())
                new.tat, new.entered = tat, old.entered
            self._execute(statements.LIMIT, (queue, *_columns(new.whole), *_columns(new.lane), new.fair, *new.used))
        self._execute("UPDATE queues SET limited = ? WHERE queue = ?", (int(new is not None), queue))
        self.forget(queue)

    def forget(self, queue: int) -> None:
        """Read the row again when it is needed; it has changed, or has gone with its queue."""
        self._loaded.pop(queue, None)

    def save(self) -> None:
        """Write the used parts, right before the commit."""
        changed = [(*each.used, queue) for queue, (each, before) in self._loaded.items() if each.used != before]
        if changed:
            self._executemany("UPDATE limits SET tat = ?, entered = ? WHERE queue = ?", changed)
        self._loaded.clear()

    def undo(self) -> None:
        """After a rollback: drop what this transaction read and changed."""
        self._loaded.clear()


def _columns(limit: Limit) -> tuple[float | None, int, int | None]:
    return limit.rate, limit.burst, limit.concurrency
