"""Limits of queues, and their lanes, which take turns; inside the transaction of a group (docs/adr/0028).

Used places are not stored: they are the held messages. Of a rate one time is stored. A lane in turn is one of which a
claim can expect a message. One that must wait is out of turn, so it costs a claim nothing. A row is a hint with a turn
and a time: what a lane has, and how many of it are held, says the message's place.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Any, NamedTuple

from tasuki.clock import Clock
from tasuki.contracts.driver import Limit, QueueSpec, Receipt, Release, Settlement
from tasuki.drivers.sqlite.store import statements
from tasuki.drivers.sqlite.store.statements import Tally, numbers_text
from tasuki.drivers.toolkit import limits


@dataclass(slots=True)
class Limited:
    """A queue's limits during a transaction; the used part is written back at its end."""

    whole: Limit
    lane: Limit
    fair: int
    tat: float = 0.0
    entered: int = 0

    @property
    def used(self) -> tuple[float, int]:
        """What changes without a declaration, in the order of its columns."""
        return self.tat, self.entered

    @property
    def options(self) -> tuple[Limit, Limit, int]:
        """What a declaration gives."""
        return self.whole, self.lane, self.fair


def limited_by(spec: QueueSpec) -> Limited | None:
    """The limits of a declaration; None: it has none."""
    if spec.limit is None and not spec.fair:
        return None
    lane = spec.lane_limit if spec.fair else None
    return Limited(spec.limit or limits.NONE, lane or limits.NONE, spec.fair)


class Limits:
    """One connection's view of the table."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._clock = clock
        self._loaded: dict[int, tuple[Limited, tuple[float, int]]] = {}

    def of(self, queue: int) -> Limited:
        """The limits of a queue that has some, read once a transaction."""
        if queue not in self._loaded:
            found = self.stored(queue) or Limited(limits.NONE, limits.NONE, 0)
            self._loaded[queue] = found, found.used
        return self._loaded[queue][0]

    def stored(self, queue: int) -> Limited | None:
        """The limits as they were committed, or changed by this transaction's statements; also outside of one."""
        row = self._execute(statements.LIMITS, (queue,)).fetchone()
        return None if row is None else Limited(Limit(*row[:3]), Limit(*row[3:6]), *row[6:])

    def in_force(self, tally: Tally) -> dict[str, Any]:
        """The fields of ``QueueSpec`` for the limits of a queue."""
        limited = self.of(tally.queue) if tally.is_limited else Limited(limits.NONE, limits.NONE, 0)
        limit, lane = (None if each == limits.NONE else each for each in (limited.whole, limited.lane))
        return {"limit": limit, "lane_limit": lane, "fair": limited.fair}

    def fair(self, tally: Tally) -> int:
        """Most messages that a lane of the queue is given in its turn; 0: it has no lanes."""
        return self.of(tally.queue).fair if tally.is_limited else 0

    def room(self, tally: Tally, wanted: int) -> int:
        """How many of the wanted messages the limits of the whole queue allow now."""
        limited = self.of(tally.queue)
        return min(wanted, limits.room(limited.whole, limited.tat, self._clock.time(), tally.held))

    def hand_out(self, tally: Tally, messages: int) -> None:
        """Note what the messages use of the queue's rate."""
        limited = self.of(tally.queue)
        limited.tat = limits.spent(limited.whole, limited.tat, self._clock.time(), messages)

    def give_back(self, queue: int, messages: int) -> None:
        """Return the parts of released messages to the queue's rate."""
        limited = self.of(queue)
        for _ in range(messages):
            limited.tat = limits.given_back(limited.whole, limited.tat)

    def change(self, queue: int, old: Limited | None, new: Limited | None) -> None:
        """Store other limits; a used part stays used."""
        if new is None:
            self._execute("DELETE FROM limits WHERE queue = ?", (queue,))
        else:
            if old is not None:
                tat = limits.changed(old.whole, new.whole, old.tat, self._clock.time())
                new.tat, new.entered = tat, old.entered
            self._execute(statements.LIMIT, (queue, *_columns(new.whole), *_columns(new.lane), new.fair, *new.used))
        self._execute("UPDATE queues SET limited = ? WHERE queue = ?", (int(new is not None), queue))
        self.forget(queue)

    def forget(self, queue: int) -> None:
        """Read the row again when it is needed; it has changed, or has gone with its queue."""
        self._loaded.pop(queue, None)

    def save(self) -> None:
        """Write the used parts, right before the commit."""
        changed = [(*each.used, queue) for queue, (each, before) in self._loaded.items() if each.used != before]
        if changed:
            self._executemany("UPDATE limits SET tat = ?, entered = ? WHERE queue = ?", changed)
        self._loaded.clear()

    def undo(self) -> None:
        """After a rollback: drop what this transaction read and changed."""
        self._loaded.clear()


