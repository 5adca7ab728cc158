"""Many processes at once, other versions of the tables, and consumers that were killed."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Release
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.schema.schema import LAYOUT
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import DriverError
from tests.faults.postgres.load import PATIENCE, address, message
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_ten_processes_make_the_tables_at_once(server: Postgres, schema: str, sql: asyncpg.Connection) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=open_once, args=(server.port, schema), daemon=True) for _ in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, PATIENCE)
    assert [process.exitcode for process in processes] == [0] * 10
    versions = [row[0] for row in await sql.fetch(f"SELECT version FROM {schema}.migrations ORDER BY version")]
    assert versions == [LAYOUT.version]
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.messages") == 10


def open_once(port: int, schema: str) -> None:
    async def work() -> None:
        driver = PostgresDriver(
            "postgres", parsed(PostgresSettings, url=address(port), schema=schema, connect_timeout=PATIENCE)
        )
        await driver.declare(QueueSpec("q"))
        await driver.open()
        await driver.publish("q", [message()])
        await driver.close()

    asyncio.run(work())


async def test_a_schema_of_a_newer_version_is_refused(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    await (await make()).close()
    await sql.execute(f"INSERT INTO {schema}.migrations (version, min_version) VALUES (1000, 999)")
    with pytest.raises(
        DriverError, match=r"has layout 1000, which needs a Tasuki that knows layout 999; this one knows"
    ):
        await make()


async def test_two_versions_work_side_by_side(make: Callable[..., Any], sql: asyncpg.Connection, schema: str) -> None:
    """The newer one has added columns to all tables, and tables and functions."""
    running = await make(spec=QueueSpec("q", lease=5.0, ordering="key", dedup_window=60.0))
    tables = await sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    for (table,) in tables:
        await sql.execute(f"ALTER TABLE {schema}.{table} ADD COLUMN added text NOT NULL DEFAULT 'x'")
    await sql.execute(f"CREATE TABLE {schema}.added (queue integer)")
    await sql.execute(f"CREATE FUNCTION {schema}.added() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    await sql.execute(f"INSERT INTO {schema}.migrations (version, min_version) VALUES (1000, {LAYOUT.version})")
    starting = await make(spec=QueueSpec("q", lease=5.0, ordering="key", dedup_window=60.0))
    for one, other in ((running, starting), (starting, running)):
        batch = [message(id, key="k") for id in ("a", "b")] + [message("c", priority=9), message("d", delay=60.0)]
        assert not await one.publish("q", [*batch, message("a")])
        assert len(await other.peek("q", 10)) == 4
        taken = await other.receive("q", 10, 1.0)
        assert {item.id for item in taken} == {"a", "c"}
        assert not await other.start("q", [taken[0].receipt])
        assert not await other.extend("q", [item.receipt for item in taken], 5.0)
        assert not await other.settle("q", [Nack(taken[0].receipt), Release(taken[1].receipt)])
        taken = await one.receive("q", 10, 1.0)
        assert {item.id for item in taken} == {"a", "c"}
        assert not await one.settle("q", [Ack(item.receipt) for item in taken])
        depth = await other.depth("q")
        assert (depth.ready, depth.in_flight, depth.delayed) == (1, 0, 1)
        assert await other.purge("q") == 2
        await one.declare(QueueSpec("other", temporary=True))
        await one.delete("other")
        await one.delete("q")
        for driver in (one, other):
            await driver.declare(QueueSpec("q", lease=5.0, ordering="key", dedup_window=60.0))
        await use_stores(one, other)
    await sql.execute(f"DROP FUNCTION {schema}.added()")
    [(dropped,)] = await sql.fetch(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = $1 AND p.proname = 'publish' LIMIT 1", schema
    )  # fmt: skip
    await sql.execute(f"DROP FUNCTION {dropped} CASCADE")
    with pytest.raises(
        DriverError, match=r"is of a newer Tasuki \(layout 1000\) and lacks publish: start a process of it"
    ):
        await make()


async def use_stores(writer: PostgresDriver, reader: PostgresDriver) -> None:
    one, other = writer.store("state"), reader.store("state")
    await one.open()
    await other.open()
    version = await one.put("k", b"1", ttl=60.0)
    assert await other.get("k") == ("k", b"1", version)
    assert (await other.list()).entries == [("k", b"1", version)]
    assert await other.delete("k", version=version)
    assert (await other.take("b", 2, rate=1e-3, burst=1)).tokens == 1
    await one.give("b", 1, rate=1e-3, burst=1)
    assert await one.hold("h", "one", places=1, lease=60.0)
    assert await other.hold("h", "other", places=1, lease=60.0) is None
    await one.release("h", "one")
    await one.close()
    await other.close()
