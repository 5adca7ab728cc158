"""Schema: makes the tables, and brings them up to date, once for all processes that start together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from tasuki.drivers.postgres.problems import NO_RIGHT, sql_state
from tasuki.drivers.postgres.schema.locks import with_short_waits
from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import AccessDeniedError, DriverError, UnsupportedError

LAYOUT = Layout(25, 17)
"""Of the schema as the SQL of this folder makes it; the second number is its oldest version that can work with it, see
docs/adr/0016."""

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
_MISSING_TABLES = (
    "SELECT ARRAY(SELECT unnest($2::text[]) EXCEPT SELECT c.relname FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)"
)
_MISSING_FUNCTIONS = (
    "SELECT ARRAY(SELECT unnest($2::text[]) EXCEPT SELECT p.proname FROM pg_proc p "
    "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1)"
)
# Through JSON, for a schema of before has no such column: only processes of its own version can work with that.
_VERSIONS = (
    "SELECT ARRAY[coalesce(max(version), 0), "
    "coalesce(max((to_jsonb(made) ->> 'min_version')::integer), max(version), 0)] FROM {0}.migrations made"
)
_MADE = re.compile(r"^create (?:or replace )?(?:unlogged )?(table|function) (?:if not exists )?(\w+)", re.M)
# Places that were shown of a table that was dropped must never fit a row of the one that takes its place.
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_RENUMBER = "ALTER TABLE {} ALTER COLUMN {} RESTART WITH {}"
_VERSION_TABLE = (
    "CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, min_version integer, "
    "done_at timestamptz NOT NULL DEFAULT clock_timestamp()); "
    "ALTER TABLE migrations ADD COLUMN IF NOT EXISTS min_version integer"
)
_NOTE = "INSERT INTO migrations (version, min_version) VALUES ({}, {}) ON CONFLICT DO NOTHING"
_QUEUES_EVER = (
    "SELECT coalesce(max(queue), 0) + 1 FROM (SELECT max(queue) AS queue FROM messages "
    "UNION ALL SELECT max(queue) FROM seen UNION ALL SELECT max(queue) FROM deleted "
    "UNION ALL SELECT max(queue) FROM uniques UNION ALL SELECT max(queue) FROM changes "
    "UNION ALL SELECT max(queue) FROM consumers UNION ALL SELECT max(queue) FROM waiters "
    "UNION ALL SELECT max(queue) FROM gates UNION ALL SELECT max(queue) FROM lanes "
    "UNION ALL SELECT max(queue) FROM arrivals) every"
)
OLDEST_SERVER = 120000
"""plan_cache_mode."""


def _sql() -> list[str]:
    folder = files(__package__) / "sql"
    return [(folder / f"{part}.sql").read_text("utf-8") for part in PARTS]


def parts() -> tuple[list[str], list[str]]:
    """The names of the tables, including the one of the versions, and of the functions."""
    made = _MADE.findall("\n".join(_sql()))
    tables, functions = ({name for kind, name in made if kind == wanted} for wanted in ("table", "function"))
    return sorted({*tables, "migrations"}), sorted(functions)


async def check(connection: Any, schema: str, driver: str = "") -> bool:
    """Whether the schema is whole and up to date; changes nothing.

    Raises what the client raises, DriverError for a schema that only newer versions can work with, and UnsupportedError
    for a server too old.
    """
    await connection.execute("BEGIN")
    layout, missing = await _state(connection, schema)
    number = int(await _one(connection, "SELECT current_setting('server_version_num')"))
    await connection.execute("COMMIT")
    is_old = _is_old(layout, schema, driver)
    if number < OLDEST_SERVER:
        raise UnsupportedError(f"PostgreSQL 12 or newer is needed; this is {number // 10000}")
    return not is_old and not missing


async def migrate(connection: Any, schema: str, driver: str = "") -> None:
    """Bring the schema up to date, and make its missing parts again.

    Raises what the client raises, DriverError for a schema that only newer versions can work with, or make whole,
    AccessDeniedError if the role may not change it, and BrokerUnavailableError if its tables do not come free.
    """
    await connection.execute(_BEGIN)
    await connection.execute(_LOCK.format(schema))
    layout, missing = await _state(connection, schema)  # another process may have done it meanwhile
    if _is_old(layout, schema, driver) or missing:  # and one of a newer version, which this one cannot work with
        is_old = f"has layout {layout.version}, older than {LAYOUT.version}"
        lack = f"lacks {', '.join(sorted(missing))}" if missing else is_old
        if layout.version > LAYOUT.version:
            # Ours would put older functions in the place of the newer ones.
            newer = f"schema {schema!r} is of a newer Tasuki (layout {layout.version})"
            raise DriverError(f"{newer} and {lack}: start a process of it", driver=driver)
        try:
            await with_short_waits(connection, schema, partial(_make, connection, schema, missing), driver)
        except Exception as error:
            if sql_state(error) != NO_RIGHT:
                raise
            problem = f"schema {schema!r} {lack}, and this role may not change it: start a process whose role owns it"
            raise AccessDeniedError(problem, driver=driver) from error
    await connection.execute("COMMIT")


async def _make(connection: Any, schema: str, missing: Sequence[str]) -> None:
    if not await _one(connection, _HAS_SCHEMA, schema):
        await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(f"SET LOCAL search_path = {schema}, pg_temp")
    for sql in (_VERSION_TABLE, *_sql()):
        await connection.execute(sql)
    await connection.execute(_NOTE.format(*LAYOUT))
    if "messages" in missing:
        await connection.execute(_RENUMBER.format("messages", "seq", await _one(connection, _NOW)))
    if "queues" in missing:
        await connection.execute(_RENUMBER.format("queues", "id", await _one(connection, _QUEUES_EVER)))


def _is_old(found: Layout, schema: str, driver: str) -> bool:
    return is_outdated(found, LAYOUT, place=f"schema {schema!r}", driver=driver)


async def _state(connection: Any, schema: str) -> tuple[Layout, list[str]]:
    """The layout, of zeros if there is none, and the names of missing parts."""
    tables, functions = parts()
    missing: list[str] = await _one(connection, _MISSING_TABLES, schema, tables)
    layout = Layout(0, 0)
    if "migrations" not in missing:
        layout = Layout(*await _one(connection, _VERSIONS.format(schema)))
    if layout.version >= LAYOUT.version:
        missing += await _one(connection, _MISSING_FUNCTIONS, schema, functions)
    return layout, missing


async def _one(connection: Any, sql: str, *arguments: Any) -> Any:
    """One value, asked for in a transaction by a statement without a name: so it goes through any pooler."""
    statement = await connection.prepare(sql, name=False)
    return await statement.fetchval(*arguments)
