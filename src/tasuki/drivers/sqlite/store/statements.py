"""The larger SQL statements of the store, and their rows."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from tasuki.contracts.driver import Outgoing, Unique
from tasuki.errors import DriverError, MessageTooLargeError, UnsupportedError

Row = tuple[str, bytes, bytes, int, str | None, float]
"""A message to insert: id, body, headers, rank, key, published_at."""

NO_LANES: Mapping[int, str] = MappingProxyType({})
"""A batch whose messages all have the lane ''."""
_encode = msgspec.json.Encoder().encode


def first_delivery() -> int:
    """Where a connection begins to number what it hands out; these numbers are its receipts.

    It is random, so that no receipt comes again, also after the file was put back to an earlier state. Older versions
    count on from it: half of the numbers are left to them.
    """
    return 2**61 + secrets.randbelow(2**61)


def numbers_text(numbers: Collection[object]) -> str:
    """Numbers as the JSON list that ``json_each`` reads: one parameter, however many there are."""
    return _encode(list(numbers)).decode()


def names_text(names: Collection[str]) -> str:
    """The same for texts."""
    return _encode(list(names)).decode()


@dataclass(slots=True)
class Tally:
    """A queue's row during a transaction; written back at its end."""

    queue: int
    lease: float
    max_length: int | None
    by_key: bool
    dedup_window: float | None
    total: int
    held: int
    delayed: int
    newest: int
    """The highest number that a message of the queue ever had: the next one is higher, so that none is used again."""
    is_limited: bool
    """Whether it has a limit or lanes."""

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """The counters, in the order of their columns."""
        return self.total, self.held, self.delayed, self.newest

    @property
    def ready(self) -> int:
        """Messages that are neither held nor delayed."""
        return self.total - self.held - self.delayed


@dataclass(slots=True)
class Place:
    """A message on its way into ``ready``, ``delayed`` or ``lines``."""

    seq: int
    queue: int
    rank: int
    attempts: int
    key: str | None
    ready_at: float = 0.0


_encode_headers = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Encoded:
    """A batch for the store: ``refused`` by the index of the message, all else by the index of the row.

    ``delays`` are seconds, ``always`` are the messages that are stored even if their ids are known, ``lanes`` the
    lanes that are not ''.
    """

    rows: list[Row] = field(default_factory=list)
    delays: dict[int, float] = field(default_factory=dict)
    always: set[int] = field(default_factory=set)
    uniques: dict[int, Unique] = field(default_factory=dict)
    lanes: dict[int, str] = field(default_factory=dict)
    refused: dict[int, DriverError] = field(default_factory=dict)


def encoded(batch: Sequence[Outgoing], *, driver: str, queue: str, now: float, most: int) -> Encoded:
    """Encode a batch, and refuse what cannot be kept; ``most``: bytes of the largest message."""
    work = Encoded()
    for index, message in enumerate(batch):
        try:
            headers = _encode_headers(message.headers)
        except (TypeError, ValueError, OverflowError) as problem:
            why = f"its headers cannot be kept: {problem}"
            work.refused[index] = _refusal(UnsupportedError, driver, queue, message, why)
            continue
        if len(message.body) > most:
            why = f"it is larger than {most} bytes"
            work.refused[index] = _refusal(MessageTooLargeError, driver, queue, message, why)
            continue
        if message.delay > 0:
            work.delays[len(work.rows)] = message.delay
        if not message.deduplicate:
            work.always.add(len(work.rows))
        if message.unique is not None:
            work.uniques[len(work.rows)] = message.unique
        if message.lane:
            work.lanes[len(work.rows)] = message.lane
        work.rows.append((message.id, message.body, headers, 9 - message.priority, message.key, now))
    return work


def _refusal(kind: type[DriverError], driver: str, queue: str, message: Outgoing, why: str) -> DriverError:
    return kind(f"message {message.id!r} was not stored: {why}", driver=driver, queue=queue)


CREATE = """
    INSERT INTO queues (queue, name, lease, max_length, by_key, dedup_window, temporary) VALUES (?, ?, ?, ?, ?, ?, ?)
"""

TEMPORARY = """
    SELECT q.name FROM consumers c JOIN queues q USING (queue) WHERE c.holder = :holder AND q.temporary = 1
    AND NOT EXISTS (SELECT 1 FROM consumers o WHERE o.queue = c.queue AND o.holder != :holder AND o.count > 0)
"""

ORPHANS = """
    SELECT name FROM queues q WHERE temporary = 1 AND NOT EXISTS (SELECT 1 FROM consumers c WHERE c.queue = q.queue)
"""

OPTIONS = "SELECT lease, max_length, by_key, dedup_window, temporary FROM queues WHERE name = ?"
TALLY = """
    SELECT name, queue, lease, max_length, by_key, dedup_window, total, held, delayed, newest, limited
    FROM queues WHERE queue = ?
"""

