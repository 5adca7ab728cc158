"""Polling: waiting receives, woken by the verbs of this process and by a poll; signs of life; unused queues."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki_mariadb.connecting import Link
from tasuki_mariadb.database import MariaDb
from tasuki_mariadb.store import MariaDbStore
from tasuki_mariadb.transactions import Transactions

IDLE_SHARE = 20
"""A poll is followed by a pause of at least this many times its length."""
SWEEP_INTERVAL = 60.0
"""Seconds between two checks of temporary queues; one that no living process keeps at both is removed."""


class MariaDbPolling:
    """Of one session, with its own connection, which is the sign of life of this process.

    ``remove_unused`` removes a temporary queue, if it is still unused.
    """

    def __init__(
        self,
        database: MariaDb,
        transactions: Transactions,
        known: KnownQueues[QueueSpec],
        remove_unused: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._known = known
        self._remove_unused = remove_unused
        self._holder = f"tasuki:{secrets.token_hex(16)}"
        self._sign: Link | None = None
        self._unused: frozenset[str] = frozenset()
        self._swept_at = 0.0
        self._waiting: defaultdict[str, WaitList[bool]] = defaultdict(WaitList)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to poll."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="poll the database")

    async def close(self) -> None:
        """End the poll, and the sign of life. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._transactions.close()

    def waiting(self, queue: str) -> WaitList[bool]:
        """The receives that wait for a message of the queue."""
        return self._waiting[queue]

    def wake(self, queue: str) -> None:
        """Let a receive that waits here ask again."""
        if queue in self._waiting:
            self._waiting[queue].wake(True)

    def forget(self, queue: str) -> None:
        """Let all receives of the queue ask again, or end."""
        self._waiting.pop(queue, WaitList[bool]()).wake_all(True)

    def forget_all(self) -> None:
        """The same for all queues."""
        for queue in list(self._waiting):
            self.forget(queue)

    async def keep(self, queue: str) -> None:
        """Note whether this process keeps a temporary queue. Raises DriverError."""

        async def keep(link: Link) -> None:
            store = self._database.store(link)
            await self._give_sign(link, store)
            await store.keep(queue, self._holder, is_kept=self._known.is_kept(queue))

        await self._transactions.run(keep, queue=queue)

    @property
    def _kept(self) -> list[str]:
        """The temporary queues of this process, in the order in which all processes lock them."""
        return sorted(spec.name for spec in self._known.declared() if spec.temporary and self._known.is_kept(spec.name))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            try:
                await self._check()
                if began_at - self._swept_at > SWEEP_INTERVAL:
                    self._swept_at = began_at
                    await self._sweep()
            except DriverError:
                self.forget_all()  # each receive asks for itself, and raises the error
            await asyncio.sleep(max(self._database.poll_interval, IDLE_SHARE * (loop.time() - began_at)))

    async def _check(self) -> None:
        """One statement for all queues that a receive waits for; none if there is nothing to ask or to say."""
        if any(self._waiting.values()) or self._kept:
            for queue in await self._transactions.run(self._news):
                self.wake(queue)

    async def _news(self, link: Link) -> list[str]:
        store = self._database.store(link)
        if self._kept:
            await self._give_sign(link, store)
        asked = [queue for queue, waiting in self._waiting.items() if waiting]
        return [*await store.news(asked)] if asked else []

    async def _give_sign(self, link: Link, store: MariaDbStore) -> None:
        if link is self._sign or not await store.give_sign(self._holder):
            return
        self._sign = link
        for queue in self._kept:
            with suppress(QueueNotFoundError):  # its receives raise that
                await store.keep(queue, self._holder, is_kept=True)

    async def _sweep(self) -> None:
        async def unused(link: Link) -> frozenset[str]:
            return frozenset(await self._database.store(link).unused())

        before, self._unused = self._unused, await self._transactions.run(unused)
        for queue in before & self._unused:
            await self._remove_unused(queue)
