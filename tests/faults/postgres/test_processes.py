"""Many processes at once, another layout of the tables, and consumers that were killed."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import QueueSpec
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
    assert versions == [LAYOUT]
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


@pytest.mark.parametrize("found", [2, 24])
async def test_a_schema_of_another_layout_is_refused_and_kept(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, found: int
) -> None:
    await (await make()).close()
    await sql.execute(f"INSERT INTO {schema}.migrations (version) VALUES ({found}); DROP FUNCTION {schema}.occupancies")
    found_and_needed = f"schema '{schema}' has layout {found}, and this version of Tasuki needs layout 1"
    with pytest.raises(DriverError, match=f"{found_and_needed}: drain it with .* or set another schema") as caught:
        await make()
    assert caught.value.__cause__ is None, "an error that is its own cause is a circle"
    function = "SELECT FROM pg_proc WHERE pronamespace = $1::regnamespace AND proname = 'occupancies'"
    assert not await sql.fetch(function, schema)
