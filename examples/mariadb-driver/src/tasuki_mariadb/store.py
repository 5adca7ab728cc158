"""What the verbs do to the tables, inside a transaction that the session commits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tasuki.contracts.driver import Depth, Move, Occupancy, Outgoing, QueueSpec, Receipt, Received, Settlement, Waiting
from tasuki.drivers.toolkit.results import in_force, is_receipt, pieces
from tasuki.errors import QueueNotFoundError
from tasuki.message import HeaderValue, Message
from tasuki_mariadb import rules
from tasuki_mariadb.connecting import Link
from tasuki_mariadb.transactions import BeginAgainError

READY, DELAYED, HELD, BEHIND = range(4)
"""States of a message; BEHIND: it waits for an earlier one of its key."""
MAX_BODY = 4 * 2**20
"""Bytes of a body, and of the bodies in one statement: digits double them, and a server takes 16 MiB as it comes."""
MAX_CLAIM_BYTES = 64 * 2**20
"""A receive stops after this many bytes of bodies, so that memory stays bounded."""
SURFACED = 300
"""Most messages made receivable in one transaction."""
PURGED = 2000
"""Messages removed in one transaction."""

NOW = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS DOUBLE)"
WAITS = f"NOT (state = {HELD} AND due > %s)"
IS_READY = f"(state = {READY} OR due <= %s)"
RESTING = f"state = IF(due > %s, {DELAYED}, {READY})"
# From left to right: each sees what those before it have set.
COUNT = "attempts = attempts + (token IS NOT NULL AND started), suspect = suspect OR token IS NOT NULL, started = FALSE"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, HeaderValue]).decode


class Queue(NamedTuple):
    """A row of the table of queues, and the server's time (Unix seconds) when it was read."""

    number: int
    lease: float
    max_length: int | None
    by_key: bool
    dedup_window: float | None
    temporary: bool
    now: float

    @property
    def is_strict(self) -> bool:
        """Whether its transactions must run one after the other."""
        return self.by_key or self.max_length is not None or self.dedup_window is not None


