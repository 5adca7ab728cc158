"""Opening a connection: what is behind the address, a server or a pooler, and what its commits survive."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.contracts.driver import Durability
from tasuki.drivers.postgres.durability import SETTINGS, durability_of
from tasuki.errors import BrokerUnavailableError

CACHED_STATEMENTS = 100
_PROBE = "SELECT pg_backend_pid(), pg_is_in_recovery(), " + ", ".join(f"current_setting('{name}')" for name in SETTINGS)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a new connection told."""

    pooled: bool
    """Whether another server process may do the next transaction."""
    durability: Durability


class Connector:
    """Opens connections to one address; ``facts`` are those of the newest one.

    ``prepares``: whether they keep prepared statements, where no pooler forbids it.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        connect_timeout: float,
        timeout: float,
        name: str,
        prepares: bool = True,
    ) -> None:
        self._url = url
        self._tls = tls
        self._timeout = timeout
        self.connect_timeout = connect_timeout
        self._name = name
        self._prepares = prepares
        self.facts: Facts | None = None
        limits = {
            "statement_timeout": int(timeout * 1000),
            "lock_timeout": int(timeout * 500),
            "idle_in_transaction_session_timeout": int(timeout * 1000),
        }
        self._session = "; ".join(f"SET {name} = {value}" for name, value in limits.items())
        self._session += "; SET default_transaction_isolation = 'read committed'"
        self._begin = "BEGIN ISOLATION LEVEL READ COMMITTED; " + "; ".join(
            f"SET LOCAL {name} = {value}" for name, value in limits.items()
        )

    async def open(self) -> Link:
        """A connection that is ready for statements.

        Raises what the client raises, and BrokerUnavailableError for a standby.
        """
        async with asyncio.timeout(self.connect_timeout):
            cached = self._prepares and self.facts is not None and not self.facts.pooled
            connection = await self._connect(CACHED_STATEMENTS if cached else 0)
            try:
                facts = self.facts = await self._probe(connection)
                if self._prepares and not facts.pooled and not cached:
                    # Prepared statements are worth a second try: they live as long as this driver.
                    connection.terminate()
                    connection = await self._connect(CACHED_STATEMENTS)
                if not facts.pooled:
                    await connection.execute(self._session)
            except BaseException:
                connection.terminate()
                raise
        return Link(connection, "" if not facts.pooled else self._begin, self._timeout)

    async def _connect(self, cached: int) -> Any:
        import asyncpg

        options: dict[str, Any] = {"ssl": self._tls} if self._tls is not None else {}
        return await asyncpg.connect(
            self._url,
            timeout=self.connect_timeout,
            statement_cache_size=cached,
            server_settings={"application_name": self._name},
            **options,
        )

    @staticmethod
    async def _probe(connection: Any) -> Facts:
        """Ask in a transaction, by a statement without a name: it goes through any pooler, and leaves nothing prepared.

        Not by COPY, although that is one message: where the server ends the session first, the client drops a future
        with an error in it, which asyncio then complains about.
        """
        await connection.execute("BEGIN")
        statement = await connection.prepare(_PROBE, name=False)
        pid, in_recovery, *values = await statement.fetchrow()
        await connection.execute("COMMIT")
        if in_recovery:
            raise BrokerUnavailableError("it is a standby, which takes no writes; give the address of the primary")
        settings: Mapping[str, str] = dict(zip(SETTINGS, values, strict=True))
        # A pooler answers with a process number of its own when one connects.
        return Facts(pid != connection.get_server_pid(), durability_of(settings))


class Link:
    """One connection. A statement that is not answered in time ends it: nobody may get its answer later."""

    def __init__(self, connection: Any, begin: str, timeout: float) -> None:
        self.connection = connection
        self._begin = begin
        self._timeout = timeout
        self.busy = False
        """Whether a statement is under way."""

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return not self.connection.is_closed()

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler is in between."""
        return bool(self._begin)

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of one statement in a transaction of its own. Raises what the client raises, or TimeoutError."""
        loop = asyncio.get_running_loop()
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            self.connection.terminate()

        timer = loop.call_later(self._timeout, give_up)
        whole = False
        self.busy = True
        try:
            if self._begin:
                rows: list[Any] = await self._fetch_pooled(sql, *arguments)
            else:
                rows = await self.connection.fetch(sql, *arguments)
            whole = True
            return rows
        except Exception as problem:
            whole = not late and not self._begin and _leaves_usable(problem)
            if late:
                raise TimeoutError from problem
            raise
        finally:
            self.busy = False
            timer.cancel()
            if not whole:
                self.connection.terminate()

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

    def terminate(self) -> None:
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
