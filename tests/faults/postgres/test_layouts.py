"""Whatever layout a schema had: brought up to date, it is as a new one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasuki.drivers.postgres.schema import schema as migrating
from tasuki.errors import DriverError
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import fresh

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


async def parts(connection: asyncpg.Connection, schema: str) -> list[str]:
    """Functions with their settings, indexes, and columns, as the server shows them."""
    shown = [row[0] for sql in _PARTS for row in await connection.fetch(sql, schema)]
    return sorted(text.replace(schema, "schema") for text in shown)


@pytest.mark.parametrize("layout", range(migrating.MIN_VERSION, migrating.migrations()[-1][0]))
async def test_an_older_layout_becomes_the_newest(
    connection: asyncpg.Connection, layout: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new, old = migrating.migrations(), fresh("layouts"), fresh("layouts")
    await migrating.migrate(connection, new)
    monkeypatch.setattr(migrating, "migrations", lambda: known[:layout])
    await migrating.migrate(connection, old)
    monkeypatch.undo()
    assert not await migrating.check(connection, old)
    await migrating.migrate(connection, old)
    assert await migrating.check(connection, old)
    assert await parts(connection, old) == await parts(connection, new)


async def test_a_layout_that_a_newer_process_made_meanwhile_is_refused(connection: asyncpg.Connection) -> None:
    """Between the look at the schema and the lock of the migrations."""
    schema = fresh("layouts")
    await migrating.migrate(connection, schema)
    await connection.execute(f"INSERT INTO {schema}.migrations (version, min_version) VALUES (1000, 1000)")
    with pytest.raises(DriverError, match="needs a Tasuki that knows layout 1000"):
        await migrating.migrate(connection, schema)
