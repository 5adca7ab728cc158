"""Connections to the server, a pool of them, and what their errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import unquote

import aiomysql

from tasuki.drivers.toolkit.address import is_local, parts_of, shown
from tasuki.drivers.toolkit.attempts import Attempts
from tasuki.drivers.toolkit.tls import tls_context
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueFullError,
)
from tasuki.fields.tls import TlsConfig
from tasuki_mariadb.settings import PORT, MariaDbSettings

NO_TABLE = 1146
_DENIED = "the server refuses the user, or this to the user: grant the rights that the README lists"
_FULL = "the disk or the table is full"
_MEANINGS: dict[int, tuple[type[DriverError], str]] = {
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1410, 1698), (AccessDeniedError, _DENIED)),
    1049: (AccessDeniedError, "there is no such database"),
    **dict.fromkeys((1021, 1114), (QueueFullError, _FULL)),
    1153: (MessageTooLargeError, "the statement is larger than max_allowed_packet"),
    NO_TABLE: (BrokerUnavailableError, "a table is missing: open the driver again in a process that may make it"),
    **dict.fromkeys((1040, 1203, 1226), (BrokerUnavailableError, "the server has no room for more connections")),
    **dict.fromkeys((1053, 1927), (BrokerUnavailableError, "the server is stopping, or ended the connection")),
    1290: (BrokerUnavailableError, "the server takes no writes"),
    1205: (BrokerUnavailableError, "another transaction holds a lock; try again"),
    1213: (BrokerUnavailableError, "it met another transaction; try again"),
}

T = TypeVar("T")


class Link:
    """One connection, which always has a transaction open."""

    def __init__(self, connection: Any, durability: int) -> None:
        self._connection = connection
        self.flush_at_commit = durability
        """The server's ``innodb_flush_log_at_trx_commit`` when the connection was made."""
        self.is_committing = False
        """Whether a commit is under way, so that its outcome may be unknown."""

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""
        return not self._connection.closed

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement; a collection among the arguments stands for ``(a, b, c)``."""
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql % tuple(map(_literal, arguments)))
            return list(await cursor.fetchall())

    async def run(self, sql: str, *arguments: Any) -> int:
        """How many rows a statement has changed."""
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql % tuple(map(_literal, arguments)))
            return int(cursor.rowcount)

    async def commit(self) -> None:
        """Commit, and begin the next transaction."""
        self.is_committing = True
        await self._connection.commit()
        self.is_committing = False

    async def rollback(self) -> None:
        """Undo, and begin the next transaction."""
        await self._connection.rollback()

    def abort(self) -> None:
        """End it at once; the server undoes what was not committed."""
        self._connection.close()

    async def close(self) -> None:
        """Take leave of the server."""
        try:
            await self._connection.ensure_closed()
        except OSError:
            self.abort()


class Connector:
    """Makes connections by the settings."""

    def __init__(self, settings: MariaDbSettings) -> None:
        url = settings.url.get_secret_value()
        parts = parts_of(url)
        host = parts.hostname or "localhost"
        self.where = shown(url)
        tls = settings.tls or (None if is_local(host) else TlsConfig())
        self._ssl = tls_context(tls)
        self._timeout = settings.connect_timeout
        self._arguments: dict[str, Any] = {
            "host": host,
            "port": parts.port or PORT,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "db": unquote(parts.path.strip("/")),
            "charset": "utf8mb4",
            # sql_mode: not NO_BACKSLASH_ESCAPES, as the client escapes.
            "init_command": (
                "SET SESSION sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00', sql_notes = 0, "
                f"innodb_lock_wait_timeout = {max(int(settings.timeout), 1)}"
            ),
            "autocommit": False,
        }

    async def __call__(self) -> Link:
        """A new connection. Raises what the client and the network raise."""
        async with asyncio.timeout(self._timeout):
            connection = await aiomysql.connect(ssl=self._ssl, **self._arguments)
            link = Link(connection, 0)
            try:
                # The client goes on in the clear with a server, or with anybody between, that offers no encryption.
                if self._ssl is not None and connection._writer.get_extra_info("ssl_object") is None:  # noqa: SLF001
                    raise AccessDeniedError(
                        f"MariaDB {self.where} offers no encryption; mend it, or say tls: enabled: false"
                    )
                await link.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                link.flush_at_commit = (await link.rows("SELECT @@innodb_flush_log_at_trx_commit"))[0][0]
                await link.commit()
            except BaseException:
                link.abort()
                raise
        return link


class Again(Exception):
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
        link: Link | None = None
        try:
            async with asyncio.timeout(timeout or self._timeout), self._room:
                link = await self._take()
                while True:
                    try:
                        result = await work(link)
                        await link.commit()
                    except Again:
                        await link.rollback()
                    except DriverError:
                        await link.rollback()
                        raise
                    else:
                        return result
        except (aiomysql.MySQLError, OSError, TimeoutError) as problem:
            outcome: Outcome = "unknown" if link is not None and link.is_committing else "rejected"
            if link is not None:
                link.abort()
            raise translated(problem, self._connector.where, self._driver, queue, outcome) from problem
        finally:
            if link is not None and link.is_alive:
                self._idle.append(link) if not self._attempts.is_closed else link.abort()

    async def close(self) -> None:
        """Close all connections; those in use are dropped when their work ends."""
        await self._attempts.close()
        idle, self._idle = self._idle, []
        for link in idle:
            await link.close()

    async def _take(self) -> Link:
        while True:
            while self._idle:
                link = self._idle.pop()
                if link.is_alive:
                    return link
            await self._attempts.share(self._connect)

    async def _connect(self) -> None:
        self._idle.append(await self._connector())

    def _closed(self) -> DriverError:
        return BrokerUnavailableError(f"driver {self._driver!r} was closed meanwhile", driver=self._driver)


def _literal(value: Any) -> str:
    """A value in a statement; text and bytes as hexadecimal digits, so that nothing needs to be escaped."""
    if isinstance(value, list | tuple | set):
        return f"({', '.join(map(_literal, value))})"
    if isinstance(value, str | bytes):
        return f"X'{(value.encode() if isinstance(value, str) else value).hex()}'"
    return "NULL" if value is None else repr(value)


def code_of(problem: BaseException) -> int:
    """The server's or the client's number of an error; 0: it has none."""
    code = problem.args[0] if isinstance(problem, aiomysql.MySQLError) and problem.args else 0
    return code if isinstance(code, int) else 0


def translated(problem: Exception, where: str, driver: str, queue: str, outcome: Outcome) -> DriverError:
    """The DriverError for an error of the client or of the network."""
    if isinstance(problem, TimeoutError):
        text = f"MariaDB {where} did not answer in time"
        return BrokerTimeoutError(text, driver=driver, queue=queue, outcome=outcome)
    code = code_of(problem)
    kind, meaning = _MEANINGS.get(code, (DriverError, "the server refuses it"))
    if not 1000 <= code < 2000:  # what its client says, or the network
        kind, meaning = BrokerUnavailableError, "it cannot be reached, or went away"
    said = str(problem.args[1]) if len(problem.args) > 1 else str(problem) or type(problem).__name__
    return kind(f"MariaDB {where}: {meaning} ({said})", driver=driver, queue=queue, outcome=outcome)
