"""Transactions of callers: opened for a handler, and the verbs on a connection of any known client.

A connection's class says by its module which client it is, so that no unused client is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from tasuki.contracts.driver import Ack, Answers, Driver, Outgoing, QueueSpec, Receipt, Settlement
from tasuki.contracts.groups import settled_too_late
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.connections import LOCKED, STALE, Link, sql_state, translated
from tasuki.drivers.postgres.publishing import publish_in_parts
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.toolkit.given import behind_proxy, check_sqlalchemy, ended_within, opened_by
from tasuki.errors import ConflictError, DriverError, UnsupportedError
from tasuki.system import signals
from tasuki.system.tasks import OnFailure

KNOWN = "a connection of asyncpg or psycopg, or a connection or session of SQLAlchemy"

_IDLE = 0  # psycopg's TransactionStatus

PUBLISH = {
    "queue_name": "text",
    "ids": "text[]",
    "bodies": "bytea[]",
    "headers": "bytea[]",
    "ranks": "smallint[]",
    "keys": "text[]",
    "delays": "double precision[]",
    "always": "boolean[]",
    "within": "boolean",
}

UNIQUE = {
    "unique_keys": "text[]",
    "spans": "double precision[]",
    "acts": "smallint[]",
    "latests": "double precision[]",
}

LANES = {"lanes": "text[]"}

SETTLE = {
    "queue_name": "text",
    "seqs": "bigint[]",
    "tokens": "integer[]",
    "acts": "smallint[]",
    "delays": "double precision[]",
}

HOLD = {"queue_name": "text", "seqs": "bigint[]", "tokens": "integer[]"}

CLAIM = {"consumer_id": "text", "wanted": "text", "ttl": "double precision", "patience": "double precision"}

REMEMBER = {"consumer_id": "text", "wanted": "text", "what": "bytea"}
"""The arguments of functions of the schema, with their types."""


def _call(function: str, types: Mapping[str, str], style: str) -> str:
    """The statement; ``style``: of an argument with its number, name and type."""
    values = [style.format(number=number, name=name, type=types[name]) for number, name in enumerate(types, 1)]
    return f"SELECT {function}({', '.join(values)})"


async def call_on(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    """Call a function of the schema in the transaction of the connection; its answer.

    Returns without having waited where the connection is synchronous. Raises what the client raises, and
    UnsupportedError for a connection that is of no known client, or in no transaction.
    """
    client = client_of(connection)
    if client == "asyncpg":
        return await _on_asyncpg(connection, function, types, values)
    if client == "psycopg":
        return await _on_psycopg(connection, function, types, values)
    if client == "sqlalchemy":
        return await _on_sqlalchemy(connection, function, types, values)
    raise unknown(connection)


def unknown(connection: object) -> UnsupportedError:
    """The error for an object that is no connection of a known client."""
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    return UnsupportedError(f"cannot work in a transaction of a {name}: give {KNOWN}")


def client_of(connection: object) -> str:
    """``asyncpg``, ``psycopg`` or ``sqlalchemy``; empty: none of them."""
    packages = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    return next((name for name in ("asyncpg", "psycopg", "sqlalchemy") if name in packages), "")


async def check_begun(connection: Any) -> None:
    """Raise UnsupportedError unless a connection is of a known client, and in a transaction, or about to begin one."""
    client = client_of(connection)
    if client == "asyncpg" and hasattr(connection, "is_in_transaction"):
        _check_asyncpg(connection)
    elif client == "psycopg" and hasattr(connection, "autocommit"):
        _check_psycopg(connection)
    elif client == "sqlalchemy" and hasattr(connection, "in_transaction"):
        check_sqlalchemy(connection)
        if await _is_autocommit(connection):
            raise _no_transaction("its isolation level is AUTOCOMMIT, which commits each statement: give another")
    else:
        raise unknown(connection)


async def _is_autocommit(connection: Any) -> bool:
    """Whether the connection of the database commits each statement by itself."""
    if hasattr(connection, "get_raw_connection"):
        found = await connection.get_raw_connection()
    elif callable(connection.connection):  # of a session
        return await _is_autocommit(await result_of(connection.connection()))
    else:
        found = connection.connection
    return bool(getattr(found.dbapi_connection, "autocommit", False))


def _check_asyncpg(connection: Any) -> None:
    if not connection.is_in_transaction():
        raise _no_transaction("async with connection.transaction()")


def _check_psycopg(connection: Any) -> None:
    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise _no_transaction("with connection.transaction()")


async def _on_asyncpg(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    _check_asyncpg(connection)
    return await connection.fetchval(_call(function, types, "${number}"), *values)


async def _on_psycopg(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    from psycopg.rows import tuple_row

    _check_psycopg(connection)
    cursor = connection.cursor(row_factory=tuple_row)
    try:
        await result_of(cursor.execute(_call(function, types, "%s::{type}"), values))
        row = await result_of(cursor.fetchone())
    finally:
        await result_of(cursor.close())
    return row[0]


async def _on_sqlalchemy(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    from sqlalchemy import text

    named = dict(zip(types, values, strict=True))
    result = await result_of(connection.execute(text(_call(function, types, "CAST(:{name} AS {type})")), named))
    return result.scalar_one()


async def result_of(value: Any) -> Any:
    """What a client returned, awaited if it is an asynchronous one."""
    return await value if inspect.isawaitable(value) else value


def _no_transaction(remedy: str) -> UnsupportedError:
    return UnsupportedError(f"the connection is in no transaction, so there is nothing to work in: {remedy}")


PATIENCE = 60
"""Seconds that a transaction on a connection of the driver's own may be idle, and each of its statements may take."""

