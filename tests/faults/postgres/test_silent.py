"""A server process that answers nothing any more costs one deadline: its connection is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError
from tests.faults.postgres.load import PATIENCE, eventually
from tests.support.brokers.postgres import Pgbouncer, Postgres
from tests.support.brokers.rig import fresh
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@asynccontextmanager
async def administrator() -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(Postgres.shared().url)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Server processes that keep their connections, and do nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("broker", [Postgres, Pgbouncer])
async def test_a_connection_that_answers_nothing_is_replaced(broker: type[Postgres] | type[Pgbouncer]) -> None:
    url, schema = broker.shared().url, fresh("silent")
    driver = PostgresDriver(
        "silent", parsed(PostgresSettings, url=url, schema=schema, timeout=1.0, connect_timeout=1.0, poll_interval=60.0)
    )
    await driver.declare(QueueSpec("q"))
    await driver.open()
    try:
        async with administrator() as admin:
            await driver.publish("q", [Outgoing("before", b"", {})])
            (got,) = await driver.receive("q", 1, PATIENCE)
            assert await asyncio.to_thread(lambda: asyncio.run(_extend(driver, got.receipt))) == []
            mine = await admin.fetch(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            with stopped([row[0] for row in mine]):
                with pytest.raises((BrokerTimeoutError, BrokerUnavailableError)) as raised:
                    await driver.publish("q", [Outgoing("doubtful", b"", {})])
                assert raised.value.outcome == "unknown"
                with pytest.raises((BrokerTimeoutError, BrokerUnavailableError)):
                    await asyncio.to_thread(lambda: asyncio.run(_extend(driver, got.receipt)))
                # The old server processes still do nothing.
                await eventually(lambda: _published(driver, "after"), "a new connection")
                await eventually(lambda: _extended(driver, got.receipt), "a new connection of the lease's")
                assert list(await driver.settle("q", [Ack(got.receipt)])) == []
                assert [item.id for item in await driver.receive("q", 1, PATIENCE)] == ["after"]
    finally:
        await driver.close()


async def _published(driver: PostgresDriver, id: str) -> bool:
    return not any(await driver.publish("q", [Outgoing(id, b"", {})]))


async def _extend(driver: PostgresDriver, receipt: object) -> list[object]:
    return list(await driver.extend("q", [receipt], 60.0))


async def _extended(driver: PostgresDriver, receipt: object) -> bool:
    return await asyncio.to_thread(lambda: asyncio.run(_extend(driver, receipt))) == []
