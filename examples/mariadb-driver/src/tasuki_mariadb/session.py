"""Session: the state of a driver between an open and a close: transactions, open deliveries, waiting receives."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from tasuki.contracts.driver import Ack, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.toolkit.guard import HeldReceipts, KnownQueues
from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.system.tasks import Tasks
from tasuki_mariadb.database import MariaDb
from tasuki_mariadb.polling import MariaDbPolling
from tasuki_mariadb.store import MariaDbStore
from tasuki_mariadb.transactions import Transactions

MIGRATION_TIMEOUT = 120.0
"""Seconds that making the tables may take, the wait for other processes included."""
CLOSE_TIMEOUT = 3.0
"""Seconds for releasing held messages; after that they return when their leases end."""

T = TypeVar("T")
Work = Callable[[MariaDbStore], Awaitable[T]]


class MariaDbSession:
    """For the event loop that opens it. Every verb runs in its own task, which a cancelled caller leaves alone."""

    def __init__(self, driver: str, database: MariaDb, known: KnownQueues[QueueSpec]) -> None:
        self._database = database
        self._known = known
        self._connected = partial(
            Transactions, driver, database.connect, timeout=database.timeout, translate=database.translate
        )
        self._transactions: Transactions = self._connected(size=database.pool_size)
        self._leases: LeaseThread[Transactions] = LeaseThread(driver, lambda: self._connected(size=1))
        self._tasks = Tasks()
        self._closing: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.polling = MariaDbPolling(database, self._connected(size=1), known, self._remove_unused)
        self.held: HeldReceipts[QueueSpec] = HeldReceipts()

    @property
    def is_usable(self) -> bool:
        """Whether it is open, with its loop alive."""
        return self._closing is None and not self.loop.is_closed()

    async def open(self) -> None:
        """Connect, and declare the declared queues; their tables are made if they are missing. Raises DriverError."""
        try:
            await self._transactions.run(self._database.check)
        except DriverError as error:
            if not self._database.has_no_tables(error.__cause__):
                raise
        for spec in self._known.declared():
            await self.declare(spec)
        self.polling.start()

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist with these options, and the tables if they are missing."""
        try:
            await self.run(spec.name, lambda store: store.declare(spec))
        except DriverError as error:
            if not self._database.has_no_tables(error.__cause__):
                raise
            await self._tasks.run(self._transactions.run(self._database.create, timeout=MIGRATION_TIMEOUT))
            await self.run(spec.name, lambda store: store.declare(spec))
        if spec.temporary:
            await self.keep(spec.name)

    async def keep(self, queue: str) -> None:
        """Note whether this process keeps a temporary queue."""
        await self._tasks.run(self.polling.keep(queue))

    async def run(self, queue: str, work: Work[T]) -> T:
        """A transaction, carried out to its end also if the caller is cancelled. Raises DriverError."""
        return await self._tasks.run(self._transact(self._transactions, queue, work))

    async def run_aside(self, queue: str, work: Work[T]) -> T:
        """The same from another event loop than the session's, on its own thread."""
        return await self._leases.run(lambda transactions: self._transact(transactions, queue, work))

    async def _transact(self, transactions: Transactions, queue: str, work: Work[T]) -> T:
        return await transactions.run(lambda link: work(self._database.store(link)), queue=queue)

    async def claim(self, spec: QueueSpec, limit: int) -> list[Received]:
        """Take messages; if the caller is cancelled, they are released."""
        return await self._tasks.run(self._claim(spec, limit), unwanted=partial(self._release, spec))

    async def _claim(self, spec: QueueSpec, limit: int) -> list[Received]:
        token, queue = secrets.randbits(63), spec.name
        taken = await self._transact(self._transactions, queue, lambda store: store.claim(queue, limit, token))
        self.held.hold(queue, spec, [delivery.receipt for delivery in taken])
        return taken

    def _release(self, spec: QueueSpec, taken: Sequence[Received]) -> None:
        if taken and self.is_usable:  # else the close releases them
            self._tasks.start(self._settle(spec, [Release(delivery.receipt) for delivery in taken]))

    async def settle(self, spec: QueueSpec, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; returns the stale receipts."""
        return await self._tasks.run(self._settle(spec, batch))

    async def _settle(self, spec: QueueSpec, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        queue = spec.name
        stale = await self._transact(self._transactions, queue, lambda store: store.settle(queue, batch))
        self.held.forget(queue, [item.receipt for item in batch])
        if spec.ordering == "key" or not all(isinstance(item, Ack) for item in batch):
            self.polling.wake(queue)  # a message came back, or another one of its key is in front
        return stale

    async def delete(self, queue: str) -> None:
        """Remove a queue with all that it has, in several transactions."""
        await self._tasks.run(self._delete(queue, is_unused=False))

    async def _remove_unused(self, queue: str) -> None:
        with suppress(QueueNotFoundError):  # another process was faster
            await self._tasks.run(self._delete(queue, is_unused=True))

    async def _delete(self, queue: str, *, is_unused: bool) -> None:
        def delete(store: MariaDbStore) -> Awaitable[bool]:
            return store.delete(queue, is_unused=is_unused)

        while await self._transact(self._transactions, queue, delete):
            pass

    async def close(self) -> None:
        """Release the held messages, and end everything. Idempotent."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.polling.forget_all()
        await self.polling.close()
        await self._tasks.wait(CLOSE_TIMEOUT)
        with suppress(DriverError, TimeoutError):  # then the leases end later
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._let_go()
        await self._leases.close()
        await self._transactions.close()
        await self._tasks.wait()

    async def _let_go(self) -> None:
        for queue, _, receipts in self.held.all():
            with suppress(QueueNotFoundError):  # it was deleted
                await self._transact(self._transactions, queue, partial(_let_go, queue, receipts))


async def _let_go(queue: str, receipts: Sequence[Receipt], store: MariaDbStore) -> None:
    await store.let_go(queue, receipts)