_SPARE = 5
"""Most connections of each kind that are kept for the next transaction."""

_LIMITS = (
    f"SET LOCAL idle_in_transaction_session_timeout = '{PATIENCE}s'; SET LOCAL statement_timeout = '{PATIENCE}s'; "
    f"SET LOCAL lock_timeout = '{PATIENCE // 2}s'"
)


class Opening:
    """Of one driver.

    Args:
        driver: its name, for errors.
        where: the address as it may be shown.
        connect: makes a connection of asyncpg.
        sync_url: the address for psycopg; None: psycopg has no option for the driver's ``tls``.
        timeout: seconds within which a connection must be made, begin, and roll back.
    """

    def __init__(
        self, driver: str, where: str, connect: Callable[[], Awaitable[Link]], sync_url: str | None, timeout: float
    ) -> None:
        self._driver = driver
        self._where = where
        self._connect = connect
        self._sync_url = sync_url
        self._timeout = timeout
        self._spare: list[Any] = []
        self._sync_spare: list[Any] = []
        self._lent: set[int] = set()
        """Connections of both kinds that a transaction uses, by identity."""
        self._owner: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._forks = signals.fork_count
        self._inherited: list[list[Any]] = []

    async def close(self) -> None:
        """Close the connections that no transaction uses. Those in use are closed by their transactions' ends."""
        spare, self._spare = self._spare, []
        sync, self._sync_spare = self._sync_spare, []
        for connection in spare:
            with suppress(Exception):
                await connection.close(timeout=1.0)
        for connection in sync:
            with suppress(Exception):
                connection.close()

    def is_own(self, connection: Any) -> bool:
        """Whether a connection is one of the driver's own, in a transaction."""
        return id(connection) in self._lent

    @asynccontextmanager
    async def transaction(self, connection: Any, *, sync: bool) -> AsyncIterator[Any]:
        """See ``Driver.transaction``."""
        if connection is None:
            block = self._own_sync() if sync else self._own()
        elif callable(connection):
            block = _opened_by(connection)
        else:
            block = _given(connection)
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(block)
                if connection is None:
                    self._lent.add(id(opened))
                    stack.callback(self._lent.discard, id(opened))
            except DriverError:
                raise
            except Exception as problem:
                found = translated(problem, "of the caller", self._driver, "", sent=False)
                if found.retryable:  # away, or no connection is free
                    raise found from problem
                raise
            yield opened

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[Any]:
        try:
            connection, transaction = await self._begun()
        except DriverError:
            raise
        except Exception as problem:
            raise translated(problem, self._where, self._driver, "", sent=False) from problem
        spare, is_over = self._spare, False
        try:
            try:
                yield connection
            except BaseException:
                with suppress(Exception):  # then the connection is dropped, which rolls back as well
                    async with asyncio.timeout(self._timeout):
                        await transaction.rollback()
                    is_over = True
                raise
            try:
                async with asyncio.timeout(PATIENCE):
                    await transaction.commit()
            except DriverError:
                raise
            except Exception as problem:
                raise translated(problem, self._where, self._driver, "", sent=True) from problem
            is_over = True
        finally:
            if is_over and spare is self._spare and len(spare) < _SPARE and not connection.is_closed():
                spare.append(connection)
            else:
                connection.terminate()

    async def _begun(self) -> tuple[Any, Any]:
        """A connection, and its transaction. A spare connection may have ended unnoticed: then a new one is made."""
        self._let_go_of_others()
        while self._spare:
            connection = self._spare.pop()
            with suppress(Exception):
                return connection, await self._begin(connection)
        connection = (await self._connect()).connection
        return connection, await self._begin(connection)

    async def _begin(self, connection: Any) -> Any:
        with OnFailure(connection.terminate):
            async with asyncio.timeout(self._timeout):
                return await self._started(connection)

    @staticmethod
    async def _started(connection: Any) -> Any:
        transaction = connection.transaction(isolation="read_committed")
        await transaction.start()
        await connection.execute(_LIMITS)
        return transaction

    def _let_go_of_others(self) -> None:
        """Neither use nor end the connections of another event loop, or of the parent process of a forked child."""
        here = asyncio.get_running_loop(), signals.fork_count
        if self._owner != here:
            self._inherited.append(self._spare)
            self._spare, self._owner = [], here

    @asynccontextmanager
    async def _own_sync(self) -> AsyncIterator[Any]:
        try:
            connection = self._sync_taken()
        except DriverError:
            raise
        except Exception as problem:
            raise translated(problem, self._where, self._driver, "", sent=False) from problem
        spare, is_over = self._sync_spare, False
        try:
            with connection.transaction():
                connection.execute(_LIMITS)
                yield connection
            is_over = True
        finally:
            if is_over and spare is self._sync_spare and len(spare) < _SPARE and not connection.closed:
                spare.append(connection)
            else:
                connection.close()

    def _sync_taken(self) -> Any:
        if self._forks != signals.fork_count:
            self._inherited.append(self._sync_spare)
            self._sync_spare, self._forks = [], signals.fork_count
        spare = self._sync_spare
        while True:
            try:
                connection = spare.pop()  # of several threads
            except IndexError:
                break
            with suppress(Exception):  # it may have ended unnoticed
                connection.execute("SELECT")
                return connection
            connection.close()
        try:
            psycopg = importlib.import_module("psycopg")
        except ImportError as error:
            raise self._no_own("psycopg is not installed") from error
        if self._sync_url is None:
            raise self._no_own("psycopg has no option for the tls of the driver")
        # A lost connection is noticed by what it does not acknowledge; libpq has no limit for an answer.
        limits = {"connect_timeout": max(math.ceil(self._timeout), 2), "tcp_user_timeout": PATIENCE * 1000}
        connection = psycopg.connect(self._sync_url, autocommit=True, **limits)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # whatever is the default of the database
        return connection

    def _no_own(self, why: str) -> UnsupportedError:
        remedy = "give context.sync.transaction a connection of yours, or make the handler async"
        return UnsupportedError(f"driver {self._driver!r}: {why}: {remedy}", driver=self._driver)


