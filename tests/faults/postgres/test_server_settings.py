"""What the server is set to, and what it refuses: credentials, connections, durability, isolation, poolers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import AccessDeniedError, BrokerUnavailableError
from tasuki.testing.proxy import Proxy
from tests.faults.postgres.load import PATIENCE, address, eventually, hears, message
from tests.support.brokers.postgres import Pgbouncer, Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_no_more_connections_than_the_server_has(
    server: Postgres, make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    await (await make()).close()
    await sql.execute("DROP ROLE IF EXISTS few")
    await sql.execute("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 2")
    await sql.execute("ALTER DATABASE postgres CONNECTION LIMIT -1")
    await sql.execute("ALTER ROLE few NOSUPERUSER")
    await sql.execute(f"GRANT ALL ON SCHEMA {schema} TO few")
    await sql.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO few")
    await sql.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO few")
    driver = await make(url=address(server.port, user="few"), pool_size=10)
    results = await asyncio.gather(*(driver.publish("q", [message(f"{number}")]) for number in range(50)))
    assert not any(any(result) for result in results)
    assert (await driver.depth("q")).ready == 50


async def test_wrong_credentials_and_unknown_databases(server: Postgres, make: Callable[..., Any]) -> None:
    for url in (address(server.port, user="nobody:hidden"), address(server.port, database="nowhere")):
        with pytest.raises(AccessDeniedError) as raised:
            await make(url=url)
        assert "hidden" not in str(raised.value)


async def test_no_server_at_the_address(make: Callable[..., Any], proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(BrokerUnavailableError) as raised:
        await make()
    assert raised.value.outcome == "rejected"


async def test_durability_is_that_of_the_settings(
    server: Postgres, make: Callable[..., Any], sql: asyncpg.Connection
) -> None:
    assert (await make()).durability == "broker"  # fsync is off
    await sql.execute("ALTER DATABASE postgres SET synchronous_commit = off")
    try:
        assert (await make()).durability == "process"
    finally:
        await sql.execute("ALTER DATABASE postgres RESET synchronous_commit")


@pytest.mark.parametrize("commit", ["off", "local"])
async def test_the_driver_and_a_queue_say_what_their_commits_wait_for(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, commit: str
) -> None:
    level = {"off": "process", "local": "broker"}[commit]  # fsync is off
    driver, other = await make(synchronous_commit=commit), await make()
    assert (driver.durability, other.durability) == (level, "broker")
    weak = QueueSpec("weak", options={"synchronous_commit": commit})
    await other.declare(weak)
    assert (other.durability_of("weak"), other.durability_of("q")) == (level, "broker")
    await sql.execute(
        f"""CREATE FUNCTION {schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO {schema}.notes VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE TABLE {schema}.notes (id text, value text);
        CREATE CONSTRAINT TRIGGER note AFTER INSERT ON {schema}.messages DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION {schema}.note()"""
    )
    await other.publish("weak", [message("a")])
    await other.publish("q", [message("b")])
    await driver.publish("q", [message("c")])
    notes = dict(await sql.fetch(f"SELECT id, value FROM {schema}.notes"))
    assert notes == {"a": commit, "b": "on", "c": commit}, "when the transaction commits"
    assert (await driver.inspect(QueueSpec("weak"))).options == {"synchronous_commit": commit}
    async with sql.transaction():
        await other.publish_within(sql, "weak", [message("d")])
        assert await sql.fetchval("SELECT current_setting('synchronous_commit')") == "on", "that is for the caller"
    await driver.declare(QueueSpec("weak"))
    await other.publish("weak", [message("e")])
    assert other.durability_of("weak") == "broker", "the last declaration holds"


async def test_a_default_of_stricter_isolation_changes_nothing(
    make: Callable[..., Any], sql: asyncpg.Connection
) -> None:
    await sql.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
    try:
        driver = await make()
        await driver.publish("q", [message(f"{number}") for number in range(100)])
        taken = await asyncio.gather(*(driver.receive("q", 10, 5.0) for _ in range(10)))
        assert len({item.id for got in taken for item in got}) == 100
    finally:
        await sql.execute("ALTER DATABASE postgres RESET default_transaction_isolation")


async def test_a_pooler_is_noticed_and_listen_url_leads_around_it(server: Postgres, schema: str) -> None:
    pooler = Pgbouncer.shared()
    shared = Postgres.shared().port
    through = PostgresDriver("postgres", PostgresSettings(url=address(pooler.port), schema=schema))
    around = PostgresDriver(
        "postgres", PostgresSettings(url=address(pooler.port), listen_url=address(shared), schema=schema)
    )
    try:
        for driver in (through, around):
            await driver.declare(QueueSpec("q"))
            await driver.open()
            await driver.receive("q", 1, 0.01)
        await eventually(lambda: hears(around), "a listener")
        assert not await hears(through)
        for driver, other in ((through, around), (around, through)):
            waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
            await asyncio.sleep(0.1)
            await other.publish("q", [message()])
            (got,) = await waiting
            await driver.settle("q", [Ack(got.receipt)])
    finally:
        await through.close()
        await around.close()
