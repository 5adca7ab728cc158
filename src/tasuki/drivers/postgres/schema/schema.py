"""Schema: makes the tables and functions, once for all processes that start together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from tasuki.drivers.postgres.problems import NO_RIGHT, sql_state
from tasuki.drivers.postgres.schema.locks import with_short_waits
from tasuki.drivers.toolkit.layout import require
from tasuki.errors import AccessDeniedError, UnsupportedError

LAYOUT = 1
"""Of the schema as the SQL of this folder makes it (docs/adr/0065)."""

PARTS = (
    *("tables", "queues", "ordering", "waking", "causes", "publishing", "uniques", "lanes", "turns", "limits", "one"),
    *("receiving", "settling", "inspecting", "removing", "presence", "stores", "plans"),
)
"""Files of SQL, in the order in which they run. Each can run again, and keeps existing rows."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('tasuki migrations ' || '{0}', 0))"
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)
# Rows of the catalogue, not to_regclass(): that answers out of a cache, which may be older than the wait for the lock.
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_MISSING = (
    "SELECT ARRAY(SELECT unnest($2::text[]) EXCEPT SELECT c.relname FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1) || "
    "ARRAY(SELECT unnest($3::text[]) EXCEPT SELECT p.proname FROM pg_proc p "
    "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1)"
)
_LAYOUT = "SELECT max(version) FROM {0}.migrations"
_MADE = re.compile(r"^create (?:or replace )?(?:unlogged )?(table|function) (?:if not exists )?(\w+)", re.M)
# Places that were shown of a table that was dropped must never fit a row of the one that takes its place.
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_RENUMBER = "ALTER TABLE {} ALTER COLUMN {} RESTART WITH {}"
_NOTE = (
    "CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, "
    "done_at timestamptz NOT NULL DEFAULT clock_timestamp()); "
    "INSERT INTO migrations (version) VALUES ({}) ON CONFLICT DO NOTHING;"
)
_QUEUES_EVER = (
    "SELECT coalesce(max(queue), 0) + 1 FROM (SELECT max(queue) AS queue FROM messages "
    "UNION ALL SELECT max(queue) FROM seen UNION ALL SELECT max(queue) FROM deleted "
    "UNION ALL SELECT max(queue) FROM uniques UNION ALL SELECT max(queue) FROM changes "
    "UNION ALL SELECT max(queue) FROM waiters UNION ALL SELECT max(queue) FROM gates "
    "UNION ALL SELECT max(queue) FROM lanes UNION ALL SELECT max(queue) FROM arrivals) every"
)
OLDEST_SERVER = 120000
"""plan_cache_mode."""


def _sql() -> str:
    folder = files(__package__) / "sql"
    return "\n".join((folder / f"{part}.sql").read_text("utf-8") for part in PARTS)


def parts() -> tuple[list[str], list[str]]:
    """The names of the tables, including the one of the layout, and of the functions."""
    made = _MADE.findall(_sql())
    tables, functions = ({name for kind, name in made if kind == wanted} for wanted in ("table", "function"))
    return sorted({*tables, "migrations"}), sorted(functions)


async def check(connection: Any, schema: str, driver: str = "") -> bool:
    """Whether the schema is whole; changes nothing.

    Raises what the client raises, DriverError for a schema of another layout, and UnsupportedError for an old server.
    """
    await connection.execute("BEGIN")
    missing = await _missing(connection, schema, driver)
    number = int(await _one(connection, "SELECT current_setting('server_version_num')"))
    await connection.execute("COMMIT")
    if number < OLDEST_SERVER:
        raise UnsupportedError(f"PostgreSQL 12 or newer is needed; this is {number // 10000}")
    return not missing


async def complete(connection: Any, schema: str, driver: str = "") -> None:
    """Make the missing parts of the schema, which may be all.

    Raises what the client raises, DriverError for a schema of another layout, AccessDeniedError if the role may not
    change it, and BrokerUnavailableError if its tables do not come free.
    """
    await connection.execute(_BEGIN)
    await connection.execute(_LOCK.format(schema))
    missing = await _missing(connection, schema, driver)  # another process may have made them meanwhile
    if missing:
        try:
            await with_short_waits(connection, schema, partial(_make, connection, schema, missing), driver)
        except Exception as error:
            if sql_state(error) != NO_RIGHT:
                raise
            lack = f"lacks {', '.join(sorted(missing))}"
            problem = f"schema {schema!r} {lack}, and this role may not change it: start a process whose role owns it"
            raise AccessDeniedError(problem, driver=driver) from error
    await connection.execute("COMMIT")


async def _make(connection: Any, schema: str, missing: Sequence[str]) -> None:
    create = "" if await _one(connection, _HAS_SCHEMA, schema) else f"CREATE SCHEMA {schema};"
    await connection.execute(f"{create} SET LOCAL search_path = {schema}, pg_temp; {_NOTE.format(LAYOUT)}\n{_sql()}")
    if "messages" in missing:
        await connection.execute(_RENUMBER.format("messages", "seq", await _one(connection, _NOW)))
    if "queues" in missing:
        await connection.execute(_RENUMBER.format("queues", "id", await _one(connection, _QUEUES_EVER)))


async def _missing(connection: Any, schema: str, driver: str) -> list[str]:
    """The names of missing parts. Raises DriverError for a schema of another layout."""
    missing: list[str] = await _one(connection, _MISSING, schema, *parts())
    if "migrations" not in missing:
        found = await _one(connection, _LAYOUT.format(schema))
        require(found, LAYOUT, place=f"schema {schema!r}", instead="schema", driver=driver)
    return missing


async def _one(connection: Any, sql: str, *arguments: Any) -> Any:
    """One value, asked for in a transaction by a statement without a name: so it goes through any pooler."""
    statement = await connection.prepare(sql, name=False)
    return await statement.fetchval(*arguments)