def _columns(limit: Limit) -> tuple[float | None, int, int | None]:
    return limit.rate, limit.burst, limit.concurrency


IN_TURN, SLOW, FULL, EMPTY = range(4)
"""Of a lane: it is served; waits for its rate; waits for a place; has no message, and its rate recovers."""

VISITED = 300
"""Most lanes that one claim visits in vain, and most that it brings back or forgets; the next one goes on."""

SWEPT = 5000
"""Most lanes that one sweep forgets."""
_NEW = statements.ARRIVE.format(EMPTY)

_BACK = statements.ARRIVE.format(f"{FULL}, {EMPTY}")

_ANY = statements.ARRIVE.format(f"{SLOW}, {FULL}, {EMPTY}")
Claimed = tuple[int, int, int, str, bytes, bytes]
"""A message that is handed out: rank, number, attempts, id, body, headers."""


class _Lane(NamedTuple):
    """A lane in turn."""

    name: str
    turn: int
    tat: float


class Lanes:
    """One connection's view of the table."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, its_limits: Limits, holder: int) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._clock = clock
        self.limits = its_limits
        self._holder = holder

    def arrive(self, queue: int, names: Iterable[str], sql: str = _NEW) -> None:
        """Lanes have got messages: those without a row, and the empty ones, come into turn."""
        limited = self.limits.of(queue)
        turn = self._turn(queue, limited.fair)
        for name in names:
            values = {"queue": queue, "lane": name, "turn": turn, "entered": limited.entered + 1}
            limited.entered += self._execute(sql, values).rowcount

    def _turn(self, queue: int, fair: int) -> int:
        """The turn of new lanes: they come as if they were just served, so they hold up no lane that waits."""
        first = self._execute(statements.FIRST_LANE, (queue,)).fetchone()
        return fair + (0 if first is None else int(first[1]))

    def enter(self, tally: Tally, places: Iterable[tuple[int, int]]) -> None:
        """Give lanes to messages that have become receivable, and bring those lanes into turn: rank and number each."""
        lane = statements.LANE_OF.format("key" if tally.by_key else "lane", "ready")
        rows = [
            row
            for place in places
            for row in self._execute(statements.ENTER.format(lane), (tally.queue, *place)).fetchall()
        ]
        self.arrive(tally.queue, dict.fromkeys(row[0] for row in rows), _BACK)

    def settle(self, tally: Tally, settlements: Mapping[Receipt, Settlement]) -> None:
        """Deliveries end: return the parts of released ones to the rates, and bring lanes with a free place into turn.

        Before they leave the table of held messages. In a queue with neither rate nor lanes it does nothing.
        """
        queue = tally.queue
        if not tally.is_limited or not (self.limits.of(queue).fair or self.limits.of(queue).whole.rate):
            return
        rows = self._execute(statements.SETTLED, (numbers_text(settlements), queue)).fetchall()
        backs = [row[1] for row in rows if type(item := settlements[row[0]]) is Release and not item.delay > 0]
        self.limits.give_back(queue, len(backs))
        lane = self.limits.of(queue).lane
        if lane.concurrency is not None:
            self._resume(queue, dict.fromkeys(row[1] for row in rows if row[1] is not None), FULL)
        if lane.rate is not None:
            self._give_back(queue, Counter(backs), 1 / lane.rate)

    def _give_back(self, queue: int, released: Mapping[str, int], step: float) -> None:
        """Return the parts of so many released messages of each lane to its rate; ``step``: seconds a message."""
        for lane, messages in released.items():
            sql = "UPDATE lanes SET tat = tat - ? WHERE queue = ? AND lane = ?"
            self._execute(sql, (step * messages, queue, lane))
            self._resume(queue, [lane], SLOW)

    def _resume(self, queue: int, names: Collection[str], state: int) -> None:
        """Bring the lanes that wait in this state into turn again."""
        if not names:
            return
        limited = self.limits.of(queue)
        turn = self._turn(queue, limited.fair)
        for name in names:
            values = (turn, limited.entered + 1, queue, name, state)
            limited.entered += self._execute(statements.RESUME_LANE, values).rowcount

    def take(self, tally: Tally, wanted: int, until: float, most_bytes: int, base: int) -> list[Claimed]:
        """Hold messages, lane by lane; the delivery of a message is ``base`` and its number."""
        limited, now = self.limits.of(tally.queue), self._clock.time()
        self._return_due(tally.queue, now)
        taken: list[Claimed] = []
        in_vain = size = 0
        while len(taken) < wanted and in_vain < VISITED and size <= most_bytes:
            first = self._execute(statements.FIRST_LANE, (tally.queue,)).fetchone()
            if first is None:
                break
            got = self._serve(tally, limited, _Lane(*first), wanted - len(taken), until, most_bytes - size, base)
            size += sum(len(row[4]) for row in got)
            in_vain += not got
            taken += got
        return taken

    def _return_due(self, queue: int, now: float) -> None:
        """Bring lanes back whose time has come, and forget empty ones whose rate has recovered."""
        due = self._execute(statements.DUE_LANES, (queue, now, VISITED)).fetchall()
        self._resume(queue, [row[0] for row in due], SLOW)
        self._execute(statements.FORGET_LANES, {"queue": queue, "now": now, "most": VISITED})

    def _serve(
        self, tally: Tally, limited: Limited, lane: _Lane, wanted: int, until: float, most_bytes: int, base: int
    ) -> list[Claimed]:
        """Hold the messages of one turn of a lane, and say how the lane goes on."""
        queue, now = tally.queue, self._clock.time()
        held = self._held(queue, limited, lane.name)
        share = min(wanted, limited.fair, limits.room(limited.lane, lane.tat, now, held))
        found = self._execute(statements.READY_IN_LANE, (queue, lane.name, share + 1)).fetchall() if share > 0 else []
        taken: list[Claimed] = []
        size = 0
        for rank, seq, attempts, _ in islice(found, share):
            sql = "SELECT id, body, headers FROM messages WHERE seq = ?"
            taken.append((rank, seq, attempts, *self._execute(sql, (seq,)).fetchone()))
            size += len(taken[-1][4])
            if size > most_bytes:
                break
        self._executemany(statements.HOLD_IN_LANE, [
            (base + seq, seq, queue, rank, attempts, key, self._holder, until, lane.name)
            for rank, seq, attempts, key in islice(found, len(taken))
        ])  # fmt: skip
        sql = "DELETE FROM ready WHERE queue = ? AND rank = ? AND seq = ?"
        self._executemany(sql, [(queue, row[0], row[1]) for row in taken])
        tat = limits.spent(limited.lane, lane.tat, now, len(taken))
        after = _Lane(lane.name, lane.turn + len(taken), tat)
        if share > 0 and len(found) == len(taken):
            self._empty(queue, after, now)
        else:
            self._keep(queue, after, limits.opens_at(limited.lane, after.tat, now, held + len(taken)), now)
        return taken

    def _held(self, queue: int, limited: Limited, name: str) -> int:
        """Held messages of a lane, as far as its limit counts them."""
        most = limited.lane.concurrency
        return int(self._execute(statements.HELD_IN_LANE, (queue, name, most)).fetchone()[0]) if most else 0

    def _empty(self, queue: int, lane: _Lane, now: float) -> None:
        """A lane has no message left: forget it once it owes nothing, for earlier would give it a second burst."""
        if lane.tat <= now:
            self._execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (queue, lane.name))
        else:
            self._execute(statements.PLACE_IN_LANE, (EMPTY, lane.turn, lane.tat, lane.tat, queue, lane.name))

    def _keep(self, queue: int, lane: _Lane, opens_at: float, now: float) -> None:
        """A lane has more messages: ``opens_at`` says when the next one can be handed out."""
        state = IN_TURN if opens_at <= now else FULL if opens_at == inf else SLOW
        self._execute(statements.PLACE_IN_LANE, (state, lane.turn, opens_at, lane.tat, queue, lane.name))

    def next_at(self, queue: int, limited: Limited, held: int, first_due: float | None) -> float | None:
        """From when on (wall clock) something can be handed out, unless something happens first; None: never.

        ``first_due``: when the first delayed message is due. Reads alone, so it works outside a transaction too.
        """
        now = self._clock.time()
        opens_at = limits.opens_at(limited.whole, limited.tat, now, held)
        if opens_at == inf:
            return None
        if self._execute("SELECT 1 FROM ready WHERE queue = ? LIMIT 1", (queue,)).fetchone() is None:
            at = None
        elif not limited.fair or self._execute(statements.FIRST_LANE, (queue,)).fetchone():
            at = now
        else:
            sql = "SELECT min(ready_at) FROM lanes WHERE queue = ? AND state = 1"
            at = self._execute(sql, (queue,)).fetchone()[0]
        times = [each for each in (at, first_due) if each is not None]
        return max(min(times), opens_at) if times else None

    def declare(self, queue: int, spec: QueueSpec, *, was_limited: bool, was_by_key: bool) -> None:
        """Set the limits of a queue that exists; its messages stay."""
        new = limited_by(spec)
        old = self.limits.of(queue) if was_limited else None
        by_key = spec.ordering == "key"
        is_same = (old and old.options) == (new and new.options)
        if is_same and (new is None or not new.fair or by_key == was_by_key):
            return
        self.limits.change(queue, old, new)
        had, has = bool(old and old.fair), bool(new and new.fair)
        if has and (not had or by_key != was_by_key):
            self._form(queue, "key" if by_key else "lane")
        elif had and not has:
            for sql in statements.DISSOLVE_LANES:
                self._execute(sql, (queue,))
        if old is not None and new is not None and had and has:
            self._change(queue, old, new)

    def _form(self, queue: int, column: str) -> None:
        """Give each message its stored lane, or its key as its lane; bring all lanes into turn."""
        for sql, table in zip(statements.FORM_LANES, ("ready", "held"), strict=True):
            self._execute(sql.format(statements.LANE_OF.format(column, table)), (queue,))
        self._execute(statements.TAKE_OUT_OF_TURN, (queue,))
        self.arrive(queue, [row[0] for row in self._execute(statements.LANES_BY_AGE, (queue,)).fetchall()], _ANY)

    def _change(self, queue: int, old: Limited, new: Limited) -> None:
        """Keep to another limit: what a lane owes stays owed, and each lane that waits is visited again."""
        now = self._clock.time()
        rows = self._execute("SELECT lane, tat FROM lanes WHERE queue = ? AND tat > ?", (queue, now)).fetchall()
        tats = [(limits.changed(old.lane, new.lane, tat, now), lane) for lane, tat in rows]
        sql = "UPDATE lanes SET tat = ?, ready_at = ? WHERE queue = ? AND lane = ?"
        self._executemany(sql, [(tat, tat, queue, lane) for tat, lane in tats])
        if old.fair != new.fair:  # turns are as far apart as the larger one allows
            self._execute(statements.TAKE_OUT_OF_TURN, (queue,))
        for state in (SLOW, FULL):
            self._reopen(queue, state)

    def sweep(self, tally: Tally) -> None:
        """Forget lanes that are empty."""
        if self.limits.fair(tally):
            # What they had may have been removed.
            sql = statements.FORGET_LANES if tally.ready > 0 else statements.FORGET_ANY_LANES
            self._execute(sql, {"queue": tally.queue, "now": self._clock.time(), "most": SWEPT})

    def _reopen(self, queue: int, state: int) -> None:
        """Bring all lanes that wait in this state into turn."""
        sql = f"SELECT lane FROM lanes WHERE queue = ? AND state = {state} ORDER BY turn, entered"  # noqa: S608
        self._resume(queue, [row[0] for row in self._execute(sql, (queue,)).fetchall()], state)
