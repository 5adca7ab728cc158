"""Purging and deleting in several transactions, so that other processes are not locked out; each part inside one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from tasuki.clock import Clock
from tasuki.drivers.sqlite import statements
from tasuki.drivers.sqlite.known import Known
from tasuki.drivers.sqlite.lines import Lines
from tasuki.drivers.sqlite.queues import Queues
from tasuki.drivers.sqlite.rows import numbers_text
from tasuki.drivers.sqlite.suspects import Suspects

PART = 100
"""Most messages, or known ids, removed at once."""
SECONDS = 0.01
"""How long a transaction removes one part after the other: the longer, the fewer commits wait for the disk."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The messages that a purge removes: those that waited in the queue when it began."""

    queue: int
    newest: int
    held: tuple[int, ...]


class Purge:
    """One connection's way to empty a queue."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        queues: Queues,
        lines: Lines,
        suspects: Suspects,
        known: Known,
    ) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._clock = clock
        self._queues = queues
        self._lines = lines
        self._suspects = suspects
        self._known = known

    def begin(self, queue: int) -> Extent:
        """Note what is there now. Numbers are never used again, so what comes later has higher ones."""
        held = self._execute("SELECT seq FROM held WHERE queue = ?", (queue,)).fetchall()
        return Extent(queue, self._queues.tally(queue).newest, tuple(row[0] for row in held))

    def run(self, queue: int, extent: Extent) -> tuple[int, bool]:
        """Remove as many of the messages as there is time for; returns how many, and whether all are gone."""
        if queue != extent.queue:  # deleted and declared again meanwhile
            return 0, True
        return self._run(lambda: self._remove(queue, extent))

    def _run(self, remove: Callable[[], int]) -> tuple[int, bool]:
        ends_at, removed = self._clock.monotonic() + SECONDS, 0
        while count := remove():
            removed += count
            if self._clock.monotonic() >= ends_at:
                return removed, False
        return removed, True

    def _remove(self, queue: int, extent: Extent) -> int:
        """Remove up to ``PART`` of the messages; returns how many."""
        wanted = {"queue": queue, "newest": extent.newest, "held": numbers_text(extent.held), "limit": PART}
        rows = self._execute(statements.PURGED, wanted).fetchall()
        delayed = [(queue, row[4], row[0]) for row in rows if row[4]]
        self._executemany("DELETE FROM delayed WHERE queue = ? AND ready_at = ? AND seq = ?", delayed)
        shown = [(queue, row[1], row[0]) for row in rows if not row[3] and not row[4]]
        self._executemany("DELETE FROM ready WHERE queue = ? AND rank = ? AND seq = ?", shown)
        self._executemany("DELETE FROM messages WHERE seq = ?", [row[:1] for row in rows])
        self._suspects.forget([row[0] for row in rows])
        keyed = [row for row in rows if row[2] is not None]
        for seq, _, key, waiting, _ in keyed:
            self._lines.leave(queue, key, waiting, seq)
        for key in {row[2] for row in keyed}:
            self._lines.advance(queue, key)
        tally = self._queues.tally(queue)
        tally.total -= len(rows)
        tally.delayed -= len(delayed)
        return len(rows)

    def shrink(self, name: str) -> bool:
        """Remove a part of what a queue holds that is to be deleted; False: the rest can go with the queue."""
        queue = self._queues.stored(name)
        if queue is None:
            return False
        extent = self.begin(queue)
        _, is_empty = self._run(lambda: self._remove(queue, extent) or self._known.forget_some(queue, PART))
        return not is_empty
