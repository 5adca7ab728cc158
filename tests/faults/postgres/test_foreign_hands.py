"""Rows and schemas that another program drops, locks, deletes or adds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec
from tasuki.drivers.postgres import waiting
from tasuki.errors import DriverError
from tests.faults.postgres.load import PATIENCE, eventually, message, past_deadlocks

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_dropped_schema_is_made_again_by_the_next_open(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    await past_deadlocks(lambda: sql.execute(f"DROP SCHEMA {schema} CASCADE"))
    await driver.close()
    await driver.open()
    await driver.publish("q", [message()])
    assert len(await driver.receive("q", 1, 5.0)) == 1


async def test_a_line_whose_front_was_deleted_by_hand(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat finds the next one, and wakes a receive."""
    monkeypatch.setattr(waiting, "BEAT", 0.2)
    spec = QueueSpec("q", ordering="key")
    driver = await make(spec=spec)
    await driver.publish("q", [message(id, key="k") for id in "abc"])
    (first,) = await driver.receive("q", 3, 5.0)
    assert first.id == "a"
    await sql.execute(f"DELETE FROM {schema}.messages WHERE id = 'a'")
    assert [item.id for item in await driver.receive("q", 3, PATIENCE)] == ["b"]


async def test_rows_of_another_program_arrive(make: Callable[..., Any], sql: asyncpg.Connection, schema: str) -> None:
    driver = await make()
    await sql.execute(
        f"""SELECT {schema}.publish('q', array['a', 'b'], array['x', 'y']::bytea[], array['no json', null]::bytea[],
            null, null, null, null, false)"""
    )
    got = await driver.receive("q", 2, 5.0)
    assert [(item.id, item.body, item.headers) for item in got] == [("a", b"x", {}), ("b", b"y", {})]


async def test_a_locked_table_keeps_no_caller_waiting_for_ever(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make(timeout=1.0)
    async with sql.transaction():
        await sql.execute(f"LOCK TABLE {schema}.messages")
        for verb in (driver.publish("q", [message()]), driver.receive("q", 1, 0.0), driver.depth("q")):
            began = time.monotonic()
            with pytest.raises(DriverError) as raised:
                await verb
            assert raised.value.retryable
            assert time.monotonic() - began < PATIENCE
    await driver.publish("q", [message()])
    assert len(await driver.receive("q", 1, 5.0)) == 1


async def test_locked_rows_are_passed_by(make: Callable[..., Any], sql: asyncpg.Connection, schema: str) -> None:
    driver = await make()
    await driver.publish("q", [message(id) for id in "abc"])
    async with sql.transaction():
        await sql.execute(f"SELECT FROM {schema}.messages WHERE id = 'a' FOR UPDATE")
        assert [item.id for item in await driver.receive("q", 3, 5.0)] == ["b", "c"]
    assert [item.id for item in await driver.receive("q", 3, 5.0)] == ["a"]


async def test_settling_and_extending_the_same_deliveries_never_deadlock(
    make: Callable[..., Any], sql: asyncpg.Connection
) -> None:
    driver, other = await make(), await make()
    deadlocks = "SELECT sum(deadlocks) FROM pg_stat_database"
    before = await sql.fetchval(deadlocks)
    for _ in range(10):
        await driver.publish("q", [message(f"{number}") for number in range(200)])
        receipts = [item.receipt for item in await driver.receive("q", 200, 5.0)]
        await asyncio.gather(
            driver.settle("q", [Nack(receipt) for receipt in receipts]),
            other.extend("q", receipts[::-1], 5.0),
            driver.extend("q", receipts, 5.0),
            other.settle("q", [Ack(receipt) for receipt in receipts[::-1]]),
        )
        await driver.purge("q")
    assert await sql.fetchval(deadlocks) == before


async def test_messages_published_during_a_deletion_do_not_stay(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BEAT", 0.2)
    driver = await make()
    async with sql.transaction():
        await driver.publish_within(sql, "q", [message()])
        await driver.delete("q")
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.messages") == 1
    await sql.execute(f"UPDATE {schema}.deleted SET deleted_at = deleted_at - interval '1 hour'")

    async def is_empty() -> bool:
        left = f"SELECT (SELECT count(*) FROM {schema}.messages) + (SELECT count(*) FROM {schema}.deleted) = 0"
        return bool(await sql.fetchval(left))

    await eventually(is_empty, "nothing is left")
