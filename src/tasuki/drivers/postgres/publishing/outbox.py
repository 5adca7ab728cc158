"""Outbox: the statement that publishes, on a connection of the caller's, whichever client it is of.

A connection's class says by its module which client it is, so that no unused client is imported.
"""

from __future__ import annotations

import inspect
from typing import Any

from tasuki.drivers.postgres.columns import Arrays
from tasuki.errors import UnsupportedError

KNOWN = "a connection of asyncpg or psycopg, or a connection or session of SQLAlchemy"
_IDLE = 0  # psycopg's TransactionStatus
_COLUMNS = {
    "ids": "text[]",
    "bodies": "bytea[]",
    "headers": "bytea[]",
    "ranks": "smallint[]",
    "keys": "text[]",
    "delays": "double precision[]",
    "always": "boolean[]",
}
_NUMBERED = ", ".join(f"${place}" for place in range(1, len(_COLUMNS) + 2))
_PERCENT = ", ".join(f"%s::{type_}" for type_ in ("text", *_COLUMNS.values()))
_NAMED = ", ".join(f"CAST(:{name} AS {type_})" for name, type_ in {"queue": "text", **_COLUMNS}.items())


async def publish_on(connection: Any, schema: str, queue: str, columns: Arrays) -> int:
    """Store the rows in the transaction of the connection; how many found room.

    Returns without having waited where the connection is synchronous. Raises what the client raises, and
    UnsupportedError for a connection that is of no known client, or in no transaction.
    """
    client = _client(connection)
    if client == "asyncpg":
        return await _on_asyncpg(connection, schema, queue, columns)
    if client == "psycopg":
        return await _on_psycopg(connection, schema, queue, columns)
    if client == "sqlalchemy":
        return await _on_sqlalchemy(connection, schema, queue, columns)
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise UnsupportedError(f"cannot publish in a transaction of a {name}: give {KNOWN}")


def _client(connection: Any) -> str:
    packages = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    return next((name for name in ("asyncpg", "psycopg", "sqlalchemy") if name in packages), "")


async def _on_asyncpg(connection: Any, schema: str, queue: str, columns: Arrays) -> int:
    if not connection.is_in_transaction():
        raise _no_transaction("async with connection.transaction()")
    stored: int = await connection.fetchval(f"SELECT {schema}.publish({_NUMBERED}, true)", queue, *columns)
    return stored


async def _on_psycopg(connection: Any, schema: str, queue: str, columns: Arrays) -> int:
    from psycopg.rows import tuple_row

    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise _no_transaction("with connection.transaction()")
    cursor = connection.cursor(row_factory=tuple_row)
    try:
        await _result(cursor.execute(f"SELECT {schema}.publish({_PERCENT}, true)", (queue, *columns)))
        row = await _result(cursor.fetchone())
    finally:
        await _result(cursor.close())
    stored: int = row[0]
    return stored


async def _on_sqlalchemy(connection: Any, schema: str, queue: str, columns: Arrays) -> int:
    from sqlalchemy import text

    values = {"queue": queue, **dict(zip(_COLUMNS, columns, strict=True))}
    result = await _result(connection.execute(text(f"SELECT {schema}.publish({_NAMED}, true)"), values))
    stored: int = result.scalar_one()
    return stored


async def _result(value: Any) -> Any:
    """What a client returned, awaited if it is an asynchronous one."""
    return await value if inspect.isawaitable(value) else value


def _no_transaction(remedy: str) -> UnsupportedError:
    return UnsupportedError(f"the connection is in no transaction, so there is nothing to publish in: {remedy}")
