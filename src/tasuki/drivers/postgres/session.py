"""Session: what there is between an open and a close: connections, who waits, what is held."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from tasuki.contracts.driver import Nack, QueueSpec, Receipt
from tasuki.drivers.postgres import rows
from tasuki.drivers.postgres.bell import Bell
from tasuki.drivers.postgres.connections import Connector, Link
from tasuki.drivers.postgres.listener import Listener
from tasuki.drivers.postgres.pool import NotConnectedError, Pool
from tasuki.drivers.postgres.problems import translated
from tasuki.drivers.postgres.schema import migrate
from tasuki.drivers.postgres.sideline import Sideline
from tasuki.drivers.postgres.temporary import Temporary
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError

MIGRATION_TIMEOUT = 120.0
"""Seconds that making the tables may take, the wait for other processes included."""
CLOSE_TIMEOUT = 3.0
"""Seconds for giving back what is held; then it comes back by its lease."""
AT_ONCE = 1000
"""Deliveries given back by one statement, whose work grows faster than their number."""

CLAIM = "SELECT seq, token, attempt, id, headers, body, due_in, registered FROM {}.claim($1, $2, $3, $4, $5)"
SETTLE = "SELECT {}.settle($1, $2, $3, $4, $5)"

T = TypeVar("T")


class Session:
    """For the event loop that opens it. Every verb runs in a task of its own, which a cancelled caller leaves alone."""

    def __init__(
        self,
        name: str,
        *,
        where: str,
        schema: str,
        pool_size: int,
        timeout: float,
        connector: Connector,
        listening: Connector,
        consumers: Mapping[str, int],
    ) -> None:
        self._name = name
        self._where = where
        self._schema = schema
        self._timeout = timeout
        self._connector = connector
        self._listening = listening
        self._consumers = consumers
        self.holder = secrets.randbits(63)
        self.pid = os.getpid()
        self.loop = asyncio.get_running_loop()
        self.bell = Bell()
        self._pool = Pool(connector.open, pool_size, timeout)
        self._sideline = Sideline(lambda: Pool(connector.open, 1, timeout))
        self._listener: Listener | None = None
        self._channels: dict[str, str] = {}
        self._temporary = Temporary()
        self._temporary_names: set[str] = set()
        self._held: defaultdict[str, set[Receipt]] = defaultdict(set)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether its end has begun."""
        return self._closing is not None

    @property
    def is_usable(self) -> bool:
        """Whether it is open, in this process, with its loop alive."""
        return self._closing is None and self.pid == os.getpid() and not self.loop.is_closed()

    async def open(self, specs: Iterable[QueueSpec]) -> None:
        """Connect, bring the tables up to date, declare. Raises DriverError."""
        try:
            await self._pool.use(self._migrate)
        except Exception as problem:
            raise self._translated(problem, "") from problem
        for spec in specs:
            await self.declare(spec)
        self._listener = Listener(self._listening.open, self.bell, self._beat)
        for queue, consumers in self._consumers.items():
            await self.attach(queue, consumers)

    async def _migrate(self, link: Link) -> None:
        async with asyncio.timeout(MIGRATION_TIMEOUT):
            await migrate(link.connection, self._schema)

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist with these options."""
        sql = "SELECT {}.declare_queue($1, $2, $3, $4, $5, $6)"
        options = spec.lease, spec.max_length, spec.ordering == "key", spec.dedup_window, spec.temporary
        found = await self.ask(spec.name, sql, spec.name, *options)
        self._channels[spec.name] = found[0][0]
        (self._temporary_names.add if spec.temporary else self._temporary_names.discard)(spec.name)

    async def attach(self, queue: str, consumers: int) -> None:
        """Note how many consumers of this driver receive from the queue."""
        await self.ask(queue, "SELECT {}.attach($1, $2, $3)", queue, self.holder, consumers)

    async def ask(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The rows of one statement, ``{}`` being the schema. Raises DriverError.

        A caller that is cancelled leaves the statement to its end: no connection is torn from the middle of it.
        """
        return await asyncio.shield(self.spawn(self.fetch(queue, sql, *arguments)))

    async def fetch(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The same for a caller that is never cancelled."""
        try:
            return await self._pool.fetch(sql.format(self._schema), *arguments)
        except Exception as problem:
            raise self._translated(problem, queue) from problem

    async def fetch_aside(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The same from another event loop than that of the session."""
        try:
            return await self._sideline.fetch(sql.format(self._schema), *arguments)
        except Exception as problem:
            raise self._translated(problem, queue) from problem

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something to its end, whoever is cancelled; ``close`` waits for it."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def hold(self, queue: str, receipts: Iterable[Receipt]) -> None:
        """Note deliveries, to be given back at the close."""
        self._held[queue].update(receipts)

    def forget(self, queue: str, receipts: Iterable[Receipt]) -> None:
        """They are held no more."""
        self._held[queue].difference_update(receipts)

    def forget_all(self, queue: str) -> None:
        """The queue was removed."""
        self._held.pop(queue, None)
        self._channels.pop(queue, None)
        self._temporary_names.discard(queue)
        self.bell.ring(queue)

    def hears(self, queue: str) -> bool:
        """Whether new messages of the queue are heard of."""
        return self._listener is not None and self._listener.hears(queue)

    def listen(self, queue: str) -> None:
        """Hear of new messages of the queue from now on, if that is possible."""
        channel = self._channels.get(queue)
        if self._listener is not None and channel is not None:  # a deletion may have begun or ended meanwhile
            self._listener.want(queue, channel)

    async def close(self) -> None:
        """Give back what is held, and let go of everything. Idempotent."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.bell.ring_all()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_TIMEOUT)
        if self._listener is not None:
            await self._listener.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for queue, receipts in list(self._held.items()):
                    held = sorted(receipts)
                    for start in range(0, len(held), AT_ONCE):
                        columns, _ = rows.settling([Nack(receipt) for receipt in held[start : start + AT_ONCE]])
                        await self.fetch(queue, SETTLE, queue, *columns)
                await self.fetch("", "SELECT {}.leave($1)", self.holder)
        except (DriverError, TimeoutError):
            pass  # the leases give it back
        await self._sideline.close()
        await self._pool.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _beat(self, link: Link | None) -> None:
        async def ask(sql: str, *arguments: Any) -> list[Any]:
            return await (self._pool if link is None else link).fetch(sql.format(self._schema), *arguments)

        pid = None if link is None else link.connection.get_server_pid()
        found = await ask("SELECT {}.beat($1, $2)", self.holder, pid)
        if not found[0][0]:
            for queue, consumers in list(self._consumers.items()):
                with suppress(QueueNotFoundError):  # whoever receives from it hears of that
                    await self.attach(queue, consumers)
        here = [queue for queue, consumers in self._consumers.items() if consumers]
        await self._temporary.beat(ask, self._temporary_names.intersection(here))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever wanted to know has been told

    def _translated(self, problem: Exception, queue: str) -> DriverError:
        if isinstance(problem, NotConnectedError):
            return translated(problem.problem, self._where, self._name, queue, sent=False)
        if self.is_closing and not isinstance(problem, DriverError):
            text = f"driver {self._name!r} was closed meanwhile"
            return BrokerUnavailableError(text, driver=self._name, queue=queue, outcome="unknown")
        return translated(problem, self._where, self._name, queue, sent=True)
