"""Session: the connections of an open driver, its deliveries, and the poll for new messages."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tasuki.contracts.driver import Ack, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.toolkit.held import HeldReceipts
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.drivers.toolkit.lease_thread import LeaseThread
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki_mariadb.connecting import NO_TABLE, Connector, Link, Pool, code_of
from tasuki_mariadb.schema import check, migrate
from tasuki_mariadb.settings import MariaDbSettings
from tasuki_mariadb.store import Store

MIGRATION_TIMEOUT = 120.0
"""Seconds that making the tables may take, the wait for other processes included."""
CLOSE_TIMEOUT = 3.0
"""Seconds for returning held messages; after that their leases return them."""
IDLE_SHARE = 20
"""After a poll follows a pause of at least so many times its length."""
SWEEP_INTERVAL = 60.0
"""Seconds between two checks of temporary queues; one without a living consumer at both is removed."""

T = TypeVar("T")
Work = Callable[[Store], Awaitable[T]]


class Session:
    """For the event loop that opens it. Every verb runs in a task of its own, which a cancelled caller leaves alone."""

    def __init__(
        self, name: str, settings: MariaDbSettings, connector: Connector, known: KnownQueues[QueueSpec]
    ) -> None:
        self._name = name
        self._settings = settings
        self._known = known
        self._alone: set[str] = set()
        self._connector = connector
        self._pool = Pool(connector, name, settings.pool_size, settings.timeout)
        self._polling = Pool(connector, name, 1, settings.timeout)
        self._leases = LeaseThread(name, lambda: Pool(connector, name, 1, settings.timeout))
        self._holder = f"tasuki:{secrets.token_hex(16)}"
        self._present: Link | None = None
        self._swept_at, self._unused = 0.0, frozenset[str]()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.waiting: defaultdict[str, WaitList[bool]] = defaultdict(WaitList)
        self.held: HeldReceipts[QueueSpec] = HeldReceipts()
        self.flush_at_commit = 1
        self._poller: asyncio.Task[None] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether it is open, with its loop alive."""
        return self._closing is None and not self.loop.is_closed()

    async def open(self) -> None:
        """Connect, and declare the queues."""
        await self._pool.transact(self._learn)
        for spec in self._known.declared():
            await self.declare(spec)
        for queue in list(self._known.consumers):
            await self.attach(queue)
        self._poller = self.loop.create_task(self._poll_on(), name=f"tasuki polls of {self._name}")

    async def _learn(self, link: Link) -> None:
        self.flush_at_commit = link.flush_at_commit
        try:
            await check(link, self._settings.prefix, self._name)
        except Exception as problem:
            if code_of(problem) != NO_TABLE:
                raise

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist with these options, and the tables if they are missing."""
        try:
            await self.run(spec.name, lambda store: store.declare(spec))
        except DriverError as error:
            if code_of(error.__cause__) != NO_TABLE:
                raise
            prefix = self._settings.prefix
            await self._pool.transact(lambda link: migrate(link, prefix), timeout=MIGRATION_TIMEOUT)
            await self.run(spec.name, lambda store: store.declare(spec))

    async def attach(self, queue: str) -> None:
        """Note how many consumers of this process receive from the queue."""

        async def attach(link: Link) -> None:
            store = self._store(link)
            await self._be_present(link, store)
            await store.attach(queue, self._holder, self._known.consumers.get(queue, 0))

        await asyncio.shield(self.spawn(self._polling.transact(attach, queue=queue)))

    async def run(self, queue: str, work: Work[T]) -> T:
        """A transaction, carried out to its end also if the caller is cancelled. Raises DriverError."""
        return await asyncio.shield(self.spawn(self._transact(self._pool, queue, work)))

    async def run_aside(self, queue: str, work: Work[T]) -> T:
        """The same from another event loop than the session's."""
        return await self._leases.run(lambda pool: self._transact(pool, queue, work))

    async def _transact(self, pool: Pool, queue: str, work: Work[T]) -> T:
        return await pool.transact(lambda link: work(self._store(link)), queue=queue)

    def _store(self, link: Link) -> Store:
        return Store(link, self._settings.prefix, self._name, self._alone)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something to its end; ``close`` waits for it."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # every caller that waits has it

    async def claim(self, spec: QueueSpec, limit: int) -> list[Received]:
        """Take messages; those for a cancelled caller are released."""
        task = self.spawn(self._claim(spec, limit))
        is_taken = False
        try:
            taken = await asyncio.shield(task)
            is_taken = True
        finally:
            if not is_taken:
                task.add_done_callback(lambda task: self._release(spec.name, task))
        return taken

    async def _claim(self, spec: QueueSpec, limit: int) -> list[Received]:
        token, queue = secrets.randbits(63), spec.name
        taken = await self._transact(self._pool, queue, lambda store: store.claim(queue, limit, token))
        self.held.hold(queue, spec, [delivery.receipt for delivery in taken])
        return taken

    def _release(self, queue: str, task: asyncio.Task[list[Received]]) -> None:
        if self.is_usable and not task.cancelled() and task.exception() is None and task.result():
            self.spawn(self.settle(queue, [Release(delivery.receipt) for delivery in task.result()]))

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> list[Receipt]:
        """End deliveries; returns the stale receipts. For a caller that is never cancelled."""
        stale = await self._transact(self._pool, queue, lambda store: store.settle(queue, batch))
        self.held.forget(queue, (item.receipt for item in batch))
        if queue in self._alone or not all(isinstance(item, Ack) for item in batch):
            self.wake(queue)  # a message came back, or another one of its key is in front
        return stale

    def wake(self, queue: str) -> None:
        """Let a receive that waits here ask again."""
        if queue in self.waiting:
            self.waiting[queue].wake(True)

    def stop_waiting(self, queue: str) -> None:
        """Let all receives of the queue ask again, or end."""
        self.waiting.pop(queue, WaitList[bool]()).wake_all(True)

    async def _poll_on(self) -> None:
        while True:
            began_at = self.loop.time()
            try:
                if any(self.waiting.values()) or self._known.consumers:
                    for queue in await self._polling.transact(self._poll):
                        self.wake(queue)
                if began_at - self._swept_at > SWEEP_INTERVAL:
                    self._swept_at = began_at
                    await self._sweep()
            except DriverError:
                for queue in list(self.waiting):  # each receive asks for itself, and raises the error
                    self.stop_waiting(queue)
            await asyncio.sleep(max(self._settings.poll_interval, IDLE_SHARE * (self.loop.time() - began_at)))

    async def _poll(self, link: Link) -> list[str]:
        store = self._store(link)
        await self._be_present(link, store)
        return await store.news([queue for queue, waiting in self.waiting.items() if waiting])

    async def _sweep(self) -> None:
        before, self._unused = self._unused, frozenset(await self.run("", lambda store: store.unused()))
        for queue in before & self._unused:
            await self.delete(queue, is_unused=True)

    async def _be_present(self, link: Link, store: Store) -> None:
        """Hold the lock by which other processes see that this one lives, and note its consumers once more."""
        # The server may not have noticed yet that the connection before is gone: then the next poll gets the lock.
        if (
            self._known.consumers
            and link is not self._present
            and (await store.rows("SELECT GET_LOCK(%s, 0)", self._holder))[0][0]
        ):
            self._present = link
            for queue, consumers in list(self._known.consumers.items()):
                with suppress(QueueNotFoundError):  # its receives hear of that
                    await store.attach(queue, self._holder, consumers)

    async def delete(self, queue: str, *, is_unused: bool = False) -> None:
        """Remove a queue with all that it has, in several transactions; ``is_unused``: only as long as it is."""
        while await self._transact(self._pool, queue, lambda store: store.delete(queue, is_unused=is_unused)):
            pass

    async def close(self) -> None:
        """Return the held messages, and end everything. Idempotent."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for queue in list(self.waiting):
            self.stop_waiting(queue)
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait((self._poller,))
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_TIMEOUT)
        with suppress(DriverError, TimeoutError):  # else the leases return them
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for queue, _, receipts in self.held.all():
                    with suppress(QueueNotFoundError):
                        await self._transact(self._pool, queue, lambda store: store.let_go(queue, receipts))  # noqa: B023
        await self._leases.close()
        await self._polling.close()
        await self._pool.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
