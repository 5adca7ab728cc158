"""The queues of the file: their numbers, options and counters; inside the transaction of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.lanes import Lanes, limited_by
from tasuki.drivers.sqlite.store.side_tables import DedupIds, KeyOrder
from tasuki.drivers.sqlite.store.statements import Tally, names_text
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.results import in_force
from tasuki.errors import QueueNotFoundError

_PLACES = ("ready", "delayed", "lines", "held")
"""Where the numbers of all messages of a queue are; the messages themselves have no index by queue."""
_TABLES = (*_PLACES, "consumers", "known", "suspects", "uniques", "limits", "lanes", "queues")


class Queues:
    """One connection's view of the table."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        driver: str,
        holder: int,
        known: KnownQueues[QueueSpec],
        ids: DedupIds,
        lines: KeyOrder,
        lanes: Lanes,
    ) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._driver = driver
        self._holder = holder
        self._known = known
        self._ids = ids
        self._lines = lines
        self._lanes = lanes
        self._numbers: dict[str, int] = {}
        self._tallies: dict[int, Tally] = {}
        self.touched: set[str] = set()
        """The queues that this transaction read, changed or deleted."""
        self.limited: set[int] = set()
        """The queues with limits or lanes, as far as an earlier transaction has read them."""

    def find(self, name: str) -> int:
        """The queue's number in this file, which every transaction looks up first.

        A declared queue that is missing is made, as after a restart with an empty file; one that was only inspected
        is not, and neither is a temporary one: its process may be gone.

        Raises:
            QueueNotFoundError: it is missing, and not made.
        """
        number = self._numbers.get(name)
        if number is None or not (number in self._tallies or self._exists(number)):
            number = self._numbers[name] = self._find_again(name)
        return number

    def find_held(self, name: str) -> int:
        """The same for what ends or keeps deliveries, which works on an undeclared queue too; makes nothing then."""
        if name in self._known:
            return self.find(name)
        return self._existing(name)

    def seen(self, name: str) -> int | None:
        """The number that an earlier transaction found; also outside of one."""
        return self._numbers.get(name)

    def moved(self, names: Collection[str]) -> set[str]:
        """Which of the queues are gone, or were deleted and made again by another process."""
        sql = "SELECT name, queue FROM queues WHERE name IN (SELECT value FROM json_each(?))"
        now = dict(self._execute(sql, (names_text(names),)).fetchall())
        return {name for name in names if name not in now or now[name] != self._numbers.get(name)}

    def _find_again(self, name: str) -> int:
        self._numbers.pop(name, None)
        self.touched.add(name)
        spec = self._known.find(name)
        try:
            number = self._existing(name)
        except QueueNotFoundError:
            if spec is None or spec.temporary or not self._known.is_declared(name):
                raise
            return self.declare(spec)
        if spec is not None:
            self._keep(number, spec)
        return number

    def _existing(self, name: str) -> int:
        queue = self.stored(name)
        if queue is None:
            problem = f"driver {self._driver!r}: queue {name!r} is not in the database file; declare it first"
            raise QueueNotFoundError(problem, driver=self._driver, queue=name)
        return queue

    def stored(self, name: str) -> int | None:
        """The queue's number in this file; None: it is not there."""
        found = self._execute("SELECT queue FROM queues WHERE name = ?", (name,)).fetchone()
        return None if found is None else int(found[0])

    def declare(self, spec: QueueSpec) -> int:
        """Create or update the queue; returns its number."""
        number = self._numbers[spec.name] = self._declare(spec)
        self.touched.add(spec.name)
        self._keep(number, spec)
        return number

    def declare_all(self) -> None:
        """Declare what this process has declared, as an opening driver does."""
        for spec in self._known.declared():
            self.declare(spec)

    def inspect(self, spec: QueueSpec) -> QueueSpec:
        """The queue with the options in force. Raises QueueNotFoundError."""
        queue = self._numbers[spec.name] = self._existing(spec.name)
        found = in_force(spec, *self._execute(statements.OPTIONS, (spec.name,)).fetchone())
        return replace(found, **self._lanes.limits.in_force(self.tally(queue)))

    def _keep(self, queue: int, spec: QueueSpec) -> None:
        """Note that a temporary queue lives while this driver does."""
        if spec.temporary and self._known.is_kept(spec.name):
            sql = "INSERT OR REPLACE INTO consumers (queue, holder, count) VALUES (?, ?, 1)"
            self._execute(sql, (queue, self._holder))

    def leave(self, name: str) -> None:
        """This driver does not know the queue any more; a temporary one still goes with it."""
        self._numbers.pop(name, None)
        self.touched.add(name)
        sql = "UPDATE consumers SET count = 0 WHERE holder = ? AND queue = (SELECT queue FROM queues WHERE name = ?)"
        self._execute(sql, (self._holder, name))

    def _declare(self, spec: QueueSpec) -> int:
        by_key = int(spec.ordering == "key")
        found = self._execute("SELECT queue, by_key, limited FROM queues WHERE name = ?", (spec.name,)).fetchone()
        if found is None:
            return self._create(spec)
        queue = int(found[0])
        sql = "UPDATE queues SET lease = ?, max_length = ?, by_key = ?, dedup_window = ? WHERE queue = ?"
        self._execute(sql, (spec.lease, spec.max_length, by_key, spec.dedup_window, queue))
        if (tally := self._tallies.get(queue)) is not None:
            # Not read again: its counters may already hold what this transaction has put back.
            tally.lease, tally.max_length, tally.by_key = spec.lease, spec.max_length, bool(by_key)
            tally.dedup_window = spec.dedup_window
        if spec.dedup_window is None:
            self._ids.forget(queue)
        if by_key > found[1]:
            self._lines.form(queue)
        elif by_key < found[1]:
            self._lines.dissolve(queue)
        self._limit(queue, spec, was_limited=bool(found[2]), was_by_key=bool(found[1]))
        return queue

    def _create(self, spec: QueueSpec) -> int:
        queue = int(self._execute("INSERT INTO numbers DEFAULT VALUES RETURNING queue").fetchone()[0])
        self._execute("DELETE FROM numbers")
        by_key, temporary = int(spec.ordering == "key"), int(spec.temporary)
        values = (queue, spec.name, spec.lease, spec.max_length, by_key, spec.dedup_window, temporary)
        self._execute(statements.CREATE, values)
        self._limit(queue, spec, was_limited=False, was_by_key=bool(by_key))
        return queue

    def _limit(self, queue: int, spec: QueueSpec, *, was_limited: bool, was_by_key: bool) -> None:
        self._lanes.declare(queue, spec, was_limited=was_limited, was_by_key=was_by_key)
        if (tally := self._tallies.get(queue)) is not None:
            tally.is_limited = limited_by(spec) is not None

    def delete(self, name: str) -> None:
        """Remove the queue and all that it holds."""
        queue = self.stored(name)
        if queue is None:
            return
        for table, rows in product(_PLACES, ("messages", "errors")):
            self._execute(f"DELETE FROM {rows} WHERE seq IN (SELECT seq FROM {table} WHERE queue = ?)", (queue,))  # noqa: S608
        for table in _TABLES:
            self._execute(f"DELETE FROM {table} WHERE queue = ?", (queue,))  # noqa: S608
        self._tallies.pop(queue, None)
        self._numbers.pop(name, None)
        self.touched.add(name)
        if queue in self.limited:
            self.limited.discard(queue)
            self._lanes.limits.forget(queue)

    def bury(self, holder: int) -> None:
        """Forget a driver, and delete the temporary queues that no other one keeps."""
        self._delete_all(self._execute(statements.TEMPORARY, {"holder": holder}).fetchall())
        self._execute("DELETE FROM consumers WHERE holder = ?", (holder,))
        self._execute("DELETE FROM holders WHERE holder = ?", (holder,))

    def delete_orphans(self) -> None:
        """Delete the temporary queues that no driver has declared."""
        self._delete_all(self._execute(statements.ORPHANS).fetchall())

    def _delete_all(self, rows: Sequence[tuple[str]]) -> None:
        for (name,) in rows:
            self.delete(name)

    def tally(self, queue: int) -> Tally:
        """The options and counters of a queue that exists, read once a transaction."""
        if queue not in self._tallies:
            self._exists(queue)
        return self._tallies[queue]

    def with_limits(self) -> list[Tally]:
        """The queues with limits or lanes, as far as they are known here and exist."""
        return [self._tallies[queue] for queue in [*self.limited] if self._exists(queue)]

    def _exists(self, queue: int) -> bool:
        if queue not in self._tallies:
            row = self._execute(statements.TALLY, (queue,)).fetchone()
            if row is None:
                self.limited.discard(queue)
                return False
            tally = self._tallies[queue] = Tally(*row[1:])
            self.touched.add(row[0])
            (self.limited.add if tally.is_limited else self.limited.discard)(queue)
        return True

    def save(self) -> None:
        """Write the counters; the last act before the commit."""
        tallies = self._tallies.values()
        self._executemany(statements.SAVE, [(*tally.counts, tally.queue, *tally.counts) for tally in tallies])
        self._tallies.clear()
        self.touched.clear()

    def undo(self) -> None:
        """After a rollback: drop what this transaction read and made."""
        self._tallies.clear()
        self.touched.clear()
        self._numbers.clear()
