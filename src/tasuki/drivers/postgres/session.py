"""Session: the driver's state between an open and a close: connections, waiting receives, held messages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tasuki.contracts.driver import QueueSpec, Receipt
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.connections import (
    MISSING,
    NO_QUEUE,
    VALUES,
    Connector,
    Link,
    UnreplicatedError,
    sql_state,
    translated,
)
from tasuki.drivers.postgres.schema.schema import Healing, check, complete
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.state.upkeep import StoreUpkeep
from tasuki.drivers.postgres.waiting import Listener, Waiting
from tasuki.drivers.toolkit.address import shown
from tasuki.drivers.toolkit.guard import HeldReceipts, KnownQueues
from tasuki.drivers.toolkit.reconnecting import NotConnectedError, Pool
from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError
from tasuki.system.tasks import Tasks

KEPT = 600.0
"""Seconds for which a temporary queue is kept without a sign: much longer than a living process says nothing."""

ROUNDS = 12
"""Looks at what may be removed, in that time, at most."""
KEEP = "SELECT {}.keep_queues($1, $2)"

SWEEP = "SELECT {}.sweep_queue($1, $2)"
Ask = Callable[..., Awaitable[list[Any]]]
"""A statement with ``{}`` for the schema, and its arguments → rows."""


class Temporary:
    """For one session; each call is part of its beat."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._suspects: frozenset[str] = frozenset()

    async def beat(self, ask: Ask, ours: Collection[str], found: Iterable[str]) -> None:
        """Keep ours; remove other processes' queues that were unused at the last check, and still are.

        ``found``: the queues that are without a sign now.
        """
        if ours:
            await ask(KEEP, sorted(ours), KEPT)
        now = asyncio.get_running_loop().time()
        if self._looked_at is not None and now - self._looked_at < KEPT / ROUNDS:
            return
        self._looked_at = now
        unused = frozenset(found)
        for name in sorted(unused & self._suspects):
            await ask(SWEEP, name, KEPT)
        self._suspects = unused


MIGRATION_TIMEOUT = 120.0
"""Seconds that making the tables may take, the wait for other processes included."""

CLOSE_TIMEOUT = 3.0
"""Seconds for releasing held messages; then they return when their lease ends."""

AT_ONCE = 1000
"""Deliveries released by one statement, whose work grows faster than their number."""
POLL = 0.25
"""Longest time in seconds between two checks of a process without LISTEN, if it waits alone."""
RECEIVE = (
    "SELECT seq, token, attempt, id, headers, body, suspect, check_in, registered "
    "FROM {}.receive($1, $2, $3, $4, $5, $6, $7, $8)"
)

# The settings first: the beat itself is not worth a flush, and says so to the server.
BEAT = f"SELECT {VALUES}, {{0}}.beat($1, $2), ARRAY(SELECT {{0}}.unused_queues($3))"

LOOK = "SELECT name, ready, check_in, registered FROM {}.check_queues($1, $2, $3, $4)"

DECLARE = "SELECT {}.declare_queue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

CHANGE_STEP = "SELECT {}.change_step($1)"

INSPECT = "SELECT to_jsonb(q) FROM {}.queues q WHERE name = $1"

SETTLE = "SELECT {}.settle($1, $2, $3, $4, $5, false)"

SETTLE_WITH_ERRORS = "SELECT {}.settle_with_errors($1, $2, $3, $4, $5, $6)"
T = TypeVar("T")


