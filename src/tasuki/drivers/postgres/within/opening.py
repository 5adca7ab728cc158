"""Opening: transactions for handlers, on connections of the driver's own or of the caller's."""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from tasuki.drivers.postgres.connecting.connections import Link
from tasuki.drivers.postgres.problems import translated
from tasuki.drivers.postgres.within.clients import check_begun, client_of, result_of, unknown
from tasuki.drivers.toolkit.given import behind_proxy, ended_within, opened_by
from tasuki.errors import DriverError, UnsupportedError
from tasuki.system import forks
from tasuki.system.tasks import OnFailure

PATIENCE = 60
"""Seconds that a transaction on a connection of the driver's own may be idle, and each of its statements may take."""
_SPARE = 5
"""Most connections of each kind that are kept for the next transaction."""
_IDLE = 0  # psycopg's TransactionStatus
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
        self._forks = forks.count
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
        here = asyncio.get_running_loop(), forks.count
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
        if self._forks != forks.count:
            self._inherited.append(self._sync_spare)
            self._sync_spare, self._forks = [], forks.count
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
