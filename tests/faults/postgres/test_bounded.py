"""Queues with a bound, and what their callers and receivers cost each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.postgres import waiting
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.errors import QueueFullError
from tests.faults.postgres.load import PATIENCE, eventually, message, more

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_bounded_queue_is_never_overfull(make: Callable[..., Any]) -> None:
    spec = QueueSpec("q", max_length=50)
    drivers = [await make(spec=spec) for _ in range(3)]
    confirmed = 0
    over = False

    async def publish(driver: PostgresDriver) -> None:
        nonlocal confirmed
        while not over:
            try:
                results = await driver.publish("q", [message(f"{number}") for number in range(7)])
                confirmed += 7 if not results else sum(result is None for result in results)
            except QueueFullError:
                await asyncio.sleep(0.001)

    publishers = [asyncio.create_task(publish(driver)) for driver in drivers]
    taken = 0
    while taken < 500:
        depth = await drivers[0].depth("q")
        assert depth.ready + depth.in_flight <= 50
        got = await drivers[1].receive("q", 20, 5.0)
        await drivers[1].settle("q", [Ack(item.receipt) for item in got])
        taken += len(got)
    over = True
    await asyncio.gather(*publishers)
    depth = await drivers[0].depth("q")
    assert taken + depth.ready == confirmed


async def test_no_process_is_notified_unless_one_waits(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    heard: list[str] = []

    def hear(*arguments: Any) -> None:
        heard.append(arguments[3])

    channel = f"tasuki:{driver._guard.current.holder:x}"
    await sql.add_listener(channel, hear)
    await driver.publish("q", [message()])
    await sql.fetchval("SELECT 1")
    assert heard == []
    await driver.receive("q", 1, 5.0)
    waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
    await eventually(lambda: sql.fetchval(f"SELECT count(*) FROM {schema}.waiters WHERE hears"), "a waiting process")
    await driver.publish("q", [message(f"{number}") for number in range(100)])
    await waiting
    await eventually(lambda: more(heard, 1), "a notification")
    assert heard == ["q"]
    await sql.remove_listener(channel, hear)


async def test_what_callers_publish_into_a_bounded_queue_is_added_up(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BEAT", 0.2)
    driver = await make(spec=QueueSpec("q", lease=5.0, max_length=5))
    async with sql.transaction():
        await driver.publish_within(sql, "q", [message(str(number)) for number in range(3)])
    come_and_gone = "SELECT id, change FROM {0}.queues, generate_series(1, 1000), unnest(array[1, -1]) AS change"
    await sql.execute(f"INSERT INTO {schema}.changes " + come_and_gone.format(schema))

    async def is_short() -> bool:
        return bool(await sql.fetchval(f"SELECT count(*) < 1000 FROM {schema}.changes"))

    await eventually(is_short, "changes are added up")
    for left in (1, 0):
        async with sql.transaction():
            assert not await driver.publish_within(sql, "q", [message(f"more-{left}")])
    with pytest.raises(QueueFullError):
        async with sql.transaction():
            await driver.publish_within(sql, "q", [message("too many")])
