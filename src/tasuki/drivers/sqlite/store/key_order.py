"""Order per key: the lines of messages with the same key; inside the transaction of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from tasuki.drivers.sqlite.store import statements


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
