"""Outbox: the statement that publishes, on a connection of the caller's, whichever client it is of.

A connection's class says by its module which client it is, so that no unused client is imported.
"""

from __future__ import annotations

import inspect
from typing import Any

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
_UNIQUE = {
    "unique_keys": "text[]",
    "spans": "double precision[]",
    "acts": "smallint[]",
    "latests": "double precision[]",
}
_LANES = {"lanes": "text[]"}


def _parameters(columns: tuple[Any, ...]) -> dict[str, str]:
    """Names and types: of messages, then of unique ones, then of lanes."""
    unique = _UNIQUE if len(columns) > len(_COLUMNS) + len(_LANES) else {}
    lanes = _LANES if len(columns) > len(_COLUMNS) + len(unique) else {}
    return {"queue_name": "text", **_COLUMNS, **unique, **lanes}


def _call(schema: str, columns: tuple[Any, ...], style: str) -> str:
    """The statement for so many columns; ``style``: of a parameter with its number, name and type."""
    all = _parameters(columns)
    values = [style.format(number=number, name=name, type=type) for number, (name, type) in enumerate(all.items(), 1)]
    values.insert(len(_COLUMNS) + 1, "true")
    return f"SELECT {schema}.{'publish_unique' if 'unique_keys' in all else 'publish'}({', '.join(values)})"


async def publish_on(connection: Any, schema: str, queue: str, columns: tuple[Any, ...]) -> Any:
    """Store the columns in the transaction of the connection; the answer of the schema's function.

    With the columns of unique messages behind the others it is ``publish_unique``, else ``publish``; lanes come last.

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


async def _on_asyncpg(connection: Any, schema: str, queue: str, columns: tuple[Any, ...]) -> Any:
    if not connection.is_in_transaction():
        raise _no_transaction("async with connection.transaction()")
    return await connection.fetchval(_call(schema, columns, "${number}"), queue, *columns)


async def _on_psycopg(connection: Any, schema: str, queue: str, columns: tuple[Any, ...]) -> Any:
    from psycopg.rows import tuple_row

    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise _no_transaction("with connection.transaction()")
    cursor = connection.cursor(row_factory=tuple_row)
    try:
        await _result(cursor.execute(_call(schema, columns, "%s::{type}"), (queue, *columns)))
        row = await _result(cursor.fetchone())
    finally:
        await _result(cursor.close())
    return row[0]


async def _on_sqlalchemy(connection: Any, schema: str, queue: str, columns: tuple[Any, ...]) -> Any:
    from sqlalchemy import text

    values = dict(zip(_parameters(columns), (queue, *columns), strict=True))
    result = await _result(connection.execute(text(_call(schema, columns, "CAST(:{name} AS {type})")), values))
    return result.scalar_one()


async def _result(value: Any) -> Any:
    """What a client returned, awaited if it is an asynchronous one."""
    return await value if inspect.isawaitable(value) else value


def _no_transaction(remedy: str) -> UnsupportedError:
    return UnsupportedError(f"the connection is in no transaction, so there is nothing to publish in: {remedy}")
