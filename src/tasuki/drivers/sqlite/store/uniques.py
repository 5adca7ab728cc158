"""Messages that are unique by a key; inside the transaction of a group.

A row of the table only points to a message. What counts is where that message is now, so nothing releases a key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tasuki.clock import Clock
from tasuki.contracts.driver import Merged, Unique
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.browsing import cause_of
from tasuki.drivers.sqlite.store.queues import Queues
from tasuki.drivers.sqlite.store.side_tables import DedupIds, KeyOrder, Suspects
from tasuki.drivers.sqlite.store.statements import Encoded, Place, Row

_CHECKED = 3
"""Rows that each publish of a unique message checks, to remove those that point to nothing."""


class _Found(NamedTuple):
    """The message of a key, as far as it is there."""

    seq: int
    id: str
    until: float
    due: float
    rank: int | None
    """None: it is gone."""
    key: str | None
    published_at: float
    is_ready: int


class _Store(Protocol):
    def publish(
        self, queue: int, rows: list[Row], delays: dict[int, float], always: set[int], lanes: dict[int, str]
    ) -> int: ...


class Uniques:
    """One connection's view of the table."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        queues: Queues,
        lines: KeyOrder,
        suspects: Suspects,
        ids: DedupIds,
        place: Callable[[Place], None],
    ) -> None:
        self._execute = connection.execute
        self._clock = clock
        self._queues = queues
        self._lines = lines
        self._suspects = suspects
        self._ids = ids
        self._place = place
        self._checked: dict[int, str] = {}
        """The key up to which rows were checked, by queue."""

    def publish(self, store: _Store, queue: int, work: Encoded) -> list[Merged | None]:
        """Store messages one by one; an answer each, from the start up to the first one without room."""
        answers: list[Merged | None] = []
        for index, row in enumerate(work.rows):
            unique, delay = work.uniques.get(index), work.delays.get(index, 0.0)
            is_forced = index in work.always
            merged = None if unique is None else self._merge(queue, unique, row, delay, is_forced=is_forced)
            if merged is None:
                tally = self._queues.tally(queue)
                newest, since = tally.newest, self._clock.time()
                lanes = {0: work.lanes[index]} if index in work.lanes else {}
                if not store.publish(queue, [row], {0: delay} if delay else {}, {0} if is_forced else set(), lanes):
                    break
                if unique is not None and tally.newest > newest:
                    self._point(queue, unique, tally.newest, row[0], since + delay if delay else 0.0)
            answers.append(merged)
        return answers

    def _merge(self, queue: int, unique: Unique, row: Row, delay: float, *, is_forced: bool) -> Merged | None:
        """The answer where another message has the key; None: store this one, unless its id is known."""
        found = self._find(queue, unique.key)
        if found is None:
            return None
        if unique.span == "pending":
            has_key = self._is_waiting(queue, found)
        else:
            has_key = found.rank is not None if unique.span == "running" else found.until > self._clock.time()
        if not has_key:
            return None
        if unique.act == "keep" or not self._is_waiting(queue, found):
            return Merged("kept", found.id)
        if not is_forced and self._is_known(queue, row[0]):
            return None
        self._replace(queue, unique, found, row, delay)
        return Merged("replaced" if unique.act == "replace" else "extended", found.id)

    def _find(self, queue: int, key: str) -> _Found | None:
        row = self._execute(statements.UNIQUE, (queue, key)).fetchone()
        return None if row is None else _Found(*row)

    def _is_waiting(self, queue: int, found: _Found) -> bool:
        """Whether it is there and not held. Its usual places are looked up; elsewhere, the held ones are searched."""
        if found.rank is None:
            return False
        if found.is_ready:
            return True
        sql = "SELECT 1 FROM delayed WHERE queue = ? AND ready_at = ? AND seq = ?"
        if found.due and self._execute(sql, (queue, found.due, found.seq)).fetchone():
            return True
        sql = "SELECT 1 FROM held WHERE queue = ? AND seq = ?"
        return self._execute(sql, (queue, found.seq)).fetchone() is None

    def _is_known(self, queue: int, id: str) -> bool:
        window = self._queues.tally(queue).dedup_window
        if window is None:
            return False
        since = self._clock.time() - window
        return not self._ids.choose(queue, [id], (), since, 1)[0]

    def _replace(self, queue: int, unique: Unique, found: _Found, row: Row, delay: float) -> None:
        """Put the new message at the place of the other one."""
        now, tally = self._clock.time(), self._queues.tally(queue)
        key = found.key if tally.by_key else None
        ready_at = self._take_out(queue, found, key)
        if unique.act == "extend":
            due = min(now + delay, found.published_at + unique.latest)
            ready_at = due if due > now else 0.0
        sql = "UPDATE messages SET id = ?, body = ?, headers = ?, cause = ? WHERE seq = ?"
        self._execute(sql, (*row[:3], cause_of(row), found.seq))
        self._execute("DELETE FROM errors WHERE seq = ?", (found.seq,))
        self._suspects.forget([found.seq])
        self._place(Place(found.seq, queue, found.rank or 0, 0, key, ready_at))
        sql = "UPDATE uniques SET id = ?, due = ? WHERE queue = ? AND key = ?"
        self._execute(sql, (row[0], ready_at, queue, unique.key))
        if tally.dedup_window is not None:
            self._ids.remember(queue, [row[0]], now, now - tally.dedup_window)

    def _take_out(self, queue: int, found: _Found, key: str | None) -> float:
        """Take a waiting message out of the tables of places; returns until when it was hidden."""
        sql = "DELETE FROM ready WHERE queue = ? AND rank = ? AND seq = ?"
        ready_at = 0.0
        if not self._execute(sql, (queue, found.rank, found.seq)).rowcount:
            sql = "DELETE FROM delayed WHERE queue = ? AND ready_at = ? AND seq = ? RETURNING ready_at"
            gone = self._execute(sql, (queue, found.due, found.seq)).fetchone()
            if gone is None:  # a nack has put it elsewhere
                sql = "DELETE FROM delayed WHERE queue = ? AND seq = ? RETURNING ready_at"
                gone = self._execute(sql, (queue, found.seq)).fetchone()
            if gone is not None:
                ready_at = gone[0]
                self._queues.tally(queue).delayed -= 1
        for waiting in (0, 1):
            self._lines.leave(queue, key, waiting, found.seq)
        return ready_at

    def _point(self, queue: int, unique: Unique, seq: int, id: str, due: float) -> None:
        """Note the message that was stored for the key, and remove some rows that mean nothing any more.

        ``due``: the earliest time until which it can be hidden; 0: it is not.
        """
        now = self._clock.time()
        until = 0.0 if isinstance(unique.span, str) else now + unique.span
        sql = "SELECT ready_at FROM delayed WHERE queue = ? AND ready_at >= ? AND seq = ? ORDER BY ready_at LIMIT 1"
        place = self._execute(sql, (queue, due, seq)).fetchone() if due else None
        sql = "INSERT OR REPLACE INTO uniques (queue, key, seq, id, until, due) VALUES (?, ?, ?, ?, ?, ?)"
        self._execute(sql, (queue, unique.key, seq, id, until, place[0] if place else 0.0))
        after = (queue, self._checked.get(queue, ""), _CHECKED)
        rows = self._execute(statements.UNIQUES_TO_CHECK, after).fetchall()
        self._checked[queue] = rows[-1][0] if len(rows) == _CHECKED else ""
        for key, is_there, end in rows:
            if not is_there and end <= now:
                self._execute("DELETE FROM uniques WHERE queue = ? AND key = ?", (queue, key))
