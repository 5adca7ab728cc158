"""Opens connections: is there a server or a pooler at the address, and what do its commits survive?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from tasuki.contracts.driver import Durability
from tasuki.drivers.postgres.connecting.tls import REMEDY, UNVERIFIED
from tasuki.drivers.toolkit.address import shown
from tasuki.errors import AccessDeniedError, BrokerUnavailableError

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
