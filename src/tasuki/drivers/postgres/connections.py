"""Opens connections: TLS, server or pooler, the durability of its commits; and SQLSTATEs as errors of the driver."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from tasuki.contracts.driver import Durability
from tasuki.drivers.toolkit.address import is_local, parts_of, shown, tls_context
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueNotFoundError,
    StorageFullError,
)
from tasuki.fields.types import TlsConfig

NO_QUEUE = "TQ404"
"""Raised by our own functions."""

STALE = "TQ410"
"""The same: a delivery of ``settle_within`` has ended already."""

LOCKED = "55P03"

NO_RIGHT = "42501"

NO_TABLE, NO_TYPE, NO_FUNCTION, NO_SCHEMA, NO_COLUMN = "42P01", "42704", "42883", "3F000", "42703"

MISSING = frozenset({NO_TABLE, NO_TYPE, NO_FUNCTION, NO_SCHEMA, NO_COLUMN})
"""A part of the schema is missing; see ``healing.py``."""


_MEANINGS: tuple[tuple[str, type[DriverError], str], ...] = (
    (NO_QUEUE, QueueNotFoundError, "the queue is not in the database; declare it"),
    (NO_RIGHT, AccessDeniedError, "this role may not do that; grant it the rights of docs/how-to/postgres.md"),
    ("28", AccessDeniedError, "the server refuses the credentials"),
    ("3D000", AccessDeniedError, "there is no such database"),
    (NO_TABLE, BrokerUnavailableError, "a table is missing; start a process whose role owns the schema, or restore it"),
    (NO_TYPE, BrokerUnavailableError, "a table is missing; start a process whose role owns the schema, or restore it"),
    (NO_FUNCTION, BrokerUnavailableError, "a function is missing; start a process whose role owns the schema"),
    (NO_COLUMN, BrokerUnavailableError, "a column is missing; start a process whose role owns the schema"),
    (NO_SCHEMA, BrokerUnavailableError, "the schema is missing; start a process whose role may make it, or restore it"),
    ("53100", StorageFullError, "the disk of the server is full"),
    ("54", MessageTooLargeError, "it is more than the server takes"),
    ("25006", BrokerUnavailableError, "the server takes no writes: it is a standby, or was made one"),
    ("40", BrokerUnavailableError, "it met another transaction; try again"),
    (LOCKED, BrokerUnavailableError, "another client holds a lock on the tables; try again"),
    ("57014", BrokerUnavailableError, "the server gave up on it after the timeout; try again"),
    ("57", BrokerUnavailableError, "the server is stopping or starting"),
    ("53", BrokerUnavailableError, "the server has no room for more; see max_connections and pool_size"),
    ("08", BrokerUnavailableError, "the connection was lost"),
    ("58", BrokerUnavailableError, "the server cannot reach its files"),
    ("XX000", BrokerUnavailableError, "the server failed, as it does when tables are dropped while they are used"),
)

_UNCERTAIN = ("08", "40003")
"""Errors of a proxy in between: the server may have done the work."""

_ENDS_SESSION = frozenset({"FATAL", "PANIC"})

_AWAY = (OSError, asyncio.TimeoutError, EOFError)

_OF_CLIENTS = ("InterfaceError", "OperationalError", "TimeoutError")

_OURS = (ValueError, TypeError, OverflowError)
"""Arguments that the client cannot send: trying again is of no use."""


def meaning(state: str) -> tuple[type[DriverError], str]:
    """The class and the remedy for an SQLSTATE; the longest known prefix counts first."""
    for prefix, kind, text in _MEANINGS:
        if state.startswith(prefix):
            return kind, text
    return DriverError, "the server refuses it"


def translated(problem: BaseException, where: str, driver: str, queue: str, *, sent: bool) -> DriverError:
    """The DriverError for an error of asyncpg, psycopg, SQLAlchemy or the network.

    Args:
        problem: the exception; its text is shown without the details, which may hold data.
        where: the address as it may be shown.
        driver: the driver's name.
        queue: the queue's name, or nothing.
        sent: whether a statement was under way, so that its outcome may be unknown.
    """
    if isinstance(problem, DriverError):
        return problem
    state = sql_state(problem)
    if state:
        kind, text = meaning(state)
        said = getattr(problem, "message", None) or str(problem).partition("\n")[0]
        outcome: Outcome = "unknown" if sent and not _is_undone(problem, state) else "rejected"
        return kind(f"PostgreSQL {where}: {text} ({said})", driver=driver, queue=queue, outcome=outcome)
    outcome = "unknown" if sent else "rejected"
    if isinstance(problem, TimeoutError):
        text = f"PostgreSQL {where} did not answer in time"
        kind = BrokerTimeoutError if sent else BrokerUnavailableError
        return kind(text, driver=driver, queue=queue, outcome=outcome)
    if isinstance(problem, UnreplicatedError):
        text = f"PostgreSQL {where}: {problem}"
        return BrokerTimeoutError(text, driver=driver, queue=queue, outcome="unknown")
    if isinstance(problem, _AWAY) or _is_of_the_client(problem):
        text = f"PostgreSQL {where} cannot be reached: {problem or type(problem).__name__}"
        return BrokerUnavailableError(text, driver=driver, queue=queue, outcome=outcome)
    return DriverError(f"PostgreSQL {where}: {problem}", driver=driver, queue=queue, outcome=outcome)


def _is_of_the_client(problem: BaseException) -> bool:
    """Whether the client itself complains, of its connection or of the protocol: the connection is replaced then.

    It says ``InternalClientError`` and its like where a session is ended in the middle of an answer, or, as psycopg and
    its pool do, ``OperationalError`` without an SQLSTATE. The pool of SQLAlchemy says ``TimeoutError``.
    """
    kinds = type(problem).__mro__
    is_client = any(kind.__module__.startswith("asyncpg.") or kind.__name__ in _OF_CLIENTS for kind in kinds)
    return is_client and not isinstance(problem, _OURS)


def _is_undone(problem: BaseException, state: str) -> bool:
    """Whether the server has undone the transaction for certain: it goes on after an error that it reports itself."""
    original = getattr(problem, "orig", None) or problem
    severity = getattr(original, "severity_en", None) or getattr(original, "severity", None) or ""
    return severity not in _ENDS_SESSION and not state.startswith(_UNCERTAIN)


def sql_state(problem: BaseException) -> str:
    """The SQLSTATE of an error of any of the clients, or nothing."""
    original = getattr(problem, "orig", None) or problem
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return state if isinstance(state, str) else ""


_SAYS = ("sslmode", "service")
"""Parameters of an address that decide about encryption; a service is a section of a file of the user's."""

