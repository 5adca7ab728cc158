"""Transactions of handlers on connections of the driver's own, which end unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from tasuki import App
from tasuki.contracts.driver import Ack, Driver, Outgoing
from tasuki.drivers.postgres import caller_transaction
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError
from tasuki.system.threads import at_once, entered_at_once
from tasuki.testing.proxy import Proxy
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import fresh
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 20.0


@pytest.fixture
def url() -> str:
    return f"postgresql://postgres@127.0.0.1:{Postgres.shared().port}/postgres"


@pytest.fixture
async def driver(url: str, tmp_path: Path) -> AsyncIterator[Driver]:
    app = App(url)
    app.queue("q", queue_name=f"q_{tmp_path.name}")
    async with app:
        yield app._runtime.queue("q").driver


def kill_all(url: str) -> None:
    """End every other session of the server that is idle."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'idle' "
            "AND backend_type = 'client backend'"
        )


async def test_a_spare_connection_that_has_ended_is_replaced(driver: Driver, url: str) -> None:
    async with driver.transaction() as connection:
        await connection.execute("SELECT 1")
    with entered_at_once(driver.transaction(None, sync=True), AssertionError) as plain:
        plain.execute("SELECT 1")
    kill_all(url)
    async with driver.transaction() as connection:
        assert await connection.fetchval("SELECT 2") == 2
    with entered_at_once(driver.transaction(None, sync=True), AssertionError) as plain:
        assert plain.execute("SELECT 2").fetchone() == (2,)


async def test_a_connection_that_ends_within_the_block_commits_nothing(
    driver: Driver, url: str, tmp_path: Path
) -> None:
    queue = f"q_{tmp_path.name}"
    await driver.publish(queue, [Outgoing("a", b"", {})])
    (got,) = await driver.receive(queue, 1, 5.0)
    with pytest.raises(BrokerUnavailableError) as caught:
        await _cut_off(driver, url, queue, got.receipt)
    assert caught.value.outcome == "unknown"
    assert not await driver.settle(queue, [Ack(got.receipt)])


async def _cut_off(driver: Driver, url: str, queue: str, receipt: object) -> None:
    async with driver.transaction() as connection:
        await driver.settle_within(connection, queue, [Ack(receipt)])
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (await connection.fetchval("SELECT pg_backend_pid()"),))


async def test_a_closed_driver_opens_none(url: str) -> None:
    app = App(url)
    app.queue("q", queue_name="closed_q")
    async with app:
        driver = app._runtime.queue("q").driver
    for is_sync in (False, True):
        with pytest.raises(BrokerUnavailableError, match="not open"):
            at_once(_entered(driver, sync=is_sync), AssertionError)


async def _entered(driver: Driver, *, sync: bool) -> None:
    async with driver.transaction(None, sync=sync):
        pass


async def test_a_spare_connection_that_is_silent_is_replaced(
    make: Callable[..., Awaitable[PostgresDriver]], proxy: Proxy
) -> None:
    """A firewall forgets idle connections, and then nothing that is sent is answered."""
    driver = await make(connect_timeout=0.5)
    async with driver.transaction() as first:
        pass
    proxy.hush()
    async with asyncio.timeout(PATIENCE), driver.transaction() as second:
        assert second is not first
        assert await second.fetchval("SELECT 2") == 2


async def test_a_block_ends_although_its_connection_is_silent(
    make: Callable[..., Awaitable[PostgresDriver]], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the handler would never end, whatever its timeout."""
    driver = await make(connect_timeout=0.5)
    with pytest.raises(TimeoutError, match="the handler's"):
        await _silent(driver, proxy, TimeoutError("the handler's"))
    monkeypatch.setattr(caller_transaction, "PATIENCE", 0.5)
    with pytest.raises(BrokerTimeoutError) as caught:
        await _silent(driver, proxy, None)
    assert caught.value.outcome == "unknown"


async def _silent(driver: Driver, proxy: Proxy, error: Exception | None) -> None:
    async with asyncio.timeout(PATIENCE), driver.transaction():
        proxy.hush()
        if error is not None:
            raise error


async def test_a_block_that_outlives_the_driver_leaves_no_connection(
    make: Callable[..., Awaitable[PostgresDriver]], proxy: Proxy
) -> None:
    """A thread of a plain handler may."""
    driver = await make()
    async with driver.transaction() as connection:
        await driver.close()
    assert connection.is_closed()
    await driver.open()
    with entered_at_once(driver.transaction(None, sync=True), AssertionError) as plain:
        await driver.close()
    assert plain.closed


@pytest.mark.parametrize("is_sync", [False, True])
async def test_connections_of_the_driver_have_a_level_of_their_own(url: str, is_sync: bool) -> None:
    """Whatever the default of the database is."""
    name = fresh("level")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'".encode())
    there = f"{url.rpartition('/')[0]}/{name}"
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=there))
    await driver.open()
    async with driver.transaction(sync=is_sync) as connection:
        sql = "SHOW transaction_isolation"
        found = connection.execute(sql).fetchone()[0] if is_sync else await connection.fetchval(sql)
    await driver.close()
    assert found == "read committed"
