"""Purging and deleting in several transactions, so that other processes are not locked out; each part inside one."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tasuki.clock import Clock
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.queues import Queues
from tasuki.drivers.sqlite.store.rows import names_text, numbers_text
from tasuki.drivers.sqlite.store.side_tables import DedupIds, KeyOrder, Suspects

FIRST = 10
"""Messages, or known ids, that a transaction removes before it knows how long they take; a body of 1 MiB takes 1 ms."""
PART = 250
"""Most that it removes before it looks at the clock again."""
NAMED = 1000
"""Ids whose messages a transaction removes."""
SECONDS = 0.01
"""How long a transaction goes on: the longer, the fewer commits wait for the disk."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The messages that a purge removes: those that waited in the queue when it began."""

    queue: int
    newest: int
    held: tuple[int, ...]
    """In order."""


def ranges(places: Iterable[tuple[int, int]], held: Sequence[int]) -> list[tuple[int, int, int]]:
    """Rank, first and last number of the ranges that make up these messages; no held message is in them.

    To remove a range costs a third of what its messages cost one by one.

    Args:
        places: rank and number of messages that are neighbors in the table ``ready``, but for held ones.
        held: numbers, in order.
    """
    found = []
    for (rank, _), part in groupby(sorted(places), key=lambda place: (place[0], bisect_left(held, place[1]))):
        numbers = [number for _, number in part]
        found.append((rank, numbers[0], numbers[-1]))
    return found


def next_part(removed: int, seconds: float) -> int:
    """How many to remove next in a transaction that has removed so many in so long; 0: its time is over."""
    left = SECONDS - seconds
    return min(int(removed * left / max(seconds, 1e-6)), PART) if left > 0 else 0


class Purge:
    """One connection's way to empty a queue."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        queues: Queues,
        lines: KeyOrder,
        suspects: Suspects,
        ids: DedupIds,
    ) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._clock = clock
        self._queues = queues
        self._lines = lines
        self._suspects = suspects
        self._ids = ids

    def begin(self, queue: int) -> Extent:
        """Note the newest message. Numbers are never used again, so later messages have higher ones."""
        held = self._execute("SELECT seq FROM held WHERE queue = ? ORDER BY seq", (queue,)).fetchall()
        return Extent(queue, self._queues.tally(queue).newest, tuple(row[0] for row in held))

    def run(self, queue: int, extent: Extent) -> tuple[int, bool]:
        """Remove as many of the messages as there is time for; returns how many, and whether all are gone."""
        if queue != extent.queue:  # deleted and declared again meanwhile
            return 0, True
        return self._run(lambda size: self._remove(queue, extent, size))

    def _run(self, remove: Callable[[int], int]) -> tuple[int, bool]:
        began, removed, size = self._clock.monotonic(), 0, FIRST
        while size:
            count = remove(size)
            if not count:
                return removed, True
            removed += count
            size = next_part(removed, self._clock.monotonic() - began)
        return removed, False

    def _remove(self, queue: int, extent: Extent, most: int) -> int:
        """Remove some of the messages; returns how many."""
        wanted = {"queue": queue, "newest": extent.newest, "held": numbers_text(extent.held), "limit": most}
        rows = self._execute(statements.PURGED, wanted).fetchall()
        shown = [(row[1], row[0]) for row in rows if not row[3] and not row[4]]
        self._take_out(queue, rows, ranges(shown, extent.held))
        return len(rows)

    def remove(self, queue: int, ids: Collection[str], seqs: Collection[int | None] = ()) -> int:
        """Remove the waiting messages of these ids, with one of the numbers if there are some; returns how many."""
        rows = self._waiting(queue, [seq for seq in self._named(queue, ids) if not seqs or seq in seqs])
        self.take_out(queue, rows)
        return len(rows)

    def find(self, queue: int, ids: Collection[str]) -> dict[str, list[int]]:
        """By id the numbers of its waiting messages, the oldest first."""
        named, found = self._named(queue, ids), dict[str, list[int]]()
        for row in sorted(self._waiting(queue, named)):
            found.setdefault(named[row[0]], []).append(row[0])
        return found

    def _named(self, queue: int, ids: Collection[str]) -> dict[int, str]:
        """The messages of these ids, held ones too: each id by the number."""
        return dict(self._execute(statements.NAMED, {"queue": queue, "ids": names_text(ids)}).fetchall())

    def waiting(self, queue: int, wanted: Iterable[tuple[int, str]]) -> list[Any]:
        """The rows of messages that wait, by their numbers and ids."""
        sql = "SELECT seq FROM messages WHERE seq = ? AND id = ?"
        return self._waiting(queue, [row[0] for each in wanted for row in self._execute(sql, each).fetchall()])

    def _waiting(self, queue: int, seqs: Collection[int]) -> list[Any]:
        if not seqs:
            return []
        return self._execute(statements.WAITING, {"queue": queue, "seqs": numbers_text(seqs)}).fetchall()

    def take_out(self, queue: int, rows: list[Any]) -> None:
        """Remove messages that wait."""
        if rows:
            self._take_out(queue, rows, [(row[1], row[0], row[0]) for row in rows if not row[3] and not row[4]])

    def expedite(self, queue: int, ids: Collection[str]) -> int:
        """Let the delayed messages of these ids be due now; returns how many."""
        if not self._queues.tally(queue).delayed:
            return 0
        now = self._clock.time()
        return self._execute(statements.EXPEDITE, {"queue": queue, "now": now, "ids": names_text(ids)}).rowcount

    def _take_out(self, queue: int, rows: list[Any], shown: list[tuple[int, int, int]]) -> None:
        """Remove messages that are not held; ``shown``: the ranges of the table ``ready`` that are theirs."""
        delayed = [(queue, row[4], row[0]) for row in rows if row[4]]
        self._executemany("DELETE FROM delayed WHERE queue = ? AND ready_at = ? AND seq = ?", delayed)
        sql = "DELETE FROM ready WHERE queue = ? AND rank = ? AND seq BETWEEN ? AND ?"
        self._executemany(sql, [(queue, *part) for part in shown])
        gone = [row[0] for row in rows]
        self._execute("DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?))", (numbers_text(gone),))
        self._execute(statements.FORGET_ERRORS, (numbers_text(gone),))
        self._suspects.forget(gone)
        keyed = [row for row in rows if row[2] is not None]
        for seq, _, key, waiting, _ in keyed:
            self._lines.leave(queue, key, waiting, seq)
        for key in {row[2] for row in keyed}:
            self._lines.advance(queue, key)
        tally = self._queues.tally(queue)
        tally.total -= len(rows)
        tally.delayed -= len(delayed)

    def shrink(self, name: str) -> bool:
        """Remove a part of what a queue holds that is to be deleted; False: the rest can go with the queue."""
        queue = self._queues.stored(name)
        if queue is None:
            return False
        extent = self.begin(queue)
        _, is_empty = self._run(lambda size: self._remove(queue, extent, size) or self._ids.forget_some(queue, size))
        return not is_empty
