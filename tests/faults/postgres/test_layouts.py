"""Whatever a schema lacks: completed, it is as a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from tasuki.drivers.postgres.schema import schema as completing
from tasuki.errors import AccessDeniedError, DriverError
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import fresh, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

_PARTS = (
    "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = $1::text::regnamespace",
    "SELECT pg_get_indexdef(oid) FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'i'",
    "SELECT concat_ws(' ', c.relname, c.relpersistence, c.reloptions, a.attname, a.atttypid::regtype, a.attnotnull, "
    "pg_get_expr(d.adbin, d.adrelid)) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
    "WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'c') AND a.attnum > 0 AND NOT a.attisdropped",
)


@pytest.fixture
async def connection() -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(Postgres.shared().url)
    yield connection
    await connection.close()


@pytest.fixture
async def others() -> AsyncIterator[Sequence[asyncpg.Connection]]:
    """Two further ones, which may be in the middle of something at the end."""
    connections = [await asyncpg.connect(Postgres.shared().url) for _ in range(2)]
    yield connections
    for connection in connections:
        connection.terminate()


async def parts(connection: asyncpg.Connection, schema: str) -> list[str]:
    """Functions with their settings, indexes, and columns, as the server shows them."""
    shown = [row[0] for sql in _PARTS for row in await connection.fetch(sql, schema)]
    return sorted(text.replace(schema, "schema") for text in shown)


_DROPPED = (
    "DROP TABLE waiters",
    "DROP TABLE lanes, arrivals, gates",
    "DROP TABLE messages, queues, migrations CASCADE",
    "DROP TYPE offer CASCADE",
    "DROP FUNCTION publish, cause_in, count_causes",
)


@pytest.mark.parametrize("drop", _DROPPED)
async def test_a_schema_that_lacks_parts_becomes_as_a_new_one(connection: asyncpg.Connection, drop: str) -> None:
    schema = fresh("layouts")
    await completing.complete(connection, schema)
    new = await parts(connection, schema)
    await connection.execute(f"SET search_path = {schema}; {drop}; RESET search_path")
    assert not await completing.check(connection, schema)
    await completing.complete(connection, schema)
    assert await completing.check(connection, schema)
    assert await parts(connection, schema) == new


_LOCKED_FIRST = (
    "SELECT lease FROM {}.queues",
    "SELECT {}.beat(1, NULL)",
    "SELECT {}.settle('bounded', '{{1}}', '{{1}}', NULL, NULL, false)",
)
_LOCKED_NEXT = (
    "SELECT {0}.publish('bounded', '{{b}}', '{{b}}', '{{NULL}}', NULL, NULL, NULL, NULL, false), {0}.beat(1, NULL)"
)


@pytest.mark.parametrize("first", _LOCKED_FIRST)
async def test_a_change_of_the_schema_lets_running_verbs_end(
    connection: asyncpg.Connection, others: Sequence[asyncpg.Connection], first: str
) -> None:
    """A transaction that has locked some tables, as a verb in the middle of its work, can lock the others."""
    verb, changing = others
    schema = fresh("layouts")
    await completing.complete(connection, schema)
    for options in ("'bounded', 9, 5, false, 9", "'free', 9, NULL, true, NULL"):
        await connection.execute(f"SELECT {schema}.declare_queue({options}, false, NULL, 0, NULL, NULL)")
    await connection.execute(f"DROP FUNCTION {schema}.occupancies")
    await verb.execute(f"BEGIN; {first.format(schema)}")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(completing.complete(changing, schema))
        waits = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"
        await until(lambda: connection.fetchval(waits, changing.get_server_pid()), "the change waits for the verb")
        await verb.execute(f"{_LOCKED_NEXT.format(schema)}; COMMIT")
    assert await completing.check(connection, schema)


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ("DROP FUNCTION settle_with_errors, leave", "lacks leave, settle_with_errors"),
        ("DROP TABLE waiters", "lacks waiters"),
    ],
)
async def test_a_role_that_does_not_own_the_schema_says_who_completes_it(
    connection: asyncpg.Connection, others: Sequence[asyncpg.Connection], change: str, lack: str
) -> None:
    schema = fresh("layouts")
    await completing.complete(connection, schema)
    role = f"worker_of_{schema}"
    await connection.execute(
        f"SET search_path = {schema}; {change}; CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; RESET search_path"
    )
    worker, _ = others
    await worker.execute(f"SET ROLE {role}")
    assert not await completing.check(worker, schema)
    with pytest.raises(AccessDeniedError, match=f"{lack}.*, and this role may not.*start a process whose role owns it"):
        await completing.complete(worker, schema)


async def test_a_schema_that_another_layout_took_meanwhile_is_refused(connection: asyncpg.Connection) -> None:
    """Between the check of the schema and the lock."""
    schema = fresh("layouts")
    await completing.complete(connection, schema)
    await connection.execute(f"INSERT INTO {schema}.migrations (version) VALUES (2)")
    with pytest.raises(DriverError, match="has layout 2, and this version of Tasuki needs layout 1"):
        await completing.complete(connection, schema)
