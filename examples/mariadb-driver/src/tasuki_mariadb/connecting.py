"""Connections to the server, and what their errors mean."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import aiomysql

from tasuki import errors
from tasuki.drivers.toolkit.address import is_local, parts_of, shown, tls_context
from tasuki.fields.types import TlsConfig
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


class Link:
    """One connection, which always has a transaction open."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.commit, self.rollback, self.abort = connection.commit, connection.rollback, connection.close

    @property
    def is_alive(self) -> bool:
        # The client itself notices an end only at the next statement: the server's timeout, a restart, a KILL.
        return not self._connection.closed and not self._connection._reader.at_eof()  # noqa: SLF001

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement, if it has any; a collection among the arguments stands for ``(a, b, c)``."""
        async with self._connection.cursor() as cursor:
            await cursor.execute(sql % tuple(map(literal, arguments)))
            return list(await cursor.fetchall())

    async def close(self) -> None:
        with suppress(OSError):
            await self._connection.ensure_closed()
        self.abort()


class Connector:
    """Makes connections by the settings."""

    def __init__(self, name: str, settings: MariaDbSettings) -> None:
        url = settings.url.get_secret_value()
        parts = parts_of(url)
        host = parts.hostname or "localhost"
        self._name, self._where = name, shown(url)
        self._ssl = tls_context(settings.tls or (None if is_local(host) else TlsConfig()))
        self._connect_timeout = settings.connect_timeout
        self.flush_at_commit = 1
        """The server's ``innodb_flush_log_at_trx_commit`` when the last connection was made."""
        self._arguments: dict[str, Any] = {
            "host": host,
            "port": parts.port or PORT,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "db": unquote(parts.path.strip("/")),
            "ssl": self._ssl,
            "init_command": "SET SESSION sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00', sql_notes = 0, "
            f"innodb_lock_wait_timeout = {max(int(settings.timeout), 1)}, "
            # Else a poll for many queues reads the messages of all queues once, instead of one of each.
            "optimizer_switch = 'exists_to_in=off'",
        }

    async def connect(self) -> Link:
        async with asyncio.timeout(self._connect_timeout):
            connection = await aiomysql.connect(**self._arguments)
            link = Link(connection)
            try:
                # The client goes on in the clear if the server, or anything on the way to it, offers no encryption.
                if self._ssl is not None and connection._writer.get_extra_info("ssl_object") is None:  # noqa: SLF001
                    problem = f"MariaDB {self._where} offers no encryption: mend that, or give tls: enabled: false"
                    raise errors.AccessDeniedError(problem, driver=self._name)
                await link.rows("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                self.flush_at_commit = (await link.rows("SELECT @@innodb_flush_log_at_trx_commit"))[0][0]
                await link.commit()
            except BaseException:
                link.abort()
                raise
        return link

    def translate(self, problem: BaseException, queue: str, outcome: errors.Outcome) -> errors.DriverError:
        """The DriverError for an error of the client or of the network."""
        code = code_of(problem)
        kind: type[errors.DriverError] = errors.DriverError
        meaning = "it refuses the statement"
        if isinstance(problem, TimeoutError):
            kind, meaning = errors.BrokerTimeoutError, "it did not answer in time"
        elif not isinstance(problem, aiomysql.MySQLError | OSError):
            meaning = "a statement cannot be made"
        elif not 1000 <= code < 2000:  # the client's own numbers, or the network's
            kind, meaning = errors.BrokerUnavailableError, "it cannot be reached, or went away"
        else:
            kind, meaning = next((found[1:] for found in _MEANINGS if code in found[0]), (kind, meaning))
        said = str(problem.args[1] if len(problem.args) > 1 else problem) or type(problem).__name__
        return kind(f"MariaDB {self._where}: {meaning} ({said})", driver=self._name, queue=queue, outcome=outcome)

    def has_no_tables(self, problem: BaseException | None) -> bool:
        return code_of(problem) == NO_TABLE


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