_VARIABLES = ("PGSSLMODE", "PGSERVICE")
"""The same as environment variables."""


REMEDY = (
    "beyond loopback a connection must be encrypted, since the server may ask for the password in clear: turn TLS on "
    "at the server, or write sslmode=disable into the address where the network is trusted"
)


UNVERIFIED = (
    "name the authority that signed it in tls: {ca: …} or sslrootcert=…, or write sslmode=require into the address to "
    "encrypt without knowing the server"
)


_HOME = ".postgresql"
"""Where libpq has certificates, within the user's folder."""


class _Named(ssl.SSLContext):
    """A context that expects one name, whatever host was connected to; asyncpg takes no name of its own."""

    name: str

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """See SSLContext; called by the event loop."""
        return super().wrap_bio(*arguments, **{**options, "server_hostname": self.name})


def encryption(
    driver: str, url: str, tls: TlsConfig | None, environ: Mapping[str, str] = os.environ
) -> ssl.SSLContext | str | None:
    """The argument ``ssl`` of the client for an address and the ``tls`` of its entry; None: as the address says.

    Raises:
        DriverError: a file of ``tls`` cannot be used.
    """
    if tls is not None:
        return _context(driver, tls) or "disable"
    parts = parts_of(url)
    query = parse_qs(parts.query)
    if any(name in query for name in _SAYS) or any(environ.get(name) for name in _VARIABLES):
        return None
    hosts = parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1] or environ.get("PGHOST") or "localhost"
    # Without this the client would try TLS and then go on without it ("prefer").
    return None if all(is_local(unquote(host)) for host in hosts.split(",")) else _verified(driver, query, environ)


def _verified(driver: str, query: Mapping[str, list[str]], environ: Mapping[str, str]) -> ssl.SSLContext | str | None:
    """As sslmode=verify-full, with the authorities of libpq's root.crt; without that file, with the system's."""
    if _given("sslrootcert", query, environ) or Path(environ.get("HOME", "/"), _HOME, "root.crt").exists():
        return "verify-full"
    cert, key = (_given(name, query, environ) or None for name in ("sslcert", "sslkey"))
    return _context(driver, TlsConfig.model_validate({"cert": cert, "key": key} if cert and key else {}))


def _given(name: str, query: Mapping[str, list[str]], environ: Mapping[str, str]) -> str:
    value = query.get(name, [environ.get(f"PG{name.upper()}", "")])[-1]
    return "" if value == "system" else value


