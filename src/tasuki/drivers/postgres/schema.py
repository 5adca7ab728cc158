"""Schema: makes the tables, and brings them up to date, once for all processes that start together."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from tasuki.errors import DriverError, UnsupportedError

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('tasuki migrations ' || '{0}', 0))"
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)
# Rows of the catalogue, not to_regclass(): that answers out of a cache, which may be older than the wait for the lock.
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{0}')"
_HAS_TABLE = (
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = '{0}' AND c.relname = 'migrations')"
)
OLDEST_SERVER = 120000
"""plan_cache_mode."""


def checked_name(schema: str, driver: str) -> str:
    """The schema's name, if it needs no quotes; channels of NOTIFY carry it too."""
    if not _NAME.fullmatch(schema):
        problem = f"schema {schema!r} of driver {driver!r}: use up to 40 of a-z, 0-9 and _, a digit not first"
        raise DriverError(problem, driver=driver)
    return schema


def migrations() -> list[tuple[int, str]]:
    """Number and text of each, in order."""
    folder = files("tasuki.drivers.postgres") / "migrations"
    found = sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name[:4]), text) for name, text in found]


async def migrate(connection: Any, schema: str) -> None:
    """Bring the schema up to date. Raises what the client raises, and DriverError for a schema that is newer."""
    known = migrations()
    await connection.execute("BEGIN")
    version = await _version(connection, schema)
    number = int(await _one(connection, "SELECT current_setting('server_version_num')"))
    await connection.execute("COMMIT")
    if version == known[-1][0]:
        return
    if version > known[-1][0]:
        raise DriverError(f"schema {schema!r} has version {version}, which is newer than this Tasuki: update it")
    if number < OLDEST_SERVER:
        raise UnsupportedError(f"PostgreSQL 12 or newer is needed; this is {number // 10000}")
    await connection.execute(_BEGIN)
    await connection.execute(_LOCK.format(schema))
    version = await _version(connection, schema)  # another process may have done it meanwhile
    if version == 0:
        if not await _one(connection, _HAS_SCHEMA.format(schema)):
            await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.migrations "
            "(version integer PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
    await connection.execute(f"SET LOCAL search_path = {schema}, pg_temp")
    for number, text in known:
        if number > version:
            await connection.execute(text)
            await connection.execute(f"INSERT INTO migrations (version) VALUES ({number})")  # noqa: S608 - a number
    await connection.execute("COMMIT")


async def _version(connection: Any, schema: str) -> int:
    """The version of the schema; 0: there is none."""
    if not await _one(connection, _HAS_TABLE.format(schema)):
        return 0
    version: int = await _one(connection, f"SELECT coalesce(max(version), 0) FROM {schema}.migrations")  # noqa: S608
    return version


async def _one(connection: Any, sql: str) -> Any:
    """One value, asked for in a transaction by a statement without a name: so it goes through any pooler."""
    statement = await connection.prepare(sql, name=False)
    return await statement.fetchval()
