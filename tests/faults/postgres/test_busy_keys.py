"""Publishers beside a transaction of a caller's that keeps a unique key, or an id, and stays open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tasuki import App
from tasuki.contracts.driver import QueueSpec, Unique
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import KeyBusyError
from tests.faults.postgres.load import message
from tests.support.brokers.rig import fresh
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
async def app(url: str) -> AsyncIterator[App]:
    app = App(url)
    app.queue("q", queue_name=fresh("busy"))
    async with app:
        yield app


async def test_publishers_in_one_process_do_not_wait_for_a_key_of_another_client(
    app: App, sql: asyncpg.Connection
) -> None:
    """Eighteen without a key, one with another key, one with the key: that one has it once it is free."""
    queue = app.queue("q")
    transaction = sql.transaction()
    await transaction.start()
    await queue.publish("open", unique="k", connection=sql)
    keyed = asyncio.create_task(queue.publish("keyed", unique="k", publish_timeout="60s"))
    others = [queue.publish(number) for number in range(18)]
    await asyncio.gather(queue.publish("other", unique="l"), *others)
    assert not keyed.done()
    with pytest.raises(KeyBusyError, match=r"unique key 'k' of queue .* is kept by a transaction that is open"):
        await queue.publish("late", unique="k", publish_timeout="3s")
    await transaction.rollback()
    assert (await keyed).outcome == "stored"
    assert (await queue.depth()).ready == 20


async def test_a_message_of_many_waits_alone(app: App, sql: asyncpg.Connection) -> None:
    queue = app.queue("q")
    transaction = sql.transaction()
    await transaction.start()
    await queue.publish("open", id="open", unique="k", connection=sql)
    many: list[Any] = [{"n": 1}, {"n": 2}]
    joined = asyncio.create_task(queue.publish_many([_keyed("k"), *many, _keyed("l")], publish_timeout="60s"))
    while (await queue.depth()).ready < 3:
        await asyncio.sleep(0.01)
    assert not joined.done()
    await transaction.commit()
    assert [getattr(each, "outcome", each) for each in await joined] == ["kept", "stored", "stored", "stored"]


def _keyed(key: str) -> Any:
    from tasuki.queues.queue import Envelope

    return Envelope(body=key, unique=key)


async def test_publishers_of_the_same_ids_in_another_order_never_deadlock(
    url: str, sql: asyncpg.Connection, schema: str
) -> None:
    drivers = [PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema)) for _ in range(2)]
    for driver in drivers:
        await driver.declare(QueueSpec("q", dedup_window=60.0))
        await driver.open()
    deadlocks = "SELECT sum(deadlocks) FROM pg_stat_database"
    before = await sql.fetchval(deadlocks)
    for turn in range(20):
        ids = [f"{turn}-{number}" for number in range(100)]
        batches = [[message(id, unique=_unique(id, n)) for n, id in enumerate(order)] for order in (ids, ids[::-1])]
        await asyncio.gather(*(driver.publish("q", batch) for driver, batch in zip(drivers, batches, strict=True)))
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.messages") == 2000
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.seen") == 2000
    assert await sql.fetchval(deadlocks) == before
    for driver in drivers:
        await driver.close()


def _unique(id: str, number: int) -> Unique | None:
    """The first one makes the whole batch go the way of unique messages."""
    return Unique(f"first of {id}", "pending", "keep", 0.0) if number == 0 else None