def _context(driver: str, tls: TlsConfig) -> ssl.SSLContext | None:
    try:
        context = tls_context(tls)
    except (OSError, ssl.SSLError) as problem:
        raise DriverError(f"tls of driver {driver!r}: a file cannot be used: {problem}", driver=driver) from problem
    if context is not None and tls.server_name:
        context.__class__ = _Named
        context.name = tls.server_name  # type: ignore[attr-defined]
    return context


SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")


VALUES = "concat_ws(chr(10), " + ", ".join(f"current_setting('{name}')" for name in SETTINGS) + ")"
"""One column for a statement, so that its answer says what its own commit survives."""


class Level:
    """What commits survive, as the server last said: with a connection, a publish, or a sign of life.

    ``synchronous_commit``: what the connections are set to; None: they are left as the server has them.
    """

    def __init__(self, synchronous_commit: str | None = None) -> None:
        self._own = {} if synchronous_commit is None else {"synchronous_commit": synchronous_commit}
        self._values = ""
        self.durability: Durability | None = None

    def learn(self, values: str) -> None:
        """Take over what ``VALUES`` gave."""
        if values != self._values:
            self._values = values
            self.durability = durability_of(self._settings())

    def with_commit(self, synchronous_commit: str) -> Durability | None:
        """The level of a commit that has a ``synchronous_commit`` of its own."""
        return durability_of({**self._settings(), "synchronous_commit": synchronous_commit}) if self._values else None

    def _settings(self) -> Mapping[str, str]:
        return {**dict(zip(SETTINGS, self._values.split("\n"), strict=True)), **self._own}


def durability_of(settings: Mapping[str, str]) -> Durability:
    """The level, from the values that ``current_setting`` gives for ``SETTINGS``."""
    if settings["synchronous_commit"] == "off":
        return "process"  # the server answers before it has written: its own end loses the last of it
    if settings["fsync"] == "off" or settings["full_page_writes"] == "off":
        return "broker"
    waits_for_standby = settings["synchronous_commit"] in {"on", "remote_apply"}
    return "node" if settings["synchronous_standby_names"].strip() and waits_for_standby else "power"


CACHED_STATEMENTS = 100


_PROBE = f"SELECT pg_backend_pid(), pg_is_in_recovery(), {VALUES}"


_REPLICATION = "SyncRep"
"""How the functions of the server begin that wait for a standby: messages are translated, these names are not."""


class UnreplicatedError(Exception):
    """The server committed, but gave up the wait for its standby: a promotion may undo it. ``rows`` is the answer."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows
        super().__init__("it is committed here, but perhaps not on the standby: the server gave up the wait for it")


class Connector:
    """Opens connections to one address; ``level`` is what commits on them survive.

    ``prepares``: whether they keep prepared statements, where no pooler forbids it.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | str | None,
        connect_timeout: float,
        timeout: float,
        name: str,
        synchronous_commit: str | None = None,
        prepares: bool = True,
    ) -> None:
        self._url = url
        self._tls = tls
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self._name = name
        self._prepares = prepares
        self.level = Level(synchronous_commit)
        self._is_pooled: bool | None = None
        limits: dict[str, int | str] = {
            "client_min_messages": "warning",  # warnings about the standby must arrive
            "statement_timeout": int(timeout * 1000),
            "lock_timeout": int(timeout * 500),
            "idle_in_transaction_session_timeout": int(timeout * 1000),
        }
        if synchronous_commit is not None:
            limits["synchronous_commit"] = synchronous_commit
        self._session = "; ".join(f"SET {name} = {value}" for name, value in limits.items())
        self._session += "; SET default_transaction_isolation = 'read committed'"
        self._begin = "BEGIN ISOLATION LEVEL READ COMMITTED; " + "; ".join(
            f"SET LOCAL {name} = {value}" for name, value in limits.items()
        )

    async def open(self) -> Link:
        """A connection that is ready for statements.

        Raises what the client raises, BrokerUnavailableError for a standby and a certificate that is not trusted, and
        AccessDeniedError for a server that has
        no TLS where it is required.
        """
        async with asyncio.timeout(self.connect_timeout):
            cached = self._prepares and self._is_pooled is False
            connection = await self._connect(CACHED_STATEMENTS if cached else 0)
            try:
                pooled = self._is_pooled = await self._probe(connection)
                if self._prepares and not pooled and not cached:
                    # Prepared statements are worth a second try: they live as long as this driver.
                    connection.terminate()
                    connection = await self._connect(CACHED_STATEMENTS)
                if not pooled:
                    await connection.execute(self._session)
            except BaseException:
                connection.terminate()
                raise
        return Link(connection, self._begin if pooled else "", self.timeout)

    async def _connect(self, cached: int) -> Any:
        import asyncpg

        options: dict[str, Any] = {"ssl": self._tls} if self._tls is not None else {}
        try:
            return await asyncpg.connect(
                self._url,
                timeout=self.connect_timeout,
                statement_cache_size=cached,
                server_settings={"application_name": self._name},
                **options,
            )
        except ssl.SSLCertVerificationError as error:
            problem = f"the certificate of {shown(self._url)} is not trusted: {error.verify_message}; {UNVERIFIED}"
            raise BrokerUnavailableError(problem) from error
        except ConnectionError as error:
            # The client says no more of a server without TLS; its subclasses mean the network.
            if self._tls not in (None, "disable") and type(error) is ConnectionError:
                raise AccessDeniedError(f"{error}; {REMEDY}") from error
            raise

    async def _probe(self, connection: Any) -> bool:
        """Whether another server process may do the next transaction; learns the level.

        It asks in a transaction, by a statement without a name: so it goes through any pooler and leaves nothing.

        Not by COPY, although that is one message: where the server ends the session first, the client drops a future
        with an error in it, which asyncio then complains about.
        """
        await connection.execute("BEGIN")
        statement = await connection.prepare(_PROBE, name=False)
        pid, in_recovery, values = await statement.fetchrow()
        await connection.execute("COMMIT")
        if in_recovery:
            raise BrokerUnavailableError("it is a standby, which takes no writes; give the address of the primary")
        self.level.learn(values)
        # A pooler answers with its own process number when one connects.
        return bool(pid != connection.get_server_pid())


