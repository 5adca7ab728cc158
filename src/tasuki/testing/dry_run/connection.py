"""Connections of a dry run's transactions: the caller's own, rolled back at the end, or one that only notes its SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any, Self

from tasuki.drivers.toolkit.given import opened_by


class _Undone(Exception):  # noqa: N818 - it ends the caller's block, and goes no further
    """Makes the caller's own block roll back."""


@asynccontextmanager
async def rolled_back(connection: Any, note: Callable[[str], None]) -> AsyncIterator[Any]:
    """The connection, whose changes are undone at the end; ``note`` gets each SQL text where there is none."""
    if connection is None:
        yield NotedConnection(note)
    elif callable(connection) and not hasattr(connection, "commit"):
        try:
            async with opened_by(connection) as opened:
                yield opened
                raise _Undone
        except _Undone:
            pass
    else:
        undo = await _begun(connection)
        try:
            yield connection
        finally:
            done = undo()
            if isawaitable(done):
                await done


async def _begun(connection: Any) -> Callable[[], Any]:
    """Begin a transaction where the connection does not do that by itself; returns what rolls it back."""
    if isinstance(connection, sqlite3.Connection):
        if not connection.in_transaction:
            connection.execute("BEGIN")
    elif hasattr(connection, "is_in_transaction"):  # asyncpg
        transaction = connection.transaction()
        await transaction.start()
        return transaction.rollback  # type: ignore[no-any-return]
    elif getattr(connection, "autocommit", False) is True:  # psycopg
        begun = connection.execute("BEGIN")
        if isawaitable(begun):
            await begun
        return lambda: connection.execute("ROLLBACK")
    return getattr(connection, "rollback", lambda: None)


class NotedConnection:
    """In the place of the connection to the database of the queue: notes the SQL, and finds no rows."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def execute(self, sql: object, *args: Any, **named: Any) -> NoRows:
        """Note a statement."""
        self._note(str(sql))
        return NoRows()

    executemany = executescript = execute

    async def fetch(self, sql: object, *args: Any) -> list[Any]:
        """Note a query; no rows."""
        self._note(str(sql))
        return []

    async def fetchrow(self, sql: object, *args: Any) -> Any:
        """Note a query; no row."""
        self._note(str(sql))
        return None

    fetchval = fetchrow

    def cursor(self, *args: Any, **named: Any) -> Self:
        """Itself: it can do the same."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"a dry run has no connection to the database of the queue, and so no {name}: its SQL is noted and not "
            "done; a connection of your own, context.transaction(connection), is real and rolled back"
        )


class NoRows:
    """The result of a statement that was not done; it can be awaited, as the one of an asynchronous connection."""

    rowcount = 0
    lastrowid = description = None

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def fetchone(self) -> Any:
        """No row."""
        return None

    def fetchall(self) -> list[Any]:
        """No rows."""
        return []
