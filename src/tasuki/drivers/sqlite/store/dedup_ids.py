"""The ids that a queue remembers for its ``dedup_window``; inside the transaction of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from tasuki.drivers.sqlite.store.rows import names_text

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
