"""A small database with transactions: committed queues in a dict, and a copy of it for each transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from tasuki.contracts.driver import (
    Depth,
    Move,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.toolkit.database import rules
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError, Outcome, QueueNotFoundError
from tasuki.message import Message


class NoTableError(Exception):
    pass


@dataclass
class Row:
    seq: int
    message: Outgoing
    due: float
    token: int | None = None
    is_held: bool = False
    failures: int = 0
    is_started: bool = False
    is_suspect: bool = False

    @property
    def receipt(self) -> Receipt:
        return self.seq, self.token

    def end(self) -> None:
        """As the end of its lease does."""
        self.is_held, self.is_suspect = False, True
        self.failures, self.is_started = self.failures + self.is_started, False


@dataclass
class Table:
    spec: QueueSpec
    rows: list[Row] = field(default_factory=list)
    keepers: set[str] = field(default_factory=set)


Tables = dict[str, Table]


class FakeLink:
    """Sees a copy of the tables, from its first statement to its commit; one transaction at a time has begun."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database
        self._tables: Tables | None = None
        self.is_alive = True
        self.was_closed = False

    async def tables(self) -> Tables:
        database = self._database
        if self._tables is None:
            await database.lock.acquire()
            self._tables = deepcopy(database.tables)
        database.statements += 1
        if database.gate is not None:
            await database.gate.wait()
        if not self.is_alive:
            raise ConnectionResetError("reset")
        database.fail("work")
        return self._tables if self._tables is not None else {}

    async def commit(self) -> None:
        database = self._database
        if self._tables is not None:
            database.tables = self._tables
        self._end()
        database.fail("commit")  # after it: the answer is lost

    async def rollback(self) -> None:
        self._end()
        self._database.rollbacks += 1
        self._database.fail("rollback")

    def abort(self) -> None:
        self._end()
        self.is_alive = False

    async def close(self) -> None:
        self.was_closed = True
        self.abort()

    def _end(self) -> None:
        if self._tables is not None:
            self._tables = None
            self._database.lock.release()


class FakeDatabase:
    """``problems``: what fails next, by the step: connect, work, commit, rollback."""

    pool_size = 3
    timeout = 5.0
    poll_interval = 0.2

    def __init__(self) -> None:
        self.tables: Tables = {}
        self.has_tables = True
        self.creations = self.statements = self.rollbacks = 0
        self.asked: list[list[str]] = []
        """The queues of each poll."""
        self.numbers = 0
        self.lock = asyncio.Lock()
        self.gate: asyncio.Event | None = None
        self.problems: dict[str, list[Exception]] = {}
        self.links: list[FakeLink] = []
        self.signs: dict[str, FakeLink] = {}

    def fail(self, step: str) -> None:
        if self.problems.get(step):
            raise self.problems[step].pop(0)

    async def connect(self) -> FakeLink:
        await asyncio.sleep(0)
        self.fail("connect")
        self.links.append(FakeLink(self))
        return self.links[-1]

    def store(self, link: FakeLink) -> FakeStore:
        return FakeStore(self, link)

    def encode(self, message: Outgoing) -> bytes:
        return message.id.encode()

    def translate(self, problem: BaseException, queue: str, outcome: Outcome) -> DriverError:
        kind = BrokerTimeoutError if isinstance(problem, TimeoutError) else BrokerUnavailableError
        return kind(f"fake: {problem!r}", driver="app:x", queue=queue, outcome=outcome)

    def has_no_tables(self, problem: BaseException | None) -> bool:
        return isinstance(problem, NoTableError)

    async def check(self, link: FakeLink) -> None:
        await link.tables()
        if not self.has_tables:
            raise NoTableError

    async def create(self, link: FakeLink) -> None:
        await link.tables()
        self.creations += 1
        self.has_tables = True

    def is_living(self, holder: str) -> bool:
        return holder in self.signs and self.signs[holder].is_alive


