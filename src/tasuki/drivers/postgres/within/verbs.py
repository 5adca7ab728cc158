"""WithinPostgres: the verbs of the driver in a transaction of the caller's, on a connection of any known client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from tasuki.contracts.driver import Ack, Answers, Driver, Outgoing, QueueSpec, Receipt, Settlement
from tasuki.contracts.groups import settled_too_late
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.problems import LOCKED, STALE, sql_state, translated
from tasuki.drivers.postgres.publishing.publishing import publish_in_parts
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.within.clients import CLAIM, HOLD, LANES, PUBLISH, REMEMBER, SETTLE, UNIQUE, call_on
from tasuki.drivers.postgres.within.opening import Opening
from tasuki.errors import ConflictError, DriverError

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