@asynccontextmanager
async def _given(connection: Any) -> AsyncIterator[Any]:
    """Commit and roll back on a connection of the caller's."""
    client = client_of(connection)
    if client == "sqlalchemy" and hasattr(connection, "in_transaction"):
        async with _of_sqlalchemy(connection):
            yield connection
        return
    if client == "asyncpg" and hasattr(connection, "is_in_transaction"):
        is_open = connection.is_in_transaction()
    elif client == "psycopg" and hasattr(connection, "info"):
        is_open = connection.info.transaction_status != _IDLE
    else:
        raise unknown(connection)
    if is_open:
        raise UnsupportedError(
            "the connection is in a transaction already, which the handler's would only be a part of: give one that is "
            "in none, and let context.transaction begin and commit it"
        )
    async with opened_by(connection.transaction):
        yield connection


@asynccontextmanager
async def _of_sqlalchemy(connection: Any) -> AsyncIterator[None]:
    behind = behind_proxy(connection)
    if not connection.in_transaction():
        await result_of(connection.begin())
    await check_begun(connection)
    begun = behind.get_transaction()
    try:
        yield
        if behind.get_transaction() is not begun:
            raise ended_within()
    except BaseException:
        with suppress(Exception):  # then its connection is lost, which rolls back as well
            await result_of(connection.rollback())
        raise
    await result_of(connection.commit())