class Session:
    """For the event loop that opens it. Every verb runs in its own task, which a cancelled caller leaves alone."""

    def __init__(
        self,
        name: str,
        settings: PostgresSettings,
        connector: Connector,
        listening: Connector,
        known: KnownQueues[QueueSpec],
    ) -> None:
        self._name = name
        self._where = shown(settings.url.get_secret_value())
        self.schema = settings.schema_
        self._settings = settings
        self._connector = connector
        self._listening = listening
        self._known = known
        self.holder = secrets.randbits(63)
        self.loop = asyncio.get_running_loop()
        self.tasks = Tasks()
        """Work that goes on if its caller is cancelled; ``close`` waits for it."""
        self.waiting = Waiting(self._look, self._pass_on, self.tasks.start)
        self._pool = Pool(name, connector.open, settings.pool_size, settings.timeout)
        self._leases = LeaseThread(name, lambda: Pool(name, connector.open, 1, settings.timeout))
        self._listener: Listener | None = None
        self._temporary = Temporary()
        self._temporary_names: set[str] = set()
        self.held: HeldReceipts[QueueSpec] = HeldReceipts()
        self._healing = Healing(known, self._complete, self._declare, self.tasks.start)
        self.stores = StoreUpkeep(self.fetch, self.holder, lambda: self.hears)
        self._closing: asyncio.Task[None] | None = None
        self._is_whole = False
        """Whether the schema lacks nothing; see ``_complete_once``."""
        self._completing = asyncio.Lock()

    @property
    def is_closing(self) -> bool:
        """Whether its end has begun."""
        return self._closing is not None

    @property
    def is_usable(self) -> bool:
        """Whether it is open, with its loop alive."""
        return self._closing is None and not self.loop.is_closed()

    async def open(self) -> None:
        """Connect, make the tables if queues are declared, and declare them. Raises DriverError."""

        async def look(link: Link) -> None:
            async with asyncio.timeout(self._settings.timeout):
                self._is_whole = await check(link.connection, self.schema, self._name)

        try:
            await self._pool.use(look)
        except DriverError:
            raise
        except Exception as problem:
            raise self._translated(problem, "") from problem
        for spec in self._known.declared():
            await self.declare(spec)
        channels = {
            f"tasuki:{self.holder:x}": self.waiting.wake,
            f"tasuki:{self.schema}": self.waiting.stir,
            f"tasuki:{self.holder:x}:store": self.stores.notify,
        }
        self._listener = Listener(self._listening.open, channels, self._beat, self._refresh)

    async def _complete(self) -> None:
        async def work(link: Link) -> None:
            async with asyncio.timeout(MIGRATION_TIMEOUT):
                await complete(link.connection, self.schema, self._name)

        await self._pool.use(work)
        self._is_whole = True

    async def _complete_once(self) -> None:
        """Make what the schema lacks, once for all queues that are declared together."""
        async with self._completing:
            if not self._is_whole:
                await self._complete()

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist with these options."""
        if not self._is_whole:
            await self.run(spec.name, self._complete_once())
        ((is_changing,),) = await self.ask(spec.name, DECLARE, *_declaring(spec))
        self._declared(spec)
        if is_changing:
            await self._finish_change(spec.name)

    async def _finish_change(self, queue: str) -> None:
        """Move messages to their places under a changed ordering: in steps, for there may be any number."""
        goes_on = True
        while goes_on:
            ((goes_on,),) = await self.ask(queue, CHANGE_STEP, queue)

    async def _declare(self, spec: QueueSpec) -> None:
        await self._pool.run(lambda link: link.fetch(DECLARE.format(self.schema), *_declaring(spec)))
        self._declared(spec)

    def _declared(self, spec: QueueSpec) -> None:
        (self._temporary_names.add if spec.temporary else self._temporary_names.discard)(spec.name)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """The options in force; makes and changes nothing. Raises QueueNotFoundError."""
        found = await self.tasks.run(self._inspect(spec.name))
        if not found:
            problem = f"queue {spec.name!r} is not in PostgreSQL {self._where}; a worker or a publisher makes it"
            raise QueueNotFoundError(problem, driver=self._name, queue=spec.name)
        return rows.in_force(spec, found[0][0])

    async def _inspect(self, queue: str) -> list[Any]:
        try:
            return await self._pool.run(lambda link: link.fetch(INSPECT.format(self.schema), queue))
        except DriverError:
            raise
        except Exception as problem:
            if sql_state(problem) in MISSING:
                return []  # not even the tables are there
            raise self._translated(problem, queue) from problem

    async def ask(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The rows of one statement, ``{}`` being the schema. Raises DriverError.

        A caller that is cancelled leaves the statement to its end: no connection is torn from the middle of it.
        """
        return await self.tasks.run(self.fetch(queue, sql, *arguments))

    async def store(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The same for a publish, which is confirmed only if no promotion of a standby can undo it."""
        return await self.tasks.run(self._answer(queue, sql, arguments))

    async def fetch(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The same as ``ask`` for a caller that is never cancelled."""
        try:
            return await self._answer(queue, sql, arguments)
        except DriverError as error:
            if isinstance(error.__cause__, UnreplicatedError):
                return error.__cause__.rows  # a promotion may bring a message again, as any crash may
            raise

    async def _answer(self, queue: str, sql: str, arguments: Sequence[Any]) -> list[Any]:
        """The rows, or a DriverError. Dropped parts are made again, and the statement is sent again."""
        statement = sql.format(self.schema)
        try:
            try:
                return await self._pool.run(lambda link: link.fetch(statement, *arguments))
            except Exception as problem:
                if not await self._healing.mends(problem, queue):
                    raise
            return await self._pool.run(lambda link: link.fetch(statement, *arguments))
        except DriverError:
            raise
        except Exception as problem:
            raise self._translated(problem, queue) from problem

    async def fetch_aside(self, queue: str, sql: str, *arguments: Any) -> list[Any]:
        """The same from another event loop than the session's."""
        statement = sql.format(self.schema)
        try:
            return await self._leases.run(lambda pool: pool.run(lambda link: link.fetch(statement, *arguments)))
        except DriverError:
            raise
        except Exception as problem:
            raise self._translated(problem, queue) from problem

    async def run(self, queue: str, work: Coroutine[Any, Any, T]) -> T:
        """Run several statements to their end, even if the caller is cancelled. Raises DriverError."""
        return await self.tasks.run(self._told(queue, work))

    async def _told(self, queue: str, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except DriverError:
            raise
        except Exception as problem:
            raise self._translated(problem, queue) from problem

    def _refresh(self) -> None:
        self.waiting.refresh()
        self.stores.refresh()

    def forget_queue(self, queue: str) -> None:
        """The queue is not known any more; its open deliveries can still be settled, and a close releases them."""
        self._temporary_names.discard(queue)
        self.waiting.forget(queue)

    @property
    def hears(self) -> bool:
        """Whether the server can notify this process."""
        return self._listener is not None and self._listener.hears

    @property
    def pace(self) -> float:
        """Seconds between two checks of an empty queue, if this process waits there alone."""
        usual = self._settings.poll_interval
        return usual if self.hears else min(usual, POLL)

    def stored(self, queue: str) -> None:
        """This process has put something into the queue: wake its own receive, unless the server does it."""
        if not self.hears:
            self.waiting.stir(queue)

    async def _look(self, queues: list[str]) -> list[Any]:
        return await self.fetch("", LOOK, queues, self.holder, self.hears, self.pace)

    async def _pass_on(self, queue: str) -> None:
        with suppress(DriverError):  # another process finds the message when it looks
            await self.fetch(queue, "SELECT {}.pass_on($1)", queue)

    async def close(self) -> None:
        """Release held messages, and all connections. Idempotent."""
        if self._closing is None:
            self._closing = self.loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.waiting.wake_all()
        await self.stores.close()
        await self.tasks.wait(CLOSE_TIMEOUT)
        if self._listener is not None:
            await self._listener.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                for queue, _, receipts in self.held.all():
                    with suppress(QueueNotFoundError):  # it was deleted
                        await self._let_go(queue, sorted(receipts))
                await self.fetch("", "SELECT {}.leave($1)", self.holder)
        except (DriverError, TimeoutError):
            pass  # the leases give it back
        await self._leases.close()
        await self._pool.close()
        await self.tasks.wait()

    async def _let_go(self, queue: str, held: Sequence[Receipt]) -> None:
        for start in range(0, len(held), AT_ONCE):
            columns = rows.letting_go(held[start : start + AT_ONCE])
            await self.fetch(queue, SETTLE, queue, *columns)

    async def _beat(self, link: Link | None) -> None:
        async def ask(sql: str, *arguments: Any) -> list[Any]:
            statement = sql.format(self.schema)
            if link is not None:
                return await link.fetch(statement, *arguments)
            return await self._pool.run(lambda link: link.fetch(statement, *arguments))

        pid = None if link is None else link.connection.get_server_pid()
        settings, _, unused = (await ask(BEAT, self.holder, pid, KEPT))[0]
        self.learn(settings)
        ours = [name for name in self._temporary_names if self._known.is_kept(name)]
        await self._temporary.beat(ask, ours, unused)

    def learn(self, values: str) -> None:
        """What the commit of an answered statement survives."""
        self._connector.level.learn(values)

    def _translated(self, problem: Exception, queue: str) -> DriverError:
        if isinstance(problem, NotConnectedError):
            return translated(problem.problem, self._where, self._name, queue, sent=False)
        if self.is_closing and not isinstance(problem, DriverError) and sql_state(problem) != NO_QUEUE:
            text = f"driver {self._name!r} was closed meanwhile"
            return BrokerUnavailableError(text, driver=self._name, queue=queue, outcome="unknown")
        return translated(problem, self._where, self._name, queue, sent=True)


def _declaring(spec: QueueSpec) -> tuple[Any, ...]:
    """The arguments of ``DECLARE``."""
    by_key, commit = spec.ordering == "key", spec.options.get("synchronous_commit")
    return (
        *(spec.name, spec.lease, spec.max_length, by_key, spec.dedup_window, spec.temporary, commit),
        *rows.limit_columns(spec),
    )