# The first message of a batch; the others take the numbers that follow.
INSERT_FIRST = """
    INSERT INTO messages (seq, id, body, headers, rank, key, published_at, queue)
    VALUES (max(?, (SELECT coalesce(max(seq), 0) FROM messages)) + 1, ?, ?, ?, ?, ?, ?, ?)
"""

INSERT = "INSERT INTO messages (id, body, headers, rank, key, published_at, queue) VALUES (?, ?, ?, ?, ?, ?, {:d})"

# The same of messages with a lane.
INSERT_FIRST_IN_LANE = """
    INSERT INTO messages (seq, id, body, headers, rank, key, published_at, lane, queue)
    VALUES (max(?, (SELECT coalesce(max(seq), 0) FROM messages)) + 1, ?, ?, ?, ?, ?, ?, ?, ?)
"""

INSERT_IN_LANE = """
    INSERT INTO messages (id, body, headers, rank, key, published_at, lane, queue) VALUES (?, ?, ?, ?, ?, ?, ?, {:d})
"""

SHOW = "INSERT INTO ready (queue, rank, seq, attempts, key) VALUES (?, ?, ?, ?, ?)"
SHOW_IN_LANES = """
    INSERT INTO ready (queue, rank, seq, attempts, lane)
    SELECT queue, rank, seq, 0, lane FROM messages WHERE seq BETWEEN ? AND ?
"""

DELAY = "INSERT INTO delayed (queue, ready_at, seq, rank, attempts, key) VALUES (?, ?, ?, ?, ?, ?)"
JOIN = "INSERT INTO lines (queue, key, waiting, seq, rank, attempts, ready_at) VALUES (?, ?, 1, ?, ?, ?, ?)"
CLAIM = """
    SELECT r.rank, r.seq, r.attempts, m.id, m.body, m.headers
    FROM ready r CROSS JOIN messages m ON m.seq = r.seq
    WHERE r.queue = ? ORDER BY r.rank, r.seq LIMIT ?
"""

HOLD = """
    INSERT INTO held (delivery, seq, queue, rank, attempts, key, holder, lease_until)
    SELECT ? + seq, seq, queue, rank, attempts, key, ?, ? FROM ready WHERE queue = ? ORDER BY rank, seq LIMIT ?
"""

UNHOLD = """
    DELETE FROM held WHERE delivery IN (SELECT value FROM json_each(?)) AND queue = ?
    RETURNING delivery, seq, queue, rank, attempts, key
"""

# A delivery whose lease has ended is held again, to be settled at once.
RESUME = """
    INSERT INTO held (delivery, seq, queue, rank, attempts, key, holder, lease_until)
    SELECT ?, seq, queue, rank, attempts - ?, key, ?, 0 FROM ready WHERE queue = ? AND seq = ?
"""

RESUME_BEHIND = """
    INSERT INTO held (delivery, seq, queue, rank, attempts, key, holder, lease_until)
    SELECT ?, l.seq, l.queue, l.rank, l.attempts - ?, l.key, ?, 0 FROM messages m
    JOIN lines l ON l.queue = m.queue AND l.key = m.key AND l.waiting = 1 AND l.seq = m.seq
    WHERE m.queue = ? AND m.seq = ? RETURNING key
"""

FAILED = "INSERT OR REPLACE INTO errors (seq, error, failed_at) VALUES (?, ?, ?)"
FORGET_ERRORS = "DELETE FROM errors WHERE seq IN (SELECT value FROM json_each(?))"
SHOWN = """
    SELECT m.id, m.body, m.headers, e.error, e.failed_at FROM messages m
    LEFT JOIN errors e ON e.seq = m.seq WHERE m.seq = ?
"""

SHOWN_HEAD = SHOWN.replace("m.body, ", "")

# Of some waiting messages: number, failed attempts, and when each is ready, or 0.
STATES_OF_READY = """
    SELECT r.seq, r.attempts, 0.0 FROM json_each(:seqs) j CROSS JOIN messages m ON m.seq = j.value
    CROSS JOIN ready r ON r.queue = :queue AND r.rank = m.rank AND r.seq = m.seq
"""

STATES_BEHIND_KEYS = """
    SELECT l.seq, l.attempts, l.ready_at FROM json_each(:seqs) j CROSS JOIN messages m ON m.seq = j.value
    CROSS JOIN lines l ON l.queue = :queue AND l.key = m.key AND l.waiting = 1 AND l.seq = m.seq
"""

STATES_OF_DELAYED = """
    SELECT d.seq, d.attempts, d.ready_at FROM json_each(:seqs) j
    CROSS JOIN delayed d INDEXED BY delayed_by_seq ON d.seq = j.value WHERE d.queue = :queue
"""

