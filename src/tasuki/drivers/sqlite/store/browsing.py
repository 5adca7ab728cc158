"""Shows, counts and finds waiting messages by order, cause and id; purges them in several transactions."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from tasuki.clock import Clock
from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount, Causes, Where
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.queues import Queues
from tasuki.drivers.sqlite.store.side_tables import DedupIds, KeyOrder, Suspects
from tasuki.drivers.sqlite.store.statements import NAMED, Row, names_text, numbers_text
from tasuki.drivers.toolkit.results import shown
from tasuki.message import CAUSE, HeaderValue, Message, cause_in, is_cause

FIRST = 10
"""Messages, or known ids, that a transaction removes before it knows how long they take; a body of 1 MiB takes 1 ms."""
PART = 250
"""Most that it removes before it looks at the clock again."""
AT_ONCE = 1000
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
    """How many to remove next in a transaction that has removed this many in so long; 0: its time is over."""
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
