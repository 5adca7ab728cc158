"""The messages whose delivery ended without a settlement, and the recorded starts; inside a group's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from tasuki.drivers.sqlite.store.rows import numbers_text

_IN = "seq IN (SELECT value FROM json_each(?))"


class Suspects:
    """One connection's view of the table. It is empty unless a worker died, and then costs one read a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._is_empty: bool | None = None

    def of(self, queue: int) -> set[int]:
        """The suspects of a queue."""
        sql = "SELECT seq FROM suspects WHERE queue = ? AND is_lost"
        return set() if self._has_none() else {row[0] for row in self._execute(sql, (queue,))}

    def start(self, queue: int, deliveries: Collection[int]) -> set[int]:
        """Record the starts of deliveries; returns the deliveries that are held."""
        sql = "SELECT delivery, seq FROM held WHERE queue = ? AND delivery IN (SELECT value FROM json_each(?))"
        found = self._execute(sql, (queue, numbers_text(deliveries))).fetchall()
        sql = """
            INSERT INTO suspects (seq, queue, is_lost, is_started) VALUES (?, ?, 0, 1)
            ON CONFLICT (seq) DO UPDATE SET is_started = 1
        """
        for _, seq in found:
            self._execute(sql, (seq, queue))
        self._is_empty = None
        return {delivery for delivery, _ in found}

    def lose(self, queue: int, seq: int, delivery: int | None) -> bool:
        """A delivery has ended without a settlement, None: with its holder; returns whether its start was recorded."""
        found = self._execute("SELECT is_started FROM suspects WHERE seq = ?", (seq,)).fetchone()
        is_counted = found is not None and bool(found[0])
        sql = """
            INSERT OR REPLACE INTO suspects (seq, queue, is_lost, is_started, delivery, is_counted)
            VALUES (?, ?, 1, 0, ?, ?)
        """
        self._execute(sql, (seq, queue, delivery, is_counted))
        self._is_empty = False
        return is_counted

    def hand_out(self, seqs: Collection[int]) -> None:
        """The receipts of the deliveries before are stale from now on."""
        if not self._has_none():
            self._execute(f"UPDATE suspects SET delivery = NULL WHERE {_IN}", (numbers_text(seqs),))  # noqa: S608

    def resume(self, queue: int, deliveries: Collection[int]) -> list[tuple[int, int, int]]:
        """The deliveries among these whose lease has ended and whose message was not delivered since.

        Returns delivery, message and the attempts counted for it; their starts are recorded as before.
        """
        if self._has_none():
            return []
        sql = """
            UPDATE suspects SET is_started = is_counted
            WHERE queue = ? AND delivery IN (SELECT value FROM json_each(?)) RETURNING delivery, seq, is_counted
        """
        return self._execute(sql, (queue, numbers_text(deliveries))).fetchall()

    def settle(self, released: Collection[int], ended: Collection[int]) -> None:
        """Take back the starts of the released messages, which stay suspects; forget those that are acked or nacked."""
        if self._has_none():
            return
        these = numbers_text(released)
        self._execute(f"DELETE FROM suspects WHERE NOT is_lost AND {_IN}", (these,))  # noqa: S608
        self._execute(f"UPDATE suspects SET is_started = 0, delivery = NULL WHERE {_IN}", (these,))  # noqa: S608
        self.forget(ended)

    def forget(self, seqs: Collection[int]) -> None:
        """Forget messages that are no suspects any more, or gone."""
        if not self._has_none():
            self._execute(f"DELETE FROM suspects WHERE {_IN}", (numbers_text(seqs),))  # noqa: S608

    def end(self) -> None:
        """The transaction is over: others may change the table now."""
        self._is_empty = None

    def _has_none(self) -> bool:
        if self._is_empty is None:
            self._is_empty = self._execute("SELECT 1 FROM suspects LIMIT 1").fetchone() is None
        return self._is_empty