SURFACE = """
    DELETE FROM delayed WHERE queue = :queue AND (ready_at, seq) IN
        (SELECT ready_at, seq FROM delayed WHERE queue = :queue AND ready_at <= :now
         ORDER BY ready_at, seq LIMIT :limit)
    RETURNING queue, rank, seq, attempts, key
"""

# One seek a priority: the first of each is its oldest.
OLDEST = """
    SELECT min(m.published_at) FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS ranks
    JOIN messages m ON m.seq = (SELECT seq FROM ready WHERE queue = ? AND rank = ranks.column1 ORDER BY seq LIMIT 1)
"""

DUE = """
    SELECT ready_at, seq FROM delayed WHERE queue = ? AND (ready_at, seq) > (?, ?) AND ready_at <= ?
    ORDER BY ready_at, seq
"""


JOIN_LINE = """
    INSERT INTO lines (queue, key, waiting, seq, rank, attempts, ready_at)
    SELECT t.queue, m.key, {}, t.seq, t.rank, t.attempts, {}
    FROM {} t JOIN messages m ON m.seq = t.seq WHERE t.queue = ? AND m.key IS NOT NULL
"""

TAKE_KEY = "UPDATE {} SET key = (SELECT m.key FROM messages m WHERE m.seq = {}.seq) WHERE queue = ?"
FORM_LINES = (
    JOIN_LINE.format(0, "0.0", "held"),
    JOIN_LINE.format(1, "0.0", "ready"),
    JOIN_LINE.format(1, "t.ready_at", "delayed"),
    TAKE_KEY.format("held", "held"),
    TAKE_KEY.format("delayed", "delayed"),
    "DELETE FROM ready WHERE queue = ? AND seq IN (SELECT seq FROM lines)",
)

DISSOLVE_LINES = (
    "INSERT INTO ready (queue, rank, seq, attempts) SELECT queue, rank, seq, attempts FROM lines "
    "WHERE queue = ? AND waiting = 1 AND ready_at = 0",
    "DELETE FROM lines WHERE queue = ?",
    "UPDATE ready SET key = NULL WHERE queue = ? AND key IS NOT NULL",
    "UPDATE held SET key = NULL WHERE queue = ? AND key IS NOT NULL",
    "UPDATE delayed SET key = NULL WHERE queue = ? AND key IS NOT NULL",
)


# The message of a key, and whether it can be received.
UNIQUE = """
    SELECT u.seq, coalesce(m.id, u.id), u.until, u.due, m.rank, m.key, m.published_at,
        EXISTS (SELECT 1 FROM ready r WHERE r.queue = u.queue AND r.rank = m.rank AND r.seq = u.seq)
    FROM uniques u LEFT JOIN messages m ON m.seq = u.seq AND m.queue = u.queue WHERE u.queue = ? AND u.key = ?
"""

UNIQUES_TO_CHECK = """
    SELECT u.key, m.seq IS NOT NULL, u.until
    FROM uniques u LEFT JOIN messages m ON m.seq = u.seq AND m.queue = u.queue
    WHERE u.queue = ? AND u.key > ? ORDER BY u.key LIMIT ?
"""


LIMITS = """
    SELECT rate, burst, concurrency, lane_rate, lane_burst, lane_concurrency, fair, tat, entered
    FROM limits WHERE queue = ?
"""

LIMIT = """
    INSERT OR REPLACE INTO limits
        (queue, rate, burst, concurrency, lane_rate, lane_burst, lane_concurrency, fair, tat, entered)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


# A lane that comes into turn. Of one that is there already: if it is in one of the states.
ARRIVE = """
    INSERT INTO lanes (queue, lane, state, turn, entered, ready_at, tat)
    VALUES (:queue, :lane, 0, :turn, :entered, 0, 0)
    ON CONFLICT (queue, lane) DO UPDATE SET state = 0, turn = :turn, entered = :entered
    WHERE state IN ({})
"""

RESUME_LANE = """
    UPDATE lanes SET state = 0, turn = ?, entered = ? WHERE queue = ? AND lane = ? AND state = ?
"""

TAKE_OUT_OF_TURN = "UPDATE lanes SET state = 1, ready_at = 0 WHERE queue = ? AND state = 0"
FIRST_LANE = "SELECT lane, turn, tat FROM lanes WHERE queue = ? AND state = 0 ORDER BY turn, entered LIMIT 1"
PLACE_IN_LANE = "UPDATE lanes SET state = ?, turn = ?, ready_at = ?, tat = ? WHERE queue = ? AND lane = ?"
DUE_LANES = "SELECT lane FROM lanes WHERE queue = ? AND state = 1 AND ready_at <= ? ORDER BY ready_at LIMIT ?"
FORGET_LANES = """
    DELETE FROM lanes WHERE queue = :queue AND lane IN
        (SELECT lane FROM lanes WHERE queue = :queue AND state = 3 AND ready_at <= :now ORDER BY ready_at LIMIT :most)
