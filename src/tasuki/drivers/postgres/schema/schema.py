"""Schema: makes the tables, and brings them up to date, once for all processes that start together."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import DriverError, UnsupportedError

MIN_VERSION = 10
"""The oldest version whose processes can work with the schema as this one makes it (docs/adr/0016)."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
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
_MADE = re.compile(r"^(create|drop) (?:or replace )?(?:unlogged )?(table|function) (?:if (?:not )?exists )?(\w+)", re.M)
# Receipts of a table that was dropped must never fit a message of the one that takes its place.
_NUMBER_ANEW = "ALTER TABLE messages ALTER COLUMN seq RESTART WITH {}"
_QUEUES_EVER = (
    "SELECT coalesce(max(queue), 0) + 1 FROM (SELECT max(queue) AS queue FROM messages "
    "UNION ALL SELECT max(queue) FROM seen UNION ALL SELECT max(queue) FROM deleted "
    "UNION ALL SELECT max(queue) FROM changes UNION ALL SELECT max(queue) FROM consumers "
    "UNION ALL SELECT max(queue) FROM waiters) every"
)
OLDEST_SERVER = 120000
"""plan_cache_mode."""


def migrations() -> list[tuple[int, str]]:
    """Number and text of each, in order."""
    folder = files(__package__) / "migrations"
    found = sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name[:4]), text) for name, text in found]


def parts() -> tuple[list[str], list[str]]:
    """The names of the tables, the one of the versions included, and of the functions that the migrations make."""
    made: dict[str, set[str]] = {"table": {"migrations"}, "function": set()}
    for _, text in migrations():
        for verb, kind, name in _MADE.findall(text):
            (made[kind].add if verb == "create" else made[kind].discard)(name)
    return sorted(made["table"]), sorted(made["function"])


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
    """Bring the schema up to date, and make again what somebody dropped of it.

    Raises what the client raises, and DriverError for a schema that only newer versions can work with, or make whole.
    """
    await connection.execute(_BEGIN)
    await connection.execute(_LOCK.format(schema))
    layout, missing = await _state(connection, schema)  # another process may have done it meanwhile
    _is_old(layout, schema, driver)  # and one of a newer version more than ours can work with
    version = layout.version
    if missing and version > _ours().version:
        # Ours would put older functions in the place of the newer ones.
        problem = (
            f"schema {schema!r} is of a newer Tasuki (layout {version}) and lacks {', '.join(missing)}: "
            "start a process of it"
        )
        raise DriverError(problem, driver=driver)
    if missing:
        version = 0  # each migration keeps what is there
        if not await _one(connection, _HAS_SCHEMA, schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.migrations "
            "(version integer PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
    await connection.execute(f"SET LOCAL search_path = {schema}, pg_temp")
    todo = [(number, text) for number, text in migrations() if number > version]
    if todo:
        await connection.execute("ALTER TABLE migrations ADD COLUMN IF NOT EXISTS min_version integer")
    for number, text in todo:
        await connection.execute(text)
        note = f"INSERT INTO migrations (version) VALUES ({number}) ON CONFLICT DO NOTHING"  # noqa: S608 - a number
        await connection.execute(note)
    if todo:
        await connection.execute(f"UPDATE migrations SET min_version = {MIN_VERSION} WHERE version = {todo[-1][0]}")  # noqa: S608 - numbers
    if "messages" in missing:
        now = await _one(connection, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        await connection.execute(_NUMBER_ANEW.format(now))
    if "queues" in missing:
        first = await _one(connection, _QUEUES_EVER)
        await connection.execute(f"ALTER TABLE queues ALTER COLUMN id RESTART WITH {first}")
    await connection.execute("COMMIT")


def _is_old(found: Layout, schema: str, driver: str) -> bool:
    return is_outdated(found, _ours(), place=f"schema {schema!r}", driver=driver)


def _ours() -> Layout:
    return Layout(migrations()[-1][0], MIN_VERSION)


async def _state(connection: Any, schema: str) -> tuple[Layout, list[str]]:
    """The layout, of zeros if there is none, and what is missing of a schema that has it all."""
    tables, functions = parts()
    missing: list[str] = await _one(connection, _MISSING_TABLES, schema, tables)
    layout = Layout(0, 0)
    if "migrations" not in missing:
        layout = Layout(*await _one(connection, _VERSIONS.format(schema)))
    if layout.version >= _ours().version:
        missing += await _one(connection, _MISSING_FUNCTIONS, schema, functions)
    return layout, missing


async def _one(connection: Any, sql: str, *arguments: Any) -> Any:
    """One value, asked for in a transaction by a statement without a name: so it goes through any pooler."""
    statement = await connection.prepare(sql, name=False)
    return await statement.fetchval(*arguments)
