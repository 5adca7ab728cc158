"""Showing waiting messages in several transactions, however far from the head of the queue they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.rows import numbers_text
from tasuki.drivers.toolkit.results import shown
from tasuki.message import HeaderValue, Message

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