class FakeStore:
    def __init__(self, database: FakeDatabase, link: FakeLink) -> None:
        self._database = database
        self._link = link
        self._now = asyncio.get_running_loop().time()

    async def _all(self) -> Tables:
        tables = await self._link.tables()
        if not self._database.has_tables:
            raise NoTableError
        return tables

    async def _table(self, queue: str) -> Table:
        tables = await self._all()
        if queue not in tables:
            raise QueueNotFoundError(f"queue {queue!r} is not in the database", driver="app:x", queue=queue)
        for row in tables[queue].rows:
            if row.is_held and row.due <= self._now:
                row.end()
        return tables[queue]

    async def declare(self, spec: QueueSpec) -> None:
        (await self._all()).setdefault(spec.name, Table(spec)).spec = spec

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return replace((await self._table(spec.name)).spec, options=spec.options)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> int:
        table = await self._table(queue)
        room = float("inf") if table.spec.max_length is None else table.spec.max_length - len(table.rows)
        chosen, taken = rules.choose(batch, None, room)
        self._insert(table, chosen)
        return taken

    def _insert(self, table: Table, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            self._database.numbers += 1
            table.rows.append(Row(self._database.numbers, message, self._now + message.delay))

    async def claim(self, queue: str, limit: int, token: int) -> list[Received]:
        table = await self._table(queue)
        chosen = [row for row in table.rows if not row.is_held and row.due <= self._now][:limit]
        for row in chosen:
            row.token, row.is_held, row.due = token, True, self._now + table.spec.lease
        return [
            Received(row.message.id, row.message.body, {}, row.receipt, row.failures + 1, row.is_suspect)
            for row in chosen
        ]

    async def _held(self, queue: str, receipts: Collection[Receipt]) -> dict[Receipt, Row]:
        table = await self._table(queue)
        return {row.receipt: row for row in table.rows if row.token is not None and row.receipt in receipts}

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        held = await self._held(queue, batch)
        for row in held.values():
            row.is_started = True
        return [receipt for receipt in batch if receipt not in held]

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        held = await self._held(queue, [item.receipt for item in batch])
        settled = rules.settle(batch, held)
        for (is_nack, delay), receipts in settled.back.items():
            for row in (held[receipt] for receipt in receipts):
                row.failures += is_nack
                row.due, row.token, row.is_held, row.is_started = self._now + delay, None, False, False
        await self._drop(queue, settled.done)
        return settled.stale

    async def _drop(self, queue: str, receipts: Collection[Receipt]) -> None:
        table = await self._table(queue)
        table.rows = [row for row in table.rows if row.receipt not in receipts]

    async def let_go(self, queue: str, batch: Collection[Receipt]) -> None:
        for row in (await self._held(queue, batch)).values():
            row.end()
            row.due = self._now

    async def move(self, queue: str, to: str, moves: Sequence[Move]) -> Sequence[int]:
        held = await self._held(queue, [move.receipt for move in moves])
        moved = rules.move(moves, held, None, float("inf"), is_same=queue == to)
        await self._drop(queue, moved.ended)
        self._insert(await self._table(to), moved.stored)
        return moved.outcomes

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        held = await self._held(queue, batch)
        for row in held.values():
            row.is_held, row.due = True, self._now + lease
        return [receipt for receipt in batch if receipt not in held]

    async def depth(self, queue: str) -> Depth:
        table = await self._table(queue)
        ready = [row for row in table.rows if not row.is_held and row.due <= self._now]
        held = [row for row in table.rows if row.is_held]
        return Depth(len(ready), len(held), len(table.rows) - len(ready) - len(held), None)

    async def occupancy(self, queue: str) -> Occupancy:
        depth = await self.depth(queue)
        return Occupancy(depth.ready > 0, depth.message_count > depth.ready)

    async def peek(self, queue: str, limit: int, after: int) -> list[Message]:
        rows = [row for row in (await self._table(queue)).rows if not row.is_held]
        return [Message(row.message.id, row.message.body, {}) for row in rows[after : after + limit]]

    async def extent(self, queue: str) -> int:
        return max((row.seq for row in (await self._table(queue)).rows), default=0)

    async def purge(self, queue: str, extent: Any) -> int:
        return await self._remove(queue, [row.seq for row in (await self._table(queue)).rows if row.seq <= extent][:2])

    async def search(self, queue: str, ids: Collection[str]) -> Sequence[int]:
        return [row.seq for row in (await self._table(queue)).rows if row.message.id in ids]

    async def remove(self, queue: str, found: Sequence[Any]) -> int:
        return await self._remove(queue, found)

    async def _remove(self, queue: str, seqs: Collection[int]) -> int:
        table = await self._table(queue)
        before = len(table.rows)
        table.rows = [row for row in table.rows if row.is_held or row.seq not in seqs]
        return before - len(table.rows)

    async def delete(self, queue: str, *, is_unused: bool) -> bool:
        table, tables = await self._table(queue), await self._all()
        if is_unused and queue not in await self.unused():
            return False
        if table.rows:
            table.rows.pop()
            return True
        del tables[queue]
        return False

    async def news(self, queues: Collection[str]) -> Collection[str]:
        self._database.asked.append(sorted(queues))
        here = [queue for queue in queues if queue in await self._all()]
        return [queue for queue in here if (await self.occupancy(queue)).ready]

    async def give_sign(self, holder: str) -> bool:
        self._database.signs[holder] = self._link
        return True

    async def keep(self, queue: str, holder: str, *, is_kept: bool) -> None:
        table = await self._table(queue)
        (table.keepers.add if is_kept else table.keepers.discard)(holder)

    async def unused(self) -> Collection[str]:
        tables = await self._all()
        return [
            queue
            for queue, table in tables.items()
            if table.spec.temporary and not any(map(self._database.is_living, table.keepers))
        ]
