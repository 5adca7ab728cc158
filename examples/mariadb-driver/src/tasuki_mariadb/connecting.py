"""Connections to the server, a pool of them, and what their errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote

import aiomysql

from tasuki import errors
from tasuki.drivers.toolkit.address import is_local, parts_of, shown
from tasuki.drivers.toolkit.reconnecting import Attempts
from tasuki.drivers.toolkit.tls import tls_context
from tasuki.fields.tls import TlsConfig
from tasuki_mariadb.settings import PORT, MariaDbSettings

NO_TABLE = 1146
_MEANINGS: tuple[tuple[tuple[int, ...], type[errors.DriverError], str], ...] = (
    ((1044, 1045, 1142, 1143, 1698), errors.AccessDeniedError, "it refuses the user; grant the rights of the README"),
    ((1049,), errors.AccessDeniedError, "there is no such database; create it"),
    ((1021, 1114), errors.QueueFullError, "its disk, or a table, is full"),
    ((1153,), errors.MessageTooLargeError, "the statement is larger than max_allowed_packet; raise it"),
    ((NO_TABLE,), errors.BrokerUnavailableError, "a table is missing; restore it, or drop them all"),
    ((1205, 1213), errors.BrokerUnavailableError, "another transaction holds what this one needs; try again"),
    ((1040, 1053, 1203, 1226, 1290, 1927), errors.BrokerUnavailableError, "it takes no more work now; try again"),
)

T = TypeVar("T")


class Link:
    """One connection, which always has a transaction open."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.flush_at_commit = 1
        """The server's ``innodb_flush_log_at_trx_commit`` when the connection was made."""
        self.is_committing = False
        """Whether a commit is under way, so that its outcome may be unknown."""
        self.rollback = connection.rollback
        self.abort = connection.close

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""
        return not self._connection.closed

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement, if it has any; a collection among the arguments stands for ``(a, b, c)``."""
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql % tuple(map(literal, arguments)))
            return list(await cursor.fetchall())

    async def commit(self) -> None:
        """Commit, and begin the next transaction."""
        self.is_committing = True
        await self._connection.commit()
        self.is_committing = False

    async def close(self) -> None:
        """Take leave of the server."""
        with suppress(OSError):
            await self._connection.ensure_closed()
        self.abort()


class Connector:
    """Makes connections by the settings."""

    def __init__(self, settings: MariaDbSettings) -> None:
        url = settings.url.get_secret_value()
        parts = parts_of(url)
        host = parts.hostname or "localhost"
        self.where = shown(url)
        self._ssl = tls_context(settings.tls or (None if is_local(host) else TlsConfig()))
        self._timeout = settings.connect_timeout
        self._arguments: dict[str, Any] = {
            "host": host,
            "port": parts.port or PORT,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "db": unquote(parts.path.strip("/")),
            "ssl": self._ssl,
            "init_command": "SET SESSION sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00', sql_notes = 0, "
            f"innodb_lock_wait_timeout = {max(int(settings.timeout), 1)}",
        }

    async def __call__(self) -> Link:
        """A new connection. Raises what the client and the network raise."""
        async with asyncio.timeout(self._timeout):
            connection = await aiomysql.connect(**self._arguments)
            link, is_ready = Link(connection), False
            try:
                # The client goes on in the clear if the server, or anything on the way to it, offers no encryption.
                if self._ssl is not None and connection._writer.get_extra_info("ssl_object") is None:  # noqa: SLF001
                    problem = f"MariaDB {self.where} offers no encryption: mend the server, or give tls: enabled: false"
                    raise errors.AccessDeniedError(problem)
                await link.rows("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                link.flush_at_commit = (await link.rows("SELECT @@innodb_flush_log_at_trx_commit"))[0][0]
                await link.commit()
                is_ready = True
            finally:
                if not is_ready:
                    link.abort()
        return link


class Again(Exception):  # noqa: N818 - no error: a signal to the pool
    """The transaction must begin again, with other locks."""


class Pool:
    """At most ``size`` connections of one event loop, for one transaction each; made when they are needed."""

    def __init__(self, connector: Connector, driver: str, size: int, timeout: float) -> None:
        self._connector = connector
        self._driver = driver
        self._timeout = timeout
        self._room = asyncio.Semaphore(size)
        self._idle: list[Link] = []
        self._attempts: Attempts[None] = Attempts("connect to MariaDB", self._closed)

    async def transact(self, work: Callable[[Link], Awaitable[T]], *, queue: str = "", timeout: float = 0.0) -> T:
        """Do the work, and commit it; nothing of it is left if it fails. Raises DriverError."""
        link, is_clean = None, False
        try:
            async with asyncio.timeout(timeout or self._timeout), self._room:
                link = await self._take()
                while True:
                    try:
                        result = await work(link)
                        await link.commit()
                        is_clean = True
                    except (errors.DriverError, Again) as error:
                        await link.rollback()
                        is_clean = not isinstance(error, Again)
                        if is_clean:
                            raise
                    else:
                        return result
        except (aiomysql.MySQLError, OSError, TimeoutError) as problem:
            outcome: errors.Outcome = "unknown" if link is not None and link.is_committing else "rejected"
            raise translated(problem, self._connector.where, self._driver, queue, outcome) from problem
        finally:
            if link is not None and is_clean and not self._attempts.is_closed:
                self._idle.append(link)
            elif link is not None:
                link.abort()

    async def close(self) -> None:
        """Close all connections; those in use are dropped when their work ends."""
        await self._attempts.close()
        while self._idle:
            await self._idle.pop().close()

    async def _take(self) -> Link:
        while True:
            while self._idle:
                if (link := self._idle.pop()).is_alive:
                    return link
            await self._attempts.share(self._connect)

    async def _connect(self) -> None:
        self._idle.append(await self._connector())

    def _closed(self) -> errors.DriverError:
        return errors.BrokerUnavailableError(f"driver {self._driver!r} was closed meanwhile", driver=self._driver)


def literal(value: Any) -> str:
    """A value in a statement; text and bytes as hexadecimal digits, so that nothing needs to be escaped."""
    if isinstance(value, list | tuple | set):
        return f"({', '.join(map(literal, value))})"
    if isinstance(value, str | bytes):
        return f"X'{(value.encode() if isinstance(value, str) else value).hex()}'"
    return "NULL" if value is None else repr(value)


def code_of(problem: BaseException | None) -> int:
    """The server's or the client's number of an error; 0: it has none."""
    code = problem.args[0] if isinstance(problem, aiomysql.MySQLError) and problem.args else 0
    return code if isinstance(code, int) else 0


def translated(problem: Exception, where: str, driver: str, queue: str, outcome: errors.Outcome) -> errors.DriverError:
    """The DriverError for an error of the client or of the network."""
    code = code_of(problem)
    kind: type[errors.DriverError] = errors.DriverError
    meaning = "it refuses the statement"
    if isinstance(problem, TimeoutError):
        kind, meaning = errors.BrokerTimeoutError, "it did not answer in time"
    elif not 1000 <= code < 2000:  # the client's own numbers, or the network's
        kind, meaning = errors.BrokerUnavailableError, "it cannot be reached, or went away"
    else:
        kind, meaning = next((found[1:] for found in _MEANINGS if code in found[0]), (kind, meaning))
    said = str(problem.args[1] if len(problem.args) > 1 else problem) or type(problem).__name__
    return kind(f"MariaDB {where}: {meaning} ({said})", driver=driver, queue=queue, outcome=outcome)
