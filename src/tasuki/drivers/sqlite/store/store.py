"""What the verbs do to the tables, inside the transaction of a group: no threads, no waiting, no answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Depth, Nack, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.browsing import Purge, mark
from tasuki.drivers.sqlite.store.lanes import Claimed, Lanes, Limits
from tasuki.drivers.sqlite.store.queues import Queues
from tasuki.drivers.sqlite.store.side_tables import DedupIds, KeyOrder, Suspects
from tasuki.drivers.sqlite.store.statements import NO_LANES, Place, Row, Tally, first_delivery, numbers_text
from tasuki.drivers.sqlite.store.uniques import Uniques
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.message import HeaderValue

SURFACED = 300
"""Most delayed messages made receivable in one transaction, so that a due crowd does not stop the others."""
COUNTED = 50_000
"""Most due messages counted in one transaction."""
DuePlace = tuple[float, int]
NOTHING_DUE: DuePlace = (-1.0, -1)
MAX_CLAIM_BYTES = 64 * 2**20
"""A receive stops after this many bytes of bodies, so that memory stays bounded."""

_decode_headers = msgspec.msgpack.Decoder(dict[str, HeaderValue]).decode


class Store:
    """One connection's view of the file; every method runs inside a transaction that the writer opens and commits."""

    def __init__(
        self, connection: sqlite3.Connection, driver: str, clock: Clock, holder: int, known: KnownQueues[QueueSpec]
    ) -> None:
        self.connection = connection
        self._execute = connection.execute
        self._executemany: Callable[[str, Iterable[Sequence[object] | Mapping[str, object]]], object] = (
            connection.executemany
        )
        self._clock = clock
        self._holder = holder
        # Rising, so that rows are appended: at random places each claim would write many pages.
        self._delivery = first_delivery()
        self._ids = DedupIds(connection)
        self._lines = KeyOrder(connection, self._show)
        self._suspects = Suspects(connection)
        self._limits = Limits(connection, clock)
        self.lanes = Lanes(connection, clock, self._limits, holder)
        self.queues = Queues(connection, driver, holder, known, self._ids, self._lines, self.lanes)
        self.purging = Purge(connection, clock, self.queues, self._lines, self._suspects, self._ids)
        self.uniques = Uniques(connection, clock, self.queues, self._lines, self._suspects, self._ids, self._place)

    def publish(
        self,
        queue: int,
        rows: list[Row],
        delays: dict[int, float],
        always: Collection[int] = (),
        lanes: Mapping[int, str] = NO_LANES,
        *,
        is_whole: bool = False,
    ) -> int:
        """Store the messages for which there is room; says how many from the start are taken care of.

        Returns the stored messages, and the duplicates among them. By index: ``delays`` in seconds; ``always``: store
        it even if its id is known; ``lanes``: its lane, if that is not ''. ``is_whole``: store none unless there is
        room for all.
        """
        tally = self.queues.tally(queue)
        room = len(rows) if tally.max_length is None else max(tally.max_length - tally.total, 0)
        if tally.dedup_window is None:
            if is_whole and room < len(rows):
                return 0
            self._insert(tally, rows[:room], delays, lanes)
            return min(room, len(rows))
        now = self._clock.time()
        since = now - tally.dedup_window
        chosen, taken = self._ids.choose(queue, [row[0] for row in rows], always, since, room)
        if is_whole and taken < len(rows):
            return 0
        later = {place: delays[index] for place, index in enumerate(chosen) if index in delays}
        lanes = {place: lanes[index] for place, index in enumerate(chosen) if index in lanes}
        self._insert(tally, [rows[index] for index in chosen], later, lanes)
        self._ids.remember(queue, [rows[index][0] for index in chosen if index not in always], now, since)
        return taken

    def _insert(self, tally: Tally, rows: list[Row], delays: dict[int, float], lanes: Mapping[int, str]) -> None:
        if not rows:
            return
        if has_lanes := tally.is_limited and self._limits.fair(tally) > 0:
            in_lanes = [(*row, lanes.get(index, "")) for index, row in enumerate(rows)]
            first = self._write(tally, in_lanes, statements.INSERT_FIRST_IN_LANE, statements.INSERT_IN_LANE)
        else:
            first = self._write(tally, rows, statements.INSERT_FIRST, statements.INSERT)
        tally.newest = last = first + len(rows) - 1
        if delays or tally.by_key:
            now = self._clock.time()
            for index, row in enumerate(rows):
                ready_at = now + delays[index] if index in delays else 0.0
                self._place(Place(first + index, tally.queue, row[3], 0, row[4] if tally.by_key else None, ready_at))
        elif has_lanes:
            self._execute(statements.SHOW_IN_LANES, (first, last))
            self.lanes.arrive(tally.queue, dict.fromkeys(lanes.get(index, "") for index in range(len(rows))))
        else:
            sql = (
                "INSERT INTO ready (queue, rank, seq, attempts) "
                "SELECT queue, rank, seq, 0 FROM messages WHERE seq BETWEEN ? AND ?"
            )
            self._execute(sql, (first, last))
        tally.total += len(rows)

    def _write(self, tally: Tally, rows: Sequence[tuple[Any, ...]], first: str, others: str) -> int:
        """Insert messages; returns the number of the first one."""
        self._execute(first, (tally.newest, *rows[0], tally.queue))
        number = int(self._execute("SELECT last_insert_rowid()").fetchone()[0])
        if len(rows) > 1:
            self._executemany(others.format(tally.queue), rows[1:])
        mark(self.connection, number, rows)
        return number

    def claim(self, queue: int, limit: int) -> list[Received]:
        """Hand out up to ``limit`` receivable messages under the queue's lease, as the queue's limits allow."""
        tally = self.queues.tally(queue)
        if tally.is_limited:
            limit = self._limits.room(tally, limit)
        if tally.ready <= 0 or limit <= 0:
            return []
        until, suspects = self._clock.boottime() + tally.lease, self._suspects.of(queue)
        base, self._delivery = self._delivery, self._delivery + tally.newest + 1
        if tally.is_limited and self._limits.fair(tally):
            rows = self.lanes.take(tally, limit, until, MAX_CLAIM_BYTES, base)
        else:
            rows = self._take(queue, limit, until, base)
        if not rows:
            return []
        if tally.is_limited:
            self._limits.hand_out(tally, len(rows))
        if suspects:
            self._suspects.hand_out(suspects.intersection(row[1] for row in rows))
        tally.held += len(rows)
        return [
            Received(id_, body, _decode_headers(headers), base + seq, attempts + 1, seq in suspects)
            for _, seq, attempts, id_, body, headers in rows
        ]

    def _take(self, queue: int, limit: int, until: float, base: int) -> list[Claimed]:
        """Hold the first receivable messages."""
        rows: list[Claimed] = []
        size = 0
        for row in self._execute(statements.CLAIM, (queue, limit)):
            rows.append(row)
            size += len(row[4])
            if size > MAX_CLAIM_BYTES:
                break
        if rows:
            self._execute(statements.HOLD, (base, self._holder, until, queue, len(rows)))
            sql = "DELETE FROM ready WHERE queue = ? AND (rank, seq) <= (?, ?)"
            self._execute(sql, (queue, *rows[-1][:2]))
        return rows

    def settle(self, queue: int, batch: Sequence[Settlement]) -> list[Receipt]:
        """End deliveries; returns the stale receipts."""
        # Of two settlements of one delivery the first counts.
        wanted = {item.receipt: item for item in reversed(batch) if type(item.receipt) is int}
        self._resume(queue, wanted)
        tally = self.queues.tally(queue)
        self.lanes.settle(tally, wanted)
        rows = self._execute(statements.UNHOLD, (numbers_text(wanted), queue)).fetchall()
        tally.held -= len(rows)
        done, keys, released, failed = [], [], set(), []
        for delivery, seq, _, rank, attempts, key in rows:
            settlement = wanted[delivery]
            if isinstance(settlement, Ack):
                done.append(seq)
                if attempts:
                    failed.append(seq)
                if key is not None:
                    keys.append((queue, key, seq))
            else:
                if isinstance(settlement, Release):
                    released.add(seq)
                elif settlement.error:
                    self._execute(statements.FAILED, (seq, settlement.error, self._clock.time()))
                self._return(Place(seq, queue, rank, attempts, key), settlement)
        self._suspects.settle(released, [row[1] for row in rows if row[1] not in released])
        if done:
            self._forget(done, keys)
            if failed:
                self._execute(statements.FORGET_ERRORS, (numbers_text(failed),))
            tally.total -= len(done)
        if len(rows) == len(batch):
            return []
        found = {row[0] for row in rows}
        return [item.receipt for item in batch if item.receipt not in found or item is not wanted[item.receipt]]

    def _resume(self, queue: int, deliveries: Collection[int]) -> None:
        """Hold messages again whose lease ended, for a late settlement."""
        for delivery, seq, counted in self._suspects.resume(queue, deliveries):
            back = (delivery, counted, self._holder, queue, seq)
            if self._execute(statements.RESUME, back).rowcount:
                self._execute("DELETE FROM ready WHERE queue = ? AND seq = ?", (queue, seq))
                self.queues.tally(queue).held += 1
            elif behind := self._execute(statements.RESUME_BEHIND, back).fetchone():  # the ordering has changed
                self._lines.leave(queue, behind[0], 1, seq)
                self.queues.tally(queue).held += 1

    def is_held(self, queue: int, receipt: Receipt) -> bool:
        """Whether a settlement with this receipt would count, late or not."""
        if type(receipt) is not int:
            return False
        self._resume(queue, (receipt,))
        sql = "SELECT 1 FROM held WHERE delivery = ? AND queue = ?"
        return self._execute(sql, (receipt, queue)).fetchone() is not None

    def start(self, queue: int, batch: Sequence[Receipt]) -> list[Receipt]:
        """Record that the handlers of deliveries begin; returns the stale receipts."""
        found = self._suspects.start(queue, [receipt for receipt in batch if type(receipt) is int])
        return [receipt for receipt in batch if receipt not in found]

    def extend(self, queue: int, batch: Sequence[Receipt], lease: float) -> list[Receipt]:
        """Set the leases; returns the stale receipts."""
        numbers = numbers_text([receipt for receipt in batch if type(receipt) is int])
        sql = """
            UPDATE held SET lease_until = ? WHERE delivery IN (SELECT value FROM json_each(?)) AND queue = ?
            RETURNING delivery
        """
        found = {row[0] for row in self._execute(sql, (self._clock.boottime() + lease, numbers, queue))}
        return [receipt for receipt in batch if receipt not in found]

    def depth(self, queue: int, since: DuePlace = NOTHING_DUE) -> tuple[Depth, DuePlace | None]:
        """The counters, and the age of the oldest receivable message.

        Delayed messages that are due count as ready: at most ``COUNTED`` of them, from a place in their order on.
        Returns the place of the last one too; None: all were counted.
        """
        if since == NOTHING_DUE:
            self.surface(queue)
        tally = self.queues.tally(queue)
        due, place = self._count_due(queue, since)
        oldest = self._execute(statements.OLDEST, (queue,)).fetchone()[0]
        age = None if oldest is None else max(self._clock.time() - oldest, 0.0)
        return Depth(tally.ready + due, tally.held, tally.delayed - due, age), place

    def _count_due(self, queue: int, since: DuePlace) -> tuple[int, DuePlace | None]:
        if not self.queues.tally(queue).delayed:
            return 0, None
        wanted = (queue, *since, self._clock.time())
        last = self._execute(f"{statements.DUE} LIMIT 1 OFFSET ?", (*wanted, COUNTED - 1)).fetchone()
        if last is not None:
            return COUNTED, last
        return self._execute(f"SELECT count(*) FROM ({statements.DUE})", wanted).fetchone()[0], None  # noqa: S608

    def surface(self, queue: int) -> int:
        """Make delayed messages whose time has come receivable; returns how many, at most ``SURFACED``."""
        if not self.queues.tally(queue).delayed:
            return 0
        rows = self._execute(
            statements.SURFACE, {"queue": queue, "now": self._clock.time(), "limit": SURFACED}
        ).fetchall()
        for _, _, seq, _, key in rows:
            if key is not None:
                sql = "UPDATE lines SET ready_at = 0 WHERE queue = ? AND key = ? AND seq = ? AND waiting = ?"
                for waiting in (0, 1):
                    self._execute(sql, (queue, key, seq, waiting))
        front = "SELECT 1 FROM lines WHERE queue = ? AND key = ? AND waiting = 0 AND seq = ?"
        shown = [row for row in rows if row[4] is None or self._execute(front, (queue, row[4], row[2])).fetchone()]
        self._executemany(statements.SHOW, shown)
        tally = self.queues.tally(queue)
        tally.delayed -= len(rows)
        if shown and tally.is_limited and self._limits.fair(tally):
            self.lanes.enter(tally, [row[1:3] for row in shown])
        return len(rows)

    def expire(self) -> None:
        """Return messages that were held longer than their lease."""
        rows = self._execute(
            "DELETE FROM held WHERE lease_until <= ? RETURNING delivery, seq, queue, rank, attempts, key",
            (self._clock.boottime(),),
        ).fetchall()
        if rows:
            self._put_back(rows)

    def bury(self, holder: int) -> None:
        """Put back what a driver held that is gone, and forget the driver."""
        sql = "DELETE FROM held WHERE holder = ? RETURNING NULL, seq, queue, rank, attempts, key"
        self._put_back(self._execute(sql, (holder,)).fetchall())
        self.queues.bury(holder)

    def save(self) -> None:
        """Write the counters; the last act before the commit."""
        self.queues.save()
        self._limits.save()
        self._suspects.end()

    def undo(self) -> None:
        """After a rollback: drop what this transaction read and made."""
        self.queues.undo()
        self._limits.undo()
        self._suspects.end()

    def _return(self, place: Place, settlement: Nack | Release) -> None:
        place.attempts += type(settlement) is Nack
        place.ready_at = self._clock.time() + settlement.delay if settlement.delay > 0 else 0.0
        self._lines.leave(place.queue, place.key, 0, place.seq)
        self._place(place)

    def _put_back(self, rows: list[tuple[int | None, int, int, int, int, str | None]]) -> None:
        for delivery, seq, queue, rank, attempts, key in rows:
            place = Place(seq, queue, rank, attempts, key)
            place.attempts += self._suspects.lose(place.queue, place.seq, delivery)
            self.queues.tally(place.queue).held -= 1
            self._lines.leave(place.queue, place.key, 0, place.seq)
            self._place(place)

    def _place(self, place: Place) -> None:
        """Put a message where it belongs; one with a key joins its line."""
        queue, seq, rank, attempts, key, ready_at = (
            place.queue, place.seq, place.rank, place.attempts, place.key, place.ready_at,
        )  # fmt: skip
        if ready_at:
            self._execute(statements.DELAY, (queue, ready_at, seq, rank, attempts, key))
            self.queues.tally(queue).delayed += 1
        if key is not None:
            self._execute(statements.JOIN, (queue, key, seq, rank, attempts, ready_at))
            self._lines.advance(queue, key)
        elif not ready_at:
            self._show(queue, rank, seq, attempts, None)

    def _show(self, queue: int, rank: int, seq: int, attempts: int, key: str | None) -> None:
        self._execute(statements.SHOW, (queue, rank, seq, attempts, key))
        tally = self.queues.tally(queue)
        if tally.is_limited and self._limits.fair(tally):
            self.lanes.enter(tally, [(rank, seq)])

    def _forget(self, done: list[int], keys: list[tuple[int, str, int]]) -> None:
        sql = "DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?))"
        self._execute(sql, (numbers_text(done),))
        for queue, key, seq in keys:
            self._lines.leave(queue, key, 0, seq)
            self._lines.advance(queue, key)