class Link:
    """One connection. A statement without an answer in time ends it: no later statement may get that answer."""

    def __init__(self, connection: Any, begin: str, timeout: float) -> None:
        self.connection = connection
        self._begin = begin
        self._timeout = timeout
        self.busy = False
        """Whether a statement is under way."""
        self._is_replicated = True
        connection.add_log_listener(self._noticed)

    @property
    def is_alive(self) -> bool:
        """Whether it can still be used."""
        return not self.connection.is_closed()

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler is in between."""
        return bool(self._begin)

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of one statement in its own transaction.

        Raises what the client raises, TimeoutError, or UnreplicatedError.
        """
        loop = asyncio.get_running_loop()
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            self.connection.terminate()

        timer = loop.call_later(self._timeout, give_up)
        whole = False
        self.busy = self._is_replicated = True
        try:
            if self._begin:
                rows: list[Any] = await self._fetch_pooled(sql, *arguments)
            else:
                rows = await self.connection.fetch(sql, *arguments)
            whole = True
        except Exception as problem:
            whole = not late and not self._begin and _leaves_usable(problem)
            if late:
                raise TimeoutError from problem
            if self.connection.is_closed() and not getattr(problem, "sqlstate", None):
                # The client may raise anything when its connection goes in the middle of its protocol.
                raise ConnectionError(f"the connection was lost: {problem}") from problem
            raise
        finally:
            self.busy = False
            timer.cancel()
            if not whole:
                self.connection.terminate()
        if not self._is_replicated:
            raise UnreplicatedError(rows)
        return rows

    def _noticed(self, _: Any, message: Any) -> None:
        """The server says more than an answer; called before the answer that follows it is."""
        if message.severity_en == "WARNING" and (message.server_source_function or "").startswith(_REPLICATION):
            self._is_replicated = False

    async def _fetch_pooled(self, sql: str, *arguments: Any) -> list[Any]:
        await self.connection.execute(self._begin)
        rows: list[Any] = await self.connection.fetch(sql, *arguments)
        await self.connection.execute("COMMIT")
        return rows

    async def close(self) -> None:
        """Say goodbye, but do not wait long for the answer."""
        try:
            await self.connection.close(timeout=1.0)
        except Exception:  # whatever it is, it is closed now
            self.connection.terminate()

    def abort(self) -> None:
        """Drop it."""
        self.connection.terminate()


def _leaves_usable(problem: Exception) -> bool:
    """Whether a connection can be used after this: the server said no, and goes on, and takes writes."""
    import asyncpg

    return (
        isinstance(problem, asyncpg.PostgresError)
        and getattr(problem, "severity", "") not in {"FATAL", "PANIC"}
        and problem.sqlstate != "25006"
    )
