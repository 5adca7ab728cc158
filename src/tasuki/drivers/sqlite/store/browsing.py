"""Shows, counts and finds waiting messages: by their order, by their causes and by their ids."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from operator import attrgetter
from typing import NamedTuple

import msgspec

from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount, Causes, Where
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.rows import Row, names_text, numbers_text
from tasuki.drivers.sqlite.store.statements import NAMED
from tasuki.drivers.toolkit.results import shown
from tasuki.message import CAUSE, HeaderValue, Message, cause_in, is_cause

PASSED, SHOWN = 10_000, 200
"""Most rows passed, and most messages read, in one transaction."""

SKIPPED = 50_000
"""Most rows passed by one statement that reads none of them."""

_ALL = "1"

_STATE = "attempts, ready_at"
"""Of the messages that are delayed or behind their key: failed attempts, and when they are ready."""

_SPARE = 100
"""Rows read beyond those that would do if each counted."""
_decode_headers = msgspec.msgpack.Decoder(dict[str, HeaderValue]).decode


class _Part(NamedTuple):
    """A table in the order of its primary key, which ends in the message's number; ``shown`` says which rows count."""

    table: str
    key: str
    before: tuple[object, ...]
    """Less than each key."""
    shown: str = _ALL
    state: str = _STATE


_PARTS = (
    _Part("ready", "rank, seq", (-1, -1), state="attempts, 0.0"),
    _Part("lines", "key, waiting, seq", ("", -1, -1), "waiting = 1 AND ready_at = 0"),
    _Part("delayed", "ready_at, seq", (-1.0, -1)),
)
"""Receivable messages, those behind their key, and delayed ones."""


@dataclass(slots=True)
class Walk:
    """How far a peek has come: ``skip`` messages to pass, ``wanted`` ones to show after them."""

    skip: int
    wanted: int
    found: list[Message] = field(default_factory=list)
    part: int = 0
    last: tuple[object, ...] = _PARTS[0].before

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to find."""
        return len(self.found) >= self.wanted or self.part == len(_PARTS)


def step(connection: sqlite3.Connection, queue: int, walk: Walk, now: float) -> None:
    """Go on with a walk through a queue, within the bounds of one transaction, at a wall-clock time."""
    passed, need = 0, min(walk.wanted - len(walk.found), SHOWN)
    while not walk.is_over and need and passed < PASSED:
        table, key, before, shown, state = _PARTS[walk.part]
        if walk.skip > _SPARE and shown == _ALL and (place := _behind(connection, queue, walk)):
            passed += PASSED // 10
            walk.skip -= min(walk.skip, SKIPPED)
            walk.last = place
            continue
        most = min(walk.skip + need + _SPARE, PASSED - passed)
        marks = ", ".join("?" * len(before))
        which = f"queue = ? AND ({key}) > ({marks}) ORDER BY {key} LIMIT ?"
        sql = f"SELECT {state}, {shown}, {key} FROM {table} WHERE {which}"  # noqa: S608
        rows = connection.execute(sql, (queue, *walk.last, most)).fetchall()
        waiting = [row for row in rows if row[2]]
        here = waiting[walk.skip : walk.skip + need]
        walk.found += _all_shown(connection, {row[-1]: _State(*row[:2]) for row in here}, now)
        walk.skip = max(walk.skip - len(waiting), 0)
        need -= len(here)
        passed += len(rows)
        if need and len(rows) < most:
            walk.part += 1
            walk.last = _PARTS[walk.part].before if walk.part < len(_PARTS) else ()
        elif rows:
            walk.last = (rows[-1] if need else here[-1])[3:]


def _behind(connection: sqlite3.Connection, queue: int, walk: Walk) -> tuple[object, ...] | None:
    """The place of the last row that a walk skips next, where all rows count; None: there are not as many."""
    table, key = _PARTS[walk.part][:2]
    marks = ", ".join("?" * len(walk.last))
    sql = f"SELECT {key} FROM {table} WHERE queue = ? AND ({key}) > ({marks}) ORDER BY {key} LIMIT 1 OFFSET ?"  # noqa: S608
    found: tuple[object, ...] | None
    found = connection.execute(sql, (queue, *walk.last, min(walk.skip, SKIPPED) - 1)).fetchone()
    return found


def show(connection: sqlite3.Connection, queue: int, seqs: Sequence[int], now: float) -> list[Message]:
    """Messages by their numbers, as far as they are there still."""
    states = _states(connection, queue, seqs)
    return _all_shown(connection, {seq: states.get(seq, _READY) for seq in seqs}, now)


def _all_shown(connection: sqlite3.Connection, states: Mapping[int, _State], now: float) -> list[Message]:
    found = (_shown(connection, seq, state, now) for seq, state in states.items())
    return [message for message in found if message is not None]


class _State(NamedTuple):
    """Failed attempts of a message, and the wall-clock time at which it is ready; 0: it is."""

    failures: int
    ready_at: float


_READY = _State(0, 0.0)


def _states(connection: sqlite3.Connection, queue: int, seqs: Sequence[int]) -> dict[int, _State]:
    """By the number of each waiting message."""
    found: dict[int, _State] = {}
    left = list(seqs)
    for statement in (statements.STATES_OF_READY, statements.STATES_BEHIND_KEYS, statements.STATES_OF_DELAYED):
        if not left:
            break
        wanted = {"queue": queue, "seqs": numbers_text(left)}
        found |= {seq: _State(failures, at) for seq, failures, at in connection.execute(statement, wanted)}
        left = [seq for seq in left if seq not in found]
    return found


def _shown(connection: sqlite3.Connection, seq: int, state: _State, now: float) -> Message | None:
    row = connection.execute(statements.SHOWN, (seq,)).fetchone()
    if row is None:
        return None
    id_, body, encoded, error, at = row
    delay = state.ready_at - now if state.ready_at else 0.0
    return shown(id_, body, _decode_headers(encoded), str(seq), error, at, delay=delay, failures=state.failures)


def shown_head(connection: sqlite3.Connection, seq: int) -> Message | None:
    """A message without its body."""
    row = connection.execute(statements.SHOWN_HEAD, (seq,)).fetchone()
    if row is None:
        return None
    id_, encoded, error, at = row
    return shown(id_, b"", _decode_headers(encoded), str(seq), error, at)


@contextmanager
def moment(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that reads: nothing changes meanwhile, and the writer goes on."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


LOCATE = f"""
WITH found AS MATERIALIZED (
    {NAMED}
)
SELECT id, CASE
    WHEN seq IN (SELECT seq FROM held WHERE queue = :queue) THEN 0
    WHEN EXISTS (SELECT 1 FROM delayed d INDEXED BY delayed_by_seq WHERE d.seq = found.seq AND d.ready_at > :now) THEN 2
    ELSE 1 END AS place
FROM found ORDER BY place DESC
"""  # noqa: S608
"""The last row of an id counts."""

_NAMES: Mapping[int, Where] = {0: "held", 1: "ready", 2: "delayed"}


def locate(connection: sqlite3.Connection, queue: int, ids: Collection[str], now: float) -> dict[str, Where]:
    """Where the messages of these ids are; an id without a message is left out."""
    rows = connection.execute(LOCATE, {"queue": queue, "ids": names_text(ids), "now": now})
    return {id: _NAMES[place] for id, place in rows}


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
