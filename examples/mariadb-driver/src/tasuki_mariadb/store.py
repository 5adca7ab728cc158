"""What the verbs do to the tables, inside a transaction that the pool opens and commits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from tasuki.contracts.driver import (
    Ack,
    Depth,
    Move,
    Nack,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.toolkit.moves import FULL, STALE
from tasuki.errors import QueueNotFoundError
from tasuki.message import Message
from tasuki_mariadb import rules
from tasuki_mariadb.connecting import Again, Link
from tasuki_mariadb.rules import BEHIND, DELAYED, HELD, READY, Queue

SURFACED = 300
"""Most messages made receivable in one transaction."""
PURGED = 2000
"""Messages removed in one transaction."""
MAX_STATEMENT = rules.MAX_BODY
"""Bytes of bodies after which the rest of a batch goes into another statement of the transaction."""

NOW = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS DOUBLE)"
OPTIONS = f"number, lease, max_length, by_key, dedup_window, temporary, {NOW}"
WAITS = f"NOT (state = {HELD} AND due > %s)"
IS_READY = f"(state = {READY} OR due <= %s)"
RESTING = f"state = IF(due > %s, {DELAYED}, {READY})"
# From left to right: each sees what those before it have set.
COUNT = "attempts = attempts + (token IS NOT NULL AND started), suspect = suspect OR token IS NOT NULL, started = FALSE"


class Store:
    """One transaction. ``alone``: names of queues whose transactions run one after the other, shared by all."""

    def __init__(self, link: Link, prefix: str, driver: str, alone: set[str]) -> None:
        self._link = link
        self._prefix = prefix
        self._driver = driver
        self._alone = alone

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement; ``{}`` is the prefix of the tables."""
        return await self._link.rows(sql.replace("{}", self._prefix), *arguments)

    async def queue(self, name: str, *, alone: bool = False, lock: bool = True) -> Queue:
        """A queue, locked until the commit: shared with others, or alone, as its options need it."""
        alone = alone or name in self._alone
        how = ("FOR UPDATE" if alone else "LOCK IN SHARE MODE") if lock else ""
        found = await self.rows(f"SELECT {OPTIONS} FROM {{}}_queues WHERE name = %s {how}", name.encode())
        if not found:
            problem = f"queue {name!r} is not in the database; declare it"
            raise QueueNotFoundError(problem, driver=self._driver, queue=name)
        queue = Queue(*found[0])
        if lock and queue.is_strict and not alone:
            self._alone.add(name)
            raise Again
        if not queue.is_strict:
            self._alone.discard(name)
        return queue

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue, or give it these options."""
        name, by_key = spec.name.encode(), spec.ordering == "key"
        options = (spec.lease, spec.max_length, by_key, spec.dedup_window, spec.temporary)
        try:
            queue = await self.queue(spec.name, alone=True)
        except QueueNotFoundError:
            sql = (
                "INSERT INTO {}_queues (name, lease, max_length, by_key, dedup_window, temporary) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE lease = lease"
            )
            await self.rows(sql, name, *options)
            queue = await self.queue(spec.name, alone=True)  # which another process may have made, with other options
        if tuple(queue[1:6]) == options:
            return
        sql = "lease = %s, max_length = %s, by_key = %s, dedup_window = %s, temporary = %s WHERE name = %s"
        await self.rows(f"UPDATE {{}}_queues SET {sql}", *options, name)
        if by_key and not queue.by_key:
            sql = f"state = {BEHIND} WHERE queue = %s AND line IS NOT NULL AND state IN ({READY}, {DELAYED})"
            await self.rows(f"UPDATE {{}}_messages SET {sql}", queue.number)
            await self._arrange(queue)
        elif queue.by_key and not by_key:
            sql = f"UPDATE {{}}_messages SET {RESTING} WHERE queue = %s AND state = {BEHIND}"
            await self.rows(sql, queue.now, queue.number)

    async def publish(self, name: str, batch: Sequence[Outgoing]) -> int:
        """Store the messages for which there is room; says how many, from the first on, are taken care of."""
        queue = await self.queue(name)
        known, room = await self._known(queue, batch), await self._room(queue)
        chosen, taken = rules.choose(batch, known, room)
        await self._insert(queue, chosen)
        return taken

    async def _known(self, queue: Queue, batch: Iterable[Outgoing]) -> set[bytes] | None:
        if queue.dedup_window is None:
            return None
        ids = [rules.digest(message.id) for message in batch if message.deduplicate] or [b""]
        sql = "SELECT id FROM {}_ids WHERE queue = %s AND id IN %s AND published_at > %s"
        return {row[0] for row in await self.rows(sql, queue.number, ids, queue.now - queue.dedup_window)}

    async def _room(self, queue: Queue) -> float:
        if queue.max_length is None:
            return float("inf")
        count = await self.rows("SELECT COUNT(*) FROM {}_messages WHERE queue = %s", queue.number)
        return float(queue.max_length - count[0][0])

    async def _insert(self, queue: Queue, messages: Sequence[Outgoing]) -> None:
        columns = "(queue, id, headers, body, size, place, line, state, due, published_at)"
        rest = [rules.row(queue, message) for message in messages]
        while rest:
            part = rest[: len(rules.within(((0, len(row[3])) for row in rest), MAX_STATEMENT))]  # type: ignore[arg-type]
            rest = rest[len(part) :]
            values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"] * len(part))
            sql = f"INSERT INTO {{}}_messages {columns} VALUES {values}"
            await self.rows(sql, *(value for row in part for value in row))
        ids = [rules.digest(message.id) for message in messages if message.deduplicate]
        if queue.dedup_window is not None and ids:
            values = ", ".join(["(%s, %s, %s)"] * len(ids))
            sql = f"INSERT INTO {{}}_ids VALUES {values} ON DUPLICATE KEY UPDATE published_at = VALUES(published_at)"
            await self.rows(sql, *(value for id in ids for value in (queue.number, id, queue.now)))
            sql = "DELETE FROM {}_ids WHERE queue = %s AND published_at <= %s ORDER BY published_at LIMIT %s"
            await self.rows(sql, queue.number, queue.now - queue.dedup_window, 2 * len(ids) + 100)
        await self._arrange(queue, (rules.digest(message.key) for message in messages if message.key is not None))

    async def _arrange(self, queue: Queue, keys: Iterable[bytes | None] | None = None) -> None:
        """Let the first message of each key be the only one that can be received; None: of all keys."""
        wanted = None if keys is None else {key for key in keys if key is not None}
        if not (queue.by_key or wanted is None) or wanted == set():
            return
        where = "queue = %s AND line IS NOT NULL" + " AND line IN %s" * (wanted is not None)
        arguments: tuple[Any, ...] = (queue.number,) if wanted is None else (queue.number, wanted)
        sql = f"SELECT seq, line, state FROM {{}}_messages WHERE {where} AND state <= {HELD}"
        found = await self.rows(sql, *arguments)
        if wanted is None:
            sql = "SELECT line, MIN(seq) FROM {}_messages WHERE queue = %s AND line IS NOT NULL GROUP BY line"
            heads = await self.rows(sql, queue.number)
        else:  # one seek a key: a GROUP BY of some keys reads all of their messages
            one = "(SELECT line, seq FROM {}_messages WHERE queue = %s AND line = %s ORDER BY seq LIMIT 1)"
            sought = (value for key in wanted for value in (queue.number, key))
            heads = await self.rows(" UNION ALL ".join([one] * len(wanted)), *sought)
        demoted, promoted = rules.fronts(found, dict(heads))
        if demoted:
            await self.rows(f"UPDATE {{}}_messages SET state = {BEHIND} WHERE seq IN %s", demoted)
        if promoted:
            await self.rows(f"UPDATE {{}}_messages SET {RESTING} WHERE seq IN %s", queue.now, promoted)

    async def _surface(self, queue: Queue) -> None:
        """Make messages receivable whose delay or lease has ended."""
        sql = (
            f"SELECT seq, line FROM {{}}_messages WHERE queue = %s AND state IN ({DELAYED}, {HELD}) AND due <= %s "
            "LIMIT %s FOR UPDATE SKIP LOCKED"
        )
        if due := await self.rows(sql, queue.number, queue.now, SURFACED):
            await self.rows(f"UPDATE {{}}_messages SET state = {READY} WHERE seq IN %s", [row[0] for row in due])
            await self._arrange(queue, (row[1] for row in due))

    async def claim(self, name: str, limit: int, token: int) -> list[Received]:
        """Hand out up to ``limit`` messages under the queue's lease."""
        queue = await self.queue(name)
        await self._surface(queue)
        sql = (
            f"SELECT seq, size FROM {{}}_messages WHERE queue = %s AND state = {READY} ORDER BY place, seq "
            "LIMIT %s FOR UPDATE SKIP LOCKED"
        )
        seqs = rules.within(await self.rows(sql, queue.number, limit), rules.MAX_CLAIM_BYTES)
        if not seqs:
            return []
        sql = f"UPDATE {{}}_messages SET {COUNT}, token = %s, state = {HELD}, due = %s WHERE seq IN %s"
        await self.rows(sql, token, queue.now + queue.lease, seqs)
        sql = "SELECT id, body, headers, seq, attempts, suspect FROM {}_messages WHERE seq IN %s ORDER BY place, seq"
        return [
            Received(id.decode(), body, rules.decode(headers), (seq, token), attempts + 1, bool(suspect))
            for id, body, headers, seq, attempts, suspect in await self.rows(sql, seqs)
        ]

    async def _held(self, queue: Queue, receipts: Iterable[Receipt], last: int = BEHIND) -> dict[Receipt, bytes | None]:
        """Which receipts can be settled, late or not, with the keys of their messages; their rows are locked.

        ``last``: the last state that a message may have.
        """
        seqs = [receipt[0] for receipt in receipts if rules.is_receipt(receipt)]
        if not seqs:
            return {}
        sql = (
            "SELECT seq, token, line FROM {}_messages FORCE INDEX (PRIMARY) WHERE seq IN %s AND queue = %s "
            "AND state <= %s ORDER BY seq FOR UPDATE"
        )
        return {(seq, token): line for seq, token, line in await self.rows(sql, seqs, queue.number, last)}

    async def settle(self, name: str, batch: Sequence[Settlement]) -> list[Receipt]:
        """End deliveries; returns the stale receipts."""
        queue = await self.queue(name)
        wanted = {item.receipt: item for item in reversed(batch)}
        held = {receipt: line for receipt, line in (await self._held(queue, wanted)).items() if receipt in wanted}
        groups: dict[tuple[bool, bool, float], list[int]] = {}
        for receipt in held:
            item = wanted[receipt]
            is_ack = isinstance(item, Ack)
            group = (is_ack, isinstance(item, Nack), 0.0 if is_ack else item.delay)  # type: ignore[union-attr]
            groups.setdefault(group, []).append(receipt[0])
        for (is_ack, is_nack, delay), seqs in groups.items():
            if is_ack:
                await self.rows("DELETE FROM {}_messages WHERE seq IN %s", seqs)
                continue
            state, failed = (DELAYED if delay > 0 else READY), "attempts = attempts + 1, suspect = FALSE," * is_nack
            sql = (
                f"UPDATE {{}}_messages SET {failed} started = FALSE, token = NULL, state = %s, due = %s WHERE seq IN %s"
            )
            await self.rows(sql, state, queue.now + delay, seqs)
        await self._arrange(queue, held.values())
        return [item.receipt for item in batch if item.receipt not in held or wanted[item.receipt] is not item]

    async def let_go(self, name: str, receipts: Collection[Receipt]) -> None:
        """End deliveries without a settlement, as the end of their lease would."""
        queue = await self.queue(name)
        held = {receipt: line for receipt, line in (await self._held(queue, receipts)).items() if receipt in receipts}
        if held:
            sql = f"UPDATE {{}}_messages SET {COUNT}, token = NULL, state = {READY}, due = %s WHERE seq IN %s"
            await self.rows(sql, queue.now, [seq for seq, _ in held])
            await self._arrange(queue, held.values())

    async def start(self, name: str, batch: Sequence[Receipt]) -> list[Receipt]:
        """Record that handlers begin; returns the stale receipts."""
        queue = await self.queue(name)
        return await self._mark(batch, await self._held(queue, batch), "started = TRUE")

    async def extend(self, name: str, batch: Sequence[Receipt], lease: float) -> list[Receipt]:
        """Set leases; returns the stale receipts."""
        queue = await self.queue(name)
        held = await self._held(queue, batch, HELD)  # behind its key it cannot be held again: another one may be
        return await self._mark(batch, held, f"state = {HELD}, due = %s", queue.now + lease)

    async def _mark(
        self, batch: Sequence[Receipt], held: Collection[Receipt], change: str, *arguments: float
    ) -> list[Receipt]:
        if seqs := [receipt[0] for receipt in batch if receipt in held]:
            await self.rows(f"UPDATE {{}}_messages SET {change} WHERE seq IN %s", *arguments, seqs)
        return [receipt for receipt in batch if receipt not in held]

    async def move(self, name: str, to: str, moves: Sequence[Move]) -> list[int]:
        """Ack and store, each move wholly or not at all; returns one outcome a move."""
        queues = {each: await self.queue(each) for each in sorted({name, to})}
        source, target = queues[name], queues[to]
        held = await self._held(source, [move.receipt for move in moves])
        known = await self._known(target, (message for move in moves for message in move.messages))
        room = await self._room(target)
        outcomes, stored, done = [], list[Outgoing](), list[Receipt]()
        for move in moves:
            if move.receipt not in held:
                outcomes.append(STALE)
                continue
            seen = None if known is None else set(known)
            chosen, taken = rules.choose(move.messages, seen, room + (source == target))
            outcomes.append(0 if taken == len(move.messages) else FULL)
            if not outcomes[-1]:
                known, room = seen, room - len(chosen) + (source == target)
                stored += chosen
                done.append(move.receipt)
        if done:
            await self.rows("DELETE FROM {}_messages WHERE seq IN %s", [receipt[0] for receipt in done])
            await self._arrange(source, (held[receipt] for receipt in done))
        await self._insert(target, stored)
        return outcomes

    async def depth(self, name: str) -> Depth:
        """Count the messages, and the consumers whose process is alive."""
        queue = await self.queue(name, lock=False)
        sql = f"""
            SELECT COALESCE(SUM({IS_READY}), 0), COALESCE(SUM(state = {HELD} AND due > %s), 0),
                COALESCE(SUM(state IN ({DELAYED}, {BEHIND}) AND due > %s), 0), MIN(IF({IS_READY}, published_at, NULL))
            FROM {{}}_messages WHERE queue = %s
        """
        ready, held, delayed, oldest = (await self.rows(sql, *[queue.now] * 4, queue.number))[0]
        sql = "SELECT COALESCE(SUM(count), 0) FROM {}_consumers WHERE queue = %s AND IS_USED_LOCK(holder) IS NOT NULL"
        consumers = (await self.rows(sql, queue.number))[0][0]
        age = None if oldest is None else max(queue.now - oldest, 0.0)
        return Depth(int(ready), int(held), int(delayed), age, int(consumers))

    async def occupancy(self, name: str) -> Occupancy:
        """Whether there are messages: one seek for each state."""
        queue = await self.queue(name, lock=False)
        have = "EXISTS (SELECT 1 FROM {}_messages WHERE queue = %s AND state = %s AND due {} %s)"
        ready = " OR ".join([have.replace("due {}", "due <=")] * 4)
        hidden = " OR ".join([have.replace("due {}", "due >")] * 3)
        states = [argument for state in range(4) for argument in (queue.number, state, queue.now)]
        states[2] = 1e300  # ready whatever the clock says
        found = (await self.rows(f"SELECT {ready}, {hidden}", *states, *states[3:]))[0]
        return Occupancy(bool(found[0]), bool(found[1]))

    async def news(self, names: Collection[str]) -> list[str]:
        """In which of these queues a receive would find something."""
        have = "EXISTS (SELECT 1 FROM {}_messages WHERE queue = number AND state = "
        news = f"{have} {READY}) OR {have} {DELAYED} AND due <= {NOW}) OR {have} {HELD} AND due <= {NOW})"
        sql = f"SELECT name FROM {{}}_queues WHERE name IN %s AND ({news})"
        return [row[0].decode() for row in await self.rows(sql, [name.encode() for name in names])] if names else []

    async def attach(self, name: str, holder: str, consumers: int) -> None:
        """Note the number, and forget the consumers of processes that are gone."""
        queue = await self.queue(name, alone=True)
        sql = "DELETE FROM {}_consumers WHERE queue = %s AND (holder = %s OR IS_USED_LOCK(holder) IS NULL)"
        await self.rows(sql, queue.number, holder)
        if consumers:
            await self.rows("INSERT INTO {}_consumers VALUES (%s, %s, %s)", queue.number, holder, consumers)

    async def peek(self, name: str, limit: int, after: int) -> list[Message]:
        """Waiting messages: receivable ones in order, then delayed ones by their time."""
        queue = await self.queue(name, lock=False)
        order = f"NOT {IS_READY}, IF({IS_READY}, state = {BEHIND}, due), place, seq"
        sql = f"""
            SELECT id, body, headers FROM {{}}_messages JOIN (
                SELECT seq FROM {{}}_messages WHERE queue = %s AND {WAITS} ORDER BY {order} LIMIT %s OFFSET %s
            ) AS shown USING (seq) ORDER BY {order}
        """
        found = await self.rows(sql, queue.number, *[queue.now] * 3, limit, after, *[queue.now] * 2)
        return [Message(id.decode(), body, rules.decode(headers)) for id, body, headers in found]

    async def newest(self, name: str) -> tuple[int, list[int]]:
        """The newest message, and those that are held."""
        queue = await self.queue(name, alone=True)
        newest = await self.rows("SELECT COALESCE(MAX(seq), 0) FROM {}_messages WHERE queue = %s", queue.number)
        sql = f"SELECT seq FROM {{}}_messages WHERE queue = %s AND NOT {WAITS}"
        return int(newest[0][0]), [row[0] for row in await self.rows(sql, queue.number, queue.now)]

    async def purge(self, name: str, newest: int, spared: Sequence[int]) -> int:
        """Remove some that are not newer, not held and not spared; returns how many."""
        where = f"queue = %s AND {WAITS} AND seq <= %s AND seq NOT IN %s LIMIT {PURGED}"
        return await self._delete(name, where, newest, spared or [0])

    async def found(self, name: str, ids: Sequence[str]) -> list[int]:
        """The messages of these ids, held or not; locks nothing."""
        queue = await self.queue(name, lock=False)
        sql = "SELECT seq FROM {}_messages WHERE queue = %s AND id IN %s"
        return [row[0] for row in await self.rows(sql, queue.number, [id.encode("utf-8", "replace") for id in ids])]

    async def remove(self, name: str, seqs: Sequence[int]) -> int:
        """Remove these messages, but for held ones; returns how many."""
        return await self._delete(name, f"queue = %s AND {WAITS} AND seq IN %s", seqs)

    async def _delete(self, name: str, where: str, *arguments: Any) -> int:
        queue = await self.queue(name, alone=True)
        sql = f"DELETE FROM {{}}_messages WHERE {where} RETURNING line"
        gone = await self.rows(sql, queue.number, queue.now, *arguments)
        await self._arrange(queue, (row[0] for row in gone))
        return len(gone)

    async def delete(self, name: str, *, is_unused: bool) -> bool:
        """Remove some messages of a queue, and if none is left the queue; returns whether there may be more."""
        queue = await self.queue(name, alone=True)
        if is_unused and name not in await self.unused():
            return False
        for table in ("messages", "ids", "consumers"):
            sql = f"DELETE FROM {{}}_{table} WHERE queue = %s LIMIT {PURGED} RETURNING 1"
            if len(await self.rows(sql, queue.number)) == PURGED:
                return True
        await self.rows("DELETE FROM {}_queues WHERE number = %s", queue.number)
        return False

    async def unused(self) -> list[str]:
        """The temporary queues from which no living process receives."""
        sql = """
            SELECT name FROM {}_queues WHERE temporary AND NOT EXISTS (
                SELECT 1 FROM {}_consumers WHERE queue = number AND IS_USED_LOCK(holder) IS NOT NULL)
        """
        return [row[0].decode() for row in await self.rows(sql)]
