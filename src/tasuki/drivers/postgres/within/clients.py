"""Clients: one call of a function of the schema on a connection of the caller's, whichever client it is of.

A connection's class says by its module which client it is, so that no unused client is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tasuki.drivers.toolkit.given import check_sqlalchemy
from tasuki.errors import UnsupportedError

KNOWN = "a connection of asyncpg or psycopg, or a connection or session of SQLAlchemy"
_IDLE = 0  # psycopg's TransactionStatus
PUBLISH = {
    "queue_name": "text",
    "ids": "text[]",
    "bodies": "bytea[]",
    "headers": "bytea[]",
    "ranks": "smallint[]",
    "keys": "text[]",
    "delays": "double precision[]",
    "always": "boolean[]",
    "within": "boolean",
}
UNIQUE = {
    "unique_keys": "text[]",
    "spans": "double precision[]",
    "acts": "smallint[]",
    "latests": "double precision[]",
}
LANES = {"lanes": "text[]"}
SETTLE = {
    "queue_name": "text",
    "seqs": "bigint[]",
    "tokens": "integer[]",
    "acts": "smallint[]",
    "delays": "double precision[]",
}
HOLD = {"queue_name": "text", "seqs": "bigint[]", "tokens": "integer[]"}
CLAIM = {"consumer_id": "text", "wanted": "text", "ttl": "double precision", "patience": "double precision"}
REMEMBER = {"consumer_id": "text", "wanted": "text", "what": "bytea"}
"""The arguments of functions of the schema, with their types."""


def _call(function: str, types: Mapping[str, str], style: str) -> str:
    """The statement; ``style``: of an argument with its number, name and type."""
    values = [style.format(number=number, name=name, type=types[name]) for number, name in enumerate(types, 1)]
    return f"SELECT {function}({', '.join(values)})"


async def call_on(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    """Call a function of the schema in the transaction of the connection; its answer.

    Returns without having waited where the connection is synchronous. Raises what the client raises, and
    UnsupportedError for a connection that is of no known client, or in no transaction.
    """
    client = client_of(connection)
    if client == "asyncpg":
        return await _on_asyncpg(connection, function, types, values)
    if client == "psycopg":
        return await _on_psycopg(connection, function, types, values)
    if client == "sqlalchemy":
        return await _on_sqlalchemy(connection, function, types, values)
    raise unknown(connection)


def unknown(connection: object) -> UnsupportedError:
    """The error for an object that is no connection of a known client."""
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    return UnsupportedError(f"cannot work in a transaction of a {name}: give {KNOWN}")


def client_of(connection: object) -> str:
    """``asyncpg``, ``psycopg`` or ``sqlalchemy``; empty: none of them."""
    packages = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    return next((name for name in ("asyncpg", "psycopg", "sqlalchemy") if name in packages), "")


async def check_begun(connection: Any) -> None:
    """Raise UnsupportedError unless a connection is of a known client, and in a transaction, or about to begin one."""
    client = client_of(connection)
    if client == "asyncpg" and hasattr(connection, "is_in_transaction"):
        _check_asyncpg(connection)
    elif client == "psycopg" and hasattr(connection, "autocommit"):
        _check_psycopg(connection)
    elif client == "sqlalchemy" and hasattr(connection, "in_transaction"):
        check_sqlalchemy(connection)
        if await _is_autocommit(connection):
            raise _no_transaction("its isolation level is AUTOCOMMIT, which commits each statement: give another")
    else:
        raise unknown(connection)


async def _is_autocommit(connection: Any) -> bool:
    """Whether the connection of the database commits each statement by itself."""
    if hasattr(connection, "get_raw_connection"):
        found = await connection.get_raw_connection()
    elif callable(connection.connection):  # of a session
        return await _is_autocommit(await result_of(connection.connection()))
    else:
        found = connection.connection
    return bool(getattr(found.dbapi_connection, "autocommit", False))


def _check_asyncpg(connection: Any) -> None:
    if not connection.is_in_transaction():
        raise _no_transaction("async with connection.transaction()")


def _check_psycopg(connection: Any) -> None:
    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise _no_transaction("with connection.transaction()")


async def _on_asyncpg(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    _check_asyncpg(connection)
    return await connection.fetchval(_call(function, types, "${number}"), *values)


async def _on_psycopg(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    from psycopg.rows import tuple_row

    _check_psycopg(connection)
    cursor = connection.cursor(row_factory=tuple_row)
    try:
        await result_of(cursor.execute(_call(function, types, "%s::{type}"), values))
        row = await result_of(cursor.fetchone())
    finally:
        await result_of(cursor.close())
    return row[0]


async def _on_sqlalchemy(connection: Any, function: str, types: Mapping[str, str], values: tuple[Any, ...]) -> Any:
    from sqlalchemy import text

    named = dict(zip(types, values, strict=True))
    result = await result_of(connection.execute(text(_call(function, types, "CAST(:{name} AS {type})")), named))
    return result.scalar_one()


async def result_of(value: Any) -> Any:
    """What a client returned, awaited if it is an asynchronous one."""
    return await value if inspect.isawaitable(value) else value


def _no_transaction(remedy: str) -> UnsupportedError:
    return UnsupportedError(f"the connection is in no transaction, so there is nothing to work in: {remedy}")