"""

# Of a queue without a receivable message, whatever its lanes wait for.
FORGET_ANY_LANES = """
    DELETE FROM lanes WHERE queue = :queue AND lane IN
        (SELECT lane FROM lanes WHERE queue = :queue AND tat <= :now LIMIT :most)
"""

HELD_IN_LANE = """
    SELECT count(*) FROM (SELECT 1 FROM held INDEXED BY held_by_lane WHERE queue = ? AND lane = ? LIMIT ?)
"""

READY_IN_LANE = """
    SELECT rank, seq, attempts, key FROM ready INDEXED BY ready_by_lane
    WHERE queue = ? AND lane = ? ORDER BY rank, seq LIMIT ?
"""

HOLD_IN_LANE = """
    INSERT INTO held (delivery, seq, queue, rank, attempts, key, holder, lease_until, lane)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

SETTLED = "SELECT delivery, lane FROM held WHERE delivery IN (SELECT value FROM json_each(?)) AND queue = ?"

# The lane of a message, in a queue with order per key or without.
LANE_OF = "(SELECT coalesce(m.{}, '') FROM messages m WHERE m.seq = {}.seq)"
ENTER = "UPDATE ready SET lane = {} WHERE queue = ? AND rank = ? AND seq = ? RETURNING lane"
FORM_LANES = ("UPDATE ready SET lane = {} WHERE queue = ?", "UPDATE held SET lane = {} WHERE queue = ?")
LANES_BY_AGE = "SELECT lane FROM ready WHERE queue = ? GROUP BY lane ORDER BY min(seq)"
DISSOLVE_LANES = (
    "UPDATE ready SET lane = NULL WHERE queue = ? AND lane IS NOT NULL",
    "UPDATE held SET lane = NULL WHERE queue = ? AND lane IS NOT NULL",
    "DELETE FROM lanes WHERE queue = ?",
)


SAVE = """
    UPDATE queues SET total = ?, held = ?, delayed = ?, newest = ?
    WHERE queue = ? AND (total, held, delayed, newest) != (?, ?, ?, ?)
"""

# In this order a step reads little more than it removes: the heads of lines, whether ready or delayed, are gone before
# the last part reads past them.
NAMED = """
    SELECT seq, id FROM messages
    WHERE queue = :queue AND id IN (SELECT value FROM json_each(:ids))
"""

EXPEDITE = """
    UPDATE delayed INDEXED BY delayed_by_seq SET ready_at = :now WHERE queue = :queue AND ready_at > :now AND seq IN
        (SELECT seq FROM messages
         WHERE queue = :queue AND id IN (SELECT value FROM json_each(:ids)))
"""


# These messages unless they are held; the columns are as in PURGED.
WAITING = """
    SELECT r.seq, r.rank, r.key, 0, 0 FROM messages m
        JOIN ready r ON r.queue = m.queue AND r.rank = m.rank AND r.seq = m.seq
        WHERE m.queue = :queue AND m.seq IN (SELECT value FROM json_each(:seqs))
    UNION ALL SELECT seq, rank, key, EXISTS (SELECT 1 FROM lines l
            WHERE l.queue = :queue AND l.key = delayed.key AND l.waiting = 1 AND l.seq = delayed.seq), ready_at
        FROM delayed
        WHERE queue = :queue AND seq IN (SELECT value FROM json_each(:seqs))
    UNION ALL SELECT l.seq, l.rank, l.key, 1, 0 FROM messages m
        JOIN lines l ON l.queue = m.queue AND l.key = m.key AND l.waiting = 1 AND l.seq = m.seq
        WHERE m.queue = :queue AND l.ready_at = 0 AND m.seq IN (SELECT value FROM json_each(:seqs))
"""


PURGED = """
    SELECT * FROM (SELECT seq, rank, key, 0, 0 FROM ready
        WHERE queue = :queue AND seq <= :newest AND seq NOT IN (SELECT value FROM json_each(:held))
        ORDER BY rank, seq LIMIT :limit)
    UNION ALL SELECT seq, rank, key, EXISTS (SELECT 1 FROM lines l
            WHERE l.queue = :queue AND l.key = delayed.key AND l.waiting = 1 AND l.seq = delayed.seq), ready_at
        FROM delayed
        WHERE queue = :queue AND seq <= :newest AND seq NOT IN (SELECT value FROM json_each(:held))
    UNION ALL SELECT seq, rank, key, 1, 0 FROM lines
        WHERE queue = :queue AND waiting = 1 AND ready_at = 0
        AND seq <= :newest AND seq NOT IN (SELECT value FROM json_each(:held))
    LIMIT :limit
"""