class MariaDbStore:
    """The tables, as one transaction sees them. ``alone``: queues whose transactions run one after the other.

    Every method raises QueueNotFoundError for a queue that is not in the database, and what the client raises. A method
    that needs other locks raises BeginAgainError before it changes anything, and is called again in a new transaction.
    Transactions of several processes run at the same time: they lock queues in the order of their names, messages in
    the order of their numbers, and ``claim`` skips locked rows. An error of the client, a deadlock too, reaches the
    caller of the verb, which tries again. A method may be cancelled; its connection is then dropped.

    Receipts are ``(number, token)``: of the message, and of its last claim. The token stays in the row until the
    message is settled, so that a late settlement counts, and a claim of a message that has one makes it a suspect.
    """

    def __init__(self, link: Link, prefix: str, driver: str, alone: set[str]) -> None:
        self._link, self._prefix, self._driver, self._alone = link, prefix, driver, alone

    async def _rows(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement; ``{}`` is the prefix of the tables."""
        return await self._link.rows(sql.replace("{}", self._prefix), *arguments)

    async def _queue(self, name: str, *, alone: bool = False, lock: bool = True) -> Queue:
        """A queue, locked until the commit: shared with others, or alone, as its options need it."""
        alone = alone or name in self._alone
        how = ("FOR UPDATE" if alone else "LOCK IN SHARE MODE") if lock else ""
        sql = f"SELECT number, lease, max_length, by_key, dedup_window, temporary, {NOW} FROM {{}}_queues "
        found = await self._rows(f"{sql} WHERE name = %s {how}", name.encode())
        if not found:
            problem = f"queue {name!r} is not in the database; declare it"
            raise QueueNotFoundError(problem, driver=self._driver, queue=name)
        queue = Queue(*found[0])
        if lock and queue.is_strict and not alone:
            self._alone.add(name)
            raise BeginAgainError
        if not queue.is_strict:
            self._alone.discard(name)
        return queue

    async def _change(self, seqs: Sequence[int], change: str, *arguments: object) -> None:
        if seqs:
            await self._rows(f"UPDATE {{}}_messages SET {change} WHERE seq IN %s", *arguments, seqs)

    async def declare(self, spec: QueueSpec) -> None:
        name, by_key = spec.name.encode(), spec.ordering == "key"
        options = (spec.lease, spec.max_length, by_key, spec.dedup_window, spec.temporary)
        try:
            queue = await self._queue(spec.name, alone=True)
        except QueueNotFoundError:
            into = "INTO {}_queues (name, lease, max_length, by_key, dedup_window, temporary)"
            await self._rows(f"INSERT {into} VALUES %s ON DUPLICATE KEY UPDATE lease = lease", (name, *options))
            queue = await self._queue(spec.name, alone=True)  # which another process may have made, with other options
        if tuple(queue[1:6]) == options:
            return
        sql = "lease = %s, max_length = %s, by_key = %s, dedup_window = %s, temporary = %s WHERE number = %s"
        await self._rows(f"UPDATE {{}}_queues SET {sql}", *options, queue.number)
        if by_key and not queue.by_key:
            sql = f"state = {BEHIND} WHERE queue = %s AND line IS NOT NULL AND state IN ({READY}, {DELAYED})"
            await self._rows(f"UPDATE {{}}_messages SET {sql}", queue.number)
            await self._arrange(queue)
        elif queue.by_key and not by_key:
            sql = f"UPDATE {{}}_messages SET {RESTING} WHERE queue = %s AND state = {BEHIND}"
            await self._rows(sql, queue.now, queue.number)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        queue = await self._queue(spec.name, lock=False)
        return in_force(spec, *queue[1:6])

    async def publish(self, name: str, batch: Sequence[Outgoing]) -> int:
        queue = await self._queue(name)
        known, room = await self._known(queue, batch), await self._room(queue)
        chosen, taken = rules.choose(batch, known, room)
        await self._insert(queue, chosen)
        return taken

    async def _known(self, queue: Queue, batch: Sequence[Outgoing]) -> set[str] | None:
        if queue.dedup_window is None:
            return None
        ids = {digest(message.id): message.id for message in batch if message.deduplicate}
        sql = "SELECT id FROM {}_ids WHERE queue = %s AND id IN %s AND published_at > %s"
        found = await self._rows(sql, queue.number, [*ids] or [b""], queue.now - queue.dedup_window)
        return {ids[row[0]] for row in found}

    async def _room(self, queue: Queue) -> float:
        if queue.max_length is None:
            return float("inf")
        count = await self._rows("SELECT COUNT(*) FROM {}_messages WHERE queue = %s", queue.number)
        return float(queue.max_length - count[0][0])

    async def _insert(self, queue: Queue, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        into = "INTO {}_messages (queue, published_at, due, state, id, headers, body, size, place, line)"
        states = ((queue.now + each.delay, DELAYED if each.delay > 0 else READY) for each in messages)
        rows = [(queue.number, queue.now, *state, *columns(each)) for state, each in zip(states, messages, strict=True)]
        for piece in pieces([len(each.body) for each in messages], MAX_BODY):
            await self._rows(f"INSERT {into} VALUES {', '.join(['%s'] * len(rows[piece]))}", *rows[piece])
        ids = [(queue.number, digest(each.id), queue.now) for each in messages if each.deduplicate]
        if queue.dedup_window is not None and ids:
            await self._rows(f"REPLACE INTO {{}}_ids VALUES {', '.join(['%s'] * len(ids))}", *ids)
            sql = "DELETE FROM {}_ids WHERE queue = %s AND published_at <= %s ORDER BY published_at LIMIT %s"
            await self._rows(sql, queue.number, queue.now - queue.dedup_window, 2 * len(ids) + 100)
        await self._arrange(queue, (digest(each.key) for each in messages if each.key is not None))

    async def _arrange(self, queue: Queue, keys: Iterable[bytes | None] | None = None) -> None:
        """Let the first message of each key be the only one that can be received; None: of all keys."""
        wanted = None if keys is None else {key for key in keys if key is not None}
        if not (queue.by_key or wanted is None) or wanted == set():
            return
        where = "queue = %s AND line IS NOT NULL" + " AND line IN %s" * (wanted is not None)
        arguments: tuple[Any, ...] = (queue.number,) if wanted is None else (queue.number, wanted)
        sql = f"SELECT seq, line, state = {HELD} FROM {{}}_messages WHERE {where} AND state <= {HELD}"
        found = await self._rows(sql, *arguments)
        if wanted is None:
            sql = "SELECT line, MIN(seq) FROM {}_messages WHERE queue = %s AND line IS NOT NULL GROUP BY line"
            heads = await self._rows(sql, queue.number)
        else:  # one seek a key: a GROUP BY of some keys reads all of their messages
            one = "(SELECT line, seq FROM {}_messages WHERE queue = %s AND line = %s ORDER BY seq LIMIT 1)"
            sought = (value for key in wanted for value in (queue.number, key))
            heads = await self._rows(" UNION ALL ".join([one] * len(wanted)), *sought)
        demoted, promoted = rules.fronts(found, dict(heads))
        await self._change(demoted, f"state = {BEHIND}")
        await self._change(promoted, RESTING, queue.now)

    async def claim(self, name: str, limit: int, token: int) -> list[Received]:
        queue = await self._queue(name)
        sql = (
            f"SELECT seq, line FROM {{}}_messages WHERE queue = %s AND state IN ({DELAYED}, {HELD}) AND due <= %s "
            "LIMIT %s FOR UPDATE SKIP LOCKED"
        )
        due = await self._rows(sql, queue.number, queue.now, SURFACED)
        await self._change([row[0] for row in due], f"state = {READY}")
        await self._arrange(queue, (row[1] for row in due))
        sql = (
            f"SELECT seq, size FROM {{}}_messages WHERE queue = %s AND state = {READY} ORDER BY place, seq "
            "LIMIT %s FOR UPDATE SKIP LOCKED"
        )
        seqs = rules.within(await self._rows(sql, queue.number, limit), MAX_CLAIM_BYTES)
        await self._change(seqs, f"{COUNT}, token = %s, state = {HELD}, due = %s", token, queue.now + queue.lease)
        sql = "SELECT id, body, headers, seq, attempts, suspect FROM {}_messages WHERE seq IN %s ORDER BY place, seq"
        return [
            Received(id.decode(), body, _decode(headers), (seq, token), attempts + 1, bool(suspect))
            for id, body, headers, seq, attempts, suspect in (await self._rows(sql, seqs) if seqs else ())
        ]

    async def _held(self, queue: Queue, receipts: Iterable[Receipt], last: int = BEHIND) -> dict[Receipt, bytes | None]:
        """Which receipts can be settled, late or not, with the keys of their messages; their rows are locked.

        ``last``: the last state that a message may have.
        """
        wanted = {receipt for receipt in receipts if is_receipt(receipt)}
        sql = (
            "SELECT seq, token, line FROM {}_messages FORCE INDEX (PRIMARY) WHERE seq IN %s AND queue = %s "
            "AND state <= %s ORDER BY seq FOR UPDATE"
        )
        seqs = [receipt[0] for receipt in wanted]
        found = await self._rows(sql, seqs, queue.number, last) if seqs else ()
        return {(seq, token): line for seq, token, line in found if (seq, token) in wanted}

    async def settle(self, name: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        queue = await self._queue(name)
        held = await self._held(queue, (item.receipt for item in batch))
        settled = rules.settle(batch, held)
        await self._drop(settled.done)
        for (is_nack, delay), receipts in settled.back.items():
            failed, state = "attempts = attempts + 1, suspect = FALSE," * is_nack, DELAYED if delay > 0 else READY
            change = f"{failed} started = FALSE, token = NULL, state = {state}, due = %s"
            await self._change([seq for seq, _ in receipts], change, queue.now + delay)
        await self._arrange(queue, held.values())
        return settled.stale

    async def _drop(self, receipts: Sequence[Receipt]) -> None:
        if receipts:
            await self._rows("DELETE FROM {}_messages WHERE seq IN %s", [seq for seq, _ in receipts])

    async def let_go(self, name: str, batch: Collection[Receipt]) -> None:
        queue = await self._queue(name)
        held = await self._held(queue, batch)
        await self._change([seq for seq, _ in held], f"{COUNT}, token = NULL, state = {READY}, due = %s", queue.now)
        await self._arrange(queue, held.values())

    async def start(self, name: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        held = await self._held(await self._queue(name), batch)
        await self._change([seq for seq, _ in held], "started = TRUE")
        return [receipt for receipt in batch if receipt not in held]

    async def extend(self, name: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        queue = await self._queue(name)
        held = await self._held(queue, batch, HELD)  # behind its key it cannot be held again: another one may be
        await self._change([seq for seq, _ in held], f"state = {HELD}, due = %s", queue.now + lease)
        return [receipt for receipt in batch if receipt not in held]

    async def move(self, name: str, to: str, moves: Sequence[Move]) -> Sequence[int]:
        queues = {each: await self._queue(each) for each in sorted({name, to})}
        source, target = queues[name], queues[to]
        held = await self._held(source, [move.receipt for move in moves])
        known = await self._known(target, [message for move in moves for message in move.messages])
        moved = rules.move(moves, held, known, await self._room(target), is_same=name == to)
        await self._drop(moved.ended)
        await self._arrange(source, (held[receipt] for receipt in moved.ended))
        await self._insert(target, moved.stored)
        return moved.outcomes

    async def depth(self, name: str) -> Depth:
        queue = await self._queue(name, lock=False)
        sql = f"""
            SELECT COALESCE(SUM({IS_READY}), 0), COALESCE(SUM(state = {HELD} AND due > %s), 0),
                COALESCE(SUM(state IN ({DELAYED}, {BEHIND}) AND due > %s), 0), MIN(IF({IS_READY}, published_at, NULL))
            FROM {{}}_messages WHERE queue = %s
        """
        ready, held, delayed, oldest = (await self._rows(sql, *[queue.now] * 4, queue.number))[0]
        age = None if oldest is None else max(queue.now - oldest, 0.0)
        return Depth(int(ready), int(held), int(delayed), age)

    async def occupancy(self, name: str) -> Occupancy:
        queue = await self._queue(name, lock=False)
        have = "EXISTS (SELECT 1 FROM {}_messages WHERE queue = %s AND state = %s AND due {} %s)"
        ready = " OR ".join([have.replace("due {}", "due <=")] * 4)
        hidden = " OR ".join([have.replace("due {}", "due >")] * 3)
        states = [argument for state in range(4) for argument in (queue.number, state, queue.now)]
        states[2] = 1e300  # ready whatever the clock says
        found = (await self._rows(f"SELECT {ready}, {hidden}", *states, *states[3:]))[0]
        return Occupancy(bool(found[0]), bool(found[1]))

    async def news(self, names: Collection[str]) -> Collection[str]:
        have = "EXISTS (SELECT 1 FROM {}_messages WHERE queue = number AND state = "
        news = f"{have} {READY}) OR {have} {DELAYED} AND due <= {NOW}) OR {have} {HELD} AND due <= {NOW})"
        sql = f"SELECT name FROM {{}}_queues WHERE name IN %s AND ({news})"
        return [row[0].decode() for row in await self._rows(sql, [name.encode() for name in names])]

    async def give_sign(self, holder: str) -> bool:
        # The server may not have noticed yet that the connection before is gone.
        return bool((await self._rows("SELECT GET_LOCK(%s, 0)", holder))[0][0])

    async def keep(self, name: str, holder: str, *, is_kept: bool) -> None:
        queue = await self._queue(name, alone=True)
        sql = "DELETE FROM {}_consumers WHERE queue = %s AND (holder = %s OR IS_USED_LOCK(holder) IS NULL)"
        await self._rows(sql, queue.number, holder)
        if is_kept:
            await self._rows("INSERT INTO {}_consumers (queue, holder, count) VALUES %s", (queue.number, holder, 1))

    async def peek(self, name: str, limit: int, after: int) -> list[Message]:
        queue = await self._queue(name, lock=False)
        order = f"NOT {IS_READY}, IF({IS_READY}, state = {BEHIND}, due), place, seq"
        sql = f"""
            SELECT id, body, headers, seq FROM {{}}_messages JOIN (
                SELECT seq FROM {{}}_messages WHERE queue = %s AND {WAITS} ORDER BY {order} LIMIT %s OFFSET %s
            ) AS shown USING (seq) ORDER BY {order}
        """
        found = await self._rows(sql, queue.number, *[queue.now] * 3, limit, after, *[queue.now] * 2)
        return [Waiting(id.decode(), body, _decode(headers), str(seq)) for id, body, headers, seq in found]

    async def extent(self, name: str) -> tuple[int, list[int]]:
        """The newest message, and the held ones."""
        queue = await self._queue(name, alone=True)
        newest = await self._rows("SELECT COALESCE(MAX(seq), 0) FROM {}_messages WHERE queue = %s", queue.number)
        sql = f"SELECT seq FROM {{}}_messages WHERE queue = %s AND NOT {WAITS}"
        return int(newest[0][0]), [row[0] for row in await self._rows(sql, queue.number, queue.now)]

    async def purge(self, name: str, extent: tuple[int, list[int]]) -> int:
        newest, spared = extent
        return await self._remove(name, f"seq <= %s AND seq NOT IN %s LIMIT {PURGED}", newest, spared or [0])

    async def search(self, name: str, ids: Collection[str]) -> Sequence[int]:
        queue = await self._queue(name, lock=False)
        sql = "SELECT seq FROM {}_messages WHERE queue = %s AND id IN %s"
        return [row[0] for row in await self._rows(sql, queue.number, [id.encode("utf-8", "replace") for id in ids])]

    async def remove(self, name: str, found: Sequence[int]) -> int:
        return await self._remove(name, "seq IN %s", found)

    async def _remove(self, name: str, where: str, *arguments: Any) -> int:
        queue = await self._queue(name, alone=True)
        sql = f"DELETE FROM {{}}_messages WHERE queue = %s AND {WAITS} AND {where} RETURNING line"
        gone = await self._rows(sql, queue.number, queue.now, *arguments)
        await self._arrange(queue, (row[0] for row in gone))
        return len(gone)

    async def delete(self, name: str, *, is_unused: bool) -> bool:
        queue = await self._queue(name, alone=True)
        if is_unused and name not in await self.unused():
            return False
        for table in ("messages", "ids", "consumers"):
            sql = f"DELETE FROM {{}}_{table} WHERE queue = %s LIMIT {PURGED} RETURNING 1"
            if len(await self._rows(sql, queue.number)) == PURGED:
                return True
        await self._rows("DELETE FROM {}_queues WHERE number = %s", queue.number)
        return False

    async def unused(self) -> Collection[str]:
        sql = """
            SELECT name FROM {}_queues WHERE temporary AND NOT EXISTS (
                SELECT 1 FROM {}_consumers WHERE queue = number AND IS_USED_LOCK(holder) IS NOT NULL)
        """
        return [row[0].decode() for row in await self._rows(sql)]


def digest(text: str) -> bytes:
    """What stands for a key or an id in an index, whatever its length."""
    return blake2b(text.encode(), digest_size=16).digest()


def columns(message: Outgoing) -> tuple[object, ...]:
    """The columns of a message that its publisher decides. Raises ValueError or TypeError if it cannot be kept."""
    line = None if message.key is None else digest(message.key)
    body = message.body
    return message.id.encode(), _encode(message.headers), body, len(body), 9 - message.priority, line
