"""Causes: dead letters are marked with why they died, and counted and shown by that, through an index of them alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from itertools import pairwise
from math import inf
from operator import attrgetter

import msgspec

from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount, Causes
from tasuki.drivers.sqlite.looking.peeking import moment, show, shown_head
from tasuki.drivers.sqlite.store.rows import Row, numbers_text
from tasuki.message import CAUSE, HeaderValue, Message, cause_in, is_cause

_MARK = "UPDATE messages SET cause = ? WHERE seq = ?"
_FROM = "FROM messages INDEXED BY messages_by_cause WHERE queue = :queue AND cause IS NOT NULL"
_COUNT = f"SELECT cause, count(*), min(published_at), max(published_at) {_FROM} GROUP BY cause"
_HELD = "SELECT h.seq, m.cause FROM held h JOIN messages m ON m.seq = h.seq WHERE h.queue = ?"
_WAITING = "SELECT total - held FROM queues WHERE queue = ?"
_PLACES = (
    f"SELECT seq, published_at {_FROM} AND cause = :cause {{}} "
    "ORDER BY published_at {}, seq {} LIMIT :limit OFFSET :after"
)
_BETWEEN = f"SELECT count(*) {_FROM} AND cause = :cause {{}} AND published_at > :low AND published_at <= :high"
_BUT = ("", "AND seq NOT IN (SELECT value FROM json_each(:held))")
"""Without held messages there is nothing to leave out, which costs as much as the rest."""
_NAME = b"\xa7" + CAUSE.encode()
"""The header's name in MessagePack."""
_MOST = 2**31

_decode_headers = msgspec.msgpack.Decoder(dict[str, HeaderValue]).decode


def cause_of(row: Row) -> str | None:
    """Why a message to insert died; None: it does not say."""
    encoded = row[2]
    return (cause_in(_decode_headers(encoded)) or None) if _NAME in encoded else None


def mark(connection: sqlite3.Connection, first: int, rows: Sequence[Row]) -> None:
    """Note why messages died; of messages in a row, from number ``first`` on, those that say it."""
    # One search a message, without a call: almost all messages have no such header.
    if found := [(cause_of(row), seq) for seq, row in enumerate(rows, first) if _NAME in row[2]]:
        connection.executemany(_MARK, [(cause, seq) for cause, seq in found if cause is not None])


def count(connection: sqlite3.Connection, queue: int, most: int, also: Collection[str], now: float) -> Causes:
    """The waiting messages of a queue by their causes, all as of one moment."""
    with moment(connection):
        held = connection.execute(_HELD, (queue,)).fetchall()
        away: dict[str | None, int] = {}
        for _, cause in held:
            away[cause] = away.get(cause, 0) + 1
        groups = [
            CauseCount(cause, number - away.get(cause, 0), first, last)
            for cause, number, first, last in connection.execute(_COUNT, {"queue": queue})
        ]
        groups = sorted((group for group in groups if group.count), key=attrgetter("rank"))
        waiting = connection.execute(_WAITING, (queue,)).fetchone()
        unmarked = max((waiting[0] if waiting else 0) - sum(group.count for group in groups), 0)
        looking = _Looking(connection, queue, [seq for seq, _ in held])
        wanted = [group for group in groups[most:] if group.cause in also]
        rest = [group for group in groups[most:] if group.cause not in also]
        seen = (looking.seen(group, now) for group in (*groups[:most], *wanted))
        counts = sorted((group for group in seen if group is not None), key=attrgetter("rank"))
        return Causes(tuple(counts), CauseCount.together(rest), unmarked)


def peek(
    connection: sqlite3.Connection, queue: int, cause: str, limit: int, after: int, *, newest_first: bool, now: float
) -> list[Message]:
    """Waiting messages of one cause, at a wall-clock time."""
    if not is_cause(cause):
        return []
    with moment(connection):
        held = [seq for seq, _ in connection.execute(_HELD, (queue,))]
        looking = _Looking(connection, queue, held)
        seqs = [seq for seq, _ in looking.places(cause, min(limit, _MOST), after, newest_first=newest_first)]
        return show(connection, queue, seqs, now)


class _Looking:
    """Looks at the messages of one queue, but for the ``held`` ones."""

    def __init__(self, connection: sqlite3.Connection, queue: int, held: Sequence[int]) -> None:
        self._connection = connection
        self._but = _BUT[bool(held)]
        self._wanted: dict[str, object] = {"queue": queue, "held": numbers_text(held)}

    def places(self, cause: str, limit: int, after: int = 0, *, newest_first: bool) -> list[tuple[int, float]]:
        """Numbers and times of messages of a cause, in order."""
        way = "DESC" if newest_first else "ASC"
        wanted = self._wanted | {"cause": cause, "limit": limit, "after": after}
        return self._connection.execute(_PLACES.format(self._but, way, way), wanted).fetchall()

    def seen(self, group: CauseCount, now: float) -> CauseCount | None:
        """A group with its newest message, and how many came recently; None: others have it."""
        newest = self.places(group.cause, NEWEST_IDS, newest_first=True)
        if not newest:
            return None
        [(_, first)] = self.places(group.cause, 1, newest_first=False)
        shown = [each for seq, _ in newest if (each := shown_head(self._connection, seq)) is not None]
        last = newest[0][1]
        recent = self._recent(group.cause, now) if last > now - RECENT else (0,) * RECENT_PARTS
        ids = tuple(each.id for each in shown)
        return CauseCount(group.cause, group.count, first, last, recent, shown[0], ids)

    def _recent(self, cause: str, now: float) -> tuple[int, ...]:
        edges = [now - RECENT + part * RECENT / RECENT_PARTS for part in range(RECENT_PARTS)]
        sql, wanted = _BETWEEN.format(self._but), self._wanted | {"cause": cause}
        return tuple(
            self._connection.execute(sql, wanted | {"low": low, "high": high}).fetchone()[0]
            for low, high in pairwise([*edges, inf])
        )