@asynccontextmanager
async def _opened_by(opener: Callable[[], Any]) -> AsyncIterator[Any]:
    async with opened_by(opener) as opened:
        await check_begun(opened)
        yield opened


_COLUMNS = 7
"""Columns that all messages have."""


class WithinPostgres(Driver):
    """Each verb is one statement, which calls one function of the schema."""

    _settings: PostgresSettings
    _schema: str
    _opening: Opening

    @abstractmethod
    def _open_session(self, queue: str) -> Session: ...
    @abstractmethod
    def _usable_session(self, queue: str) -> Session: ...
    @abstractmethod
    def _holding_session(self, queue: str) -> tuple[Session, QueueSpec]: ...

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Store them in the transaction of a connection of asyncpg, psycopg or SQLAlchemy."""
        self._open_session(queue)

        async def store(columns: tuple[Any, ...]) -> Any:
            is_unique, has_lanes = divmod(len(columns) - _COLUMNS, len(UNIQUE))
            types = {**PUBLISH, **(UNIQUE if is_unique else {}), **(LANES if has_lanes else {})}
            values = (queue, *columns[:_COLUMNS], True, *columns[_COLUMNS:])
            return await self._call(connection, queue, "publish_unique" if is_unique else "publish", types, *values)

        return await publish_in_parts(self.name, queue, batch, store, store)

    async def hold_within(self, connection: Any, queue: str, batch: Sequence[Receipt], *, settles: bool = True) -> None:
        """Lock the rows; not where a connection of the driver's own settles them: those are at READ COMMITTED.

        At REPEATABLE READ a row that a renewal of its lease has changed since could not be settled any more.
        """
        self._holding_session(queue)
        if settles and self._opening.is_own(connection):
            return
        acks = [Ack(receipt) for receipt in batch]
        columns, wanted = rows.settling(acks)
        if rows.stale(acks, wanted, ()):
            raise settled_too_late(self.name, queue)
        await self._call(connection, queue, "hold_within", HOLD, queue, *columns[:2])

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        """End deliveries in the transaction; the server refuses its commit after a stale receipt."""
        session, _ = self._holding_session(queue)
        if not batch:
            return
        columns, wanted = rows.settling(batch)
        await self._call(connection, queue, "settle_within", SETTLE, queue, *columns)
        if rows.stale(batch, wanted, ()):  # no receipt of ours, or twice in the batch: the server finds none either
            await self._call(connection, queue, "settle_within", SETTLE, queue, [-1], [-1], None, None)
        session.held.forget(queue, wanted)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        """Insert the row of the key, or wait for the transaction that has done so."""
        try:
            patience = self._settings.timeout / 2
            found: bytes | None = await self._call(connection, "", "claim", CLAIM, consumer, key, ttl, patience)
        except Exception as error:
            if sql_state(error.__cause__ or error) != LOCKED:
                raise
            problem = f"key {key!r} of consumer {consumer!r} is claimed by another transaction that stays open"
            raise ConflictError(problem, driver=self.name) from error
        return None if found is None else bytes(found)

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        """Update the row of the key."""
        await self._call(connection, "", "remember", REMEMBER, consumer, key, result)

    async def _call(self, connection: Any, queue: str, function: str, types: Mapping[str, str], *values: Any) -> Any:
        try:
            return await call_on(connection, f"{self._schema}.{function}", types, values)
        except DriverError:
            raise
        except Exception as problem:
            if sql_state(problem) == STALE:
                raise settled_too_late(self.name, queue) from problem
            # Nothing was committed, and never will be: that is the caller's to do.
            raise translated(problem, "of the caller", self.name, queue, sent=False) from problem

    def transaction(self, connection: Any = None, *, sync: bool = False) -> AbstractAsyncContextManager[Any]:
        """On a connection of asyncpg, or psycopg for ``sync``; or on the caller's."""
        self._usable_session("")
        return self._opening.transaction(connection, sync=sync)
