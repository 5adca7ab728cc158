"""Tables beside the messages: known ids, lines of keys, suspects; inside the transaction of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.statements import names_text, numbers_text

_FORGOTTEN = 100
"""At least so many outdated ids are forgotten with each publish, and at least two for each new one."""


class DedupIds:
    """One connection's view of the table."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany

    def choose(
        self, queue: int, ids: Sequence[str], always: Collection[int], since: float, room: int
    ) -> tuple[list[int], int]:
        """Which messages of a batch are to be stored, by index, and how many are taken care of from its start on.

        Those are the stored messages and the duplicates in between; later ones found no room. ``always``: indices that
        are stored whatever their id; ``since``: earlier ids are outdated.
        """
        sql = """
            SELECT id FROM known WHERE queue = ? AND id IN (SELECT value FROM json_each(?)) AND published_at > ?
        """
        known = {row[0] for row in self._execute(sql, (queue, names_text(ids), since))}
        chosen: list[int] = []
        for index, id in enumerate(ids):
            if index not in always and id in known:
                continue
            if len(chosen) == room:
                return chosen, index
            chosen.append(index)
            if index not in always:
                known.add(id)
        return chosen, len(ids)

    def remember(self, queue: int, ids: Collection[str], now: float, since: float) -> None:
        """Note the stored ids, and forget some outdated ones."""
        sql = "INSERT OR REPLACE INTO known (queue, id, published_at) VALUES (?, ?, ?)"
        self._executemany(sql, [(queue, id, now) for id in ids])
        sql = """
            DELETE FROM known WHERE queue = :queue AND id IN
                (SELECT id FROM known WHERE queue = :queue AND published_at <= :since ORDER BY published_at LIMIT :most)
        """
        self._execute(sql, {"queue": queue, "since": since, "most": max(2 * len(ids), _FORGOTTEN)})

    def forget_some(self, queue: int, most: int) -> int:
        """Forget ids of a queue; returns how many."""
        sql = "DELETE FROM known WHERE queue = :queue AND id IN (SELECT id FROM known WHERE queue = :queue LIMIT :most)"
        return self._execute(sql, {"queue": queue, "most": most}).rowcount

    def forget(self, queue: int) -> None:
        """Forget all of a queue."""
        self._execute("DELETE FROM known WHERE queue = ?", (queue,))


class KeyOrder:
    """One connection's view of the table; ``show`` makes a message receivable: queue, rank, number, attempts, key."""

    def __init__(self, connection: sqlite3.Connection, show: Callable[[int, int, int, int, str], None]) -> None:
        self._execute = connection.execute
        self._show = show

    def advance(self, queue: int, key: str) -> None:
        """If the line has no front, bring the first message there, and show it unless it is delayed."""
        sql = """
            SELECT waiting, seq, rank, attempts, ready_at FROM lines
            WHERE queue = ? AND key = ? ORDER BY waiting, seq LIMIT 1
        """
        first = self._execute(sql, (queue, key)).fetchone()
        if first is None or not first[0]:
            return
        _, seq, rank, attempts, ready_at = first
        sql = "UPDATE lines SET waiting = 0 WHERE queue = ? AND key = ? AND waiting = 1 AND seq = ?"
        self._execute(sql, (queue, key, seq))
        if not ready_at:
            self._show(queue, rank, seq, attempts, key)

    def leave(self, queue: int, key: str | None, waiting: int, seq: int) -> None:
        """Take a message out of its line, if it is in one."""
        if key is not None:
            sql = "DELETE FROM lines WHERE queue = ? AND key = ? AND waiting = ? AND seq = ?"
            self._execute(sql, (queue, key, waiting, seq))

    def form(self, queue: int) -> None:
        """Switch order per key on: held messages stay in front, the rest queues up behind."""
        for sql in statements.FORM_LINES:
            self._execute(sql, (queue,))
        for (key,) in self._execute("SELECT DISTINCT key FROM lines WHERE queue = ?", (queue,)).fetchall():
            self.advance(queue, key)

    def dissolve(self, queue: int) -> None:
        """Order per key is switched off: all that waits behind its key is receivable."""
        for sql in statements.DISSOLVE_LINES:
            self._execute(sql, (queue,))


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
