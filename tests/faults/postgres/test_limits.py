"""Limits and lanes of queues in PostgreSQL: what a receive costs, what transactions of callers leave, what remains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Limit, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.postgres.driver import PostgresDriver

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

Make = Callable[..., Awaitable[PostgresDriver]]


def message(id: str, lane: str = "", **options: Any) -> Outgoing:
    return Outgoing(id, b"body", {}, lane=lane, **options)


async def ids(driver: PostgresDriver, most: int = 100, wait: float = 0.0) -> list[str]:
    return [item.id for item in await driver.receive("q", most, wait)]


async def test_round_robin(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", fair=1))
    await driver.publish("q", [message(f"{lane}{n}", lane) for lane in ("a", "b", "c", "") for n in range(3)])
    got = await ids(driver, 8)
    assert sorted(got) == sorted(["a0", "b0", "c0", "0", "a1", "b1", "c1", "1"])
    assert sorted(await ids(driver)) == ["2", "a2", "b2", "c2"]


async def test_one_at_a_time(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", fair=1))
    await driver.publish("q", [message(f"a{n}", "a") for n in range(5)])
    assert await ids(driver, 1) == ["a0"]
    await driver.publish("q", [message(f"b{n}", "b") for n in range(2)])
    rest = [(await ids(driver, 1))[0] for _ in range(6)]
    assert set(rest[:3]) >= {"b0"}
    assert rest[-1] == "a4"
    assert await ids(driver) == []


async def test_places(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", fair=1, lane_limit=Limit(concurrency=2)))
    await driver.publish("q", [message(f"a{n}", "a") for n in range(5)] + [message("b", "b")])
    held = await driver.receive("q", 10, 0.0)
    assert sorted(item.id for item in held) == ["a0", "a1", "b"]
    assert await ids(driver) == []
    waiting = asyncio.create_task(driver.receive("q", 10, 5.0))
    await asyncio.sleep(0.2)
    await driver.settle("q", [Ack(held[0].receipt)])
    (third,) = await waiting
    assert third.id == "a2"
    await driver.settle("q", [Nack(third.receipt)])
    assert await ids(driver) == ["a2"]


async def test_rate(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", fair=1, lane_limit=Limit(rate=20, burst=2)))
    await driver.publish("q", [message(f"a{n}", "a") for n in range(5)] + [message("b", "b")])
    loop = asyncio.get_running_loop()
    start = loop.time()
    got = [await driver.receive("q", 10, 5.0) for _ in range(4)]
    print([len(g) for g in got], loop.time() - start)
    assert [[item.id for item in g] for g in got][1:] == [["a2"], ["a3"], ["a4"]]
    await driver.publish("q", [message(f"c{n}", "c") for n in range(5)])
    got = await driver.receive("q", 10, 5.0)
    assert [g.id for g in got] == ["c0", "c1"]
    await driver.settle("q", [Release(item.receipt) for item in got])
    assert await ids(driver) == ["c0", "c1"]


async def test_gate(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", limit=Limit(rate=20, burst=2, concurrency=3)))
    await driver.publish("q", [message(f"a{n}", "a") for n in range(8)])
    a = await driver.receive("q", 10, 5.0)
    assert len(a) == 2
    b = await driver.receive("q", 10, 5.0)
    assert len(b) == 1
    task = asyncio.create_task(driver.receive("q", 10, 5.0))
    await asyncio.sleep(0.2)
    assert not task.done()
    await driver.settle("q", [Release(item.receipt) for item in a])
    c = await task
    print([x.id for x in c])
    assert [x.id for x in c] == ["a0", "a1"]


async def test_keys(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", fair=1, ordering="key"))
    await driver.publish("q", [message(f"{k}{n}", key=k) for n in range(3) for k in ("a", "b")] + [message("x"), message("y")])
    held = await driver.receive("q", 10, 0.0)
    assert sorted(item.id for item in held) == ["a0", "b0", "x", "y"]
    by = {item.id: item.receipt for item in held}
    assert await ids(driver) == []
    await driver.settle("q", [Nack(by["a0"], delay=0.5), Ack(by["b0"]), Ack(by["x"])])
    assert await ids(driver) == ["b1"]
    assert await ids(driver, 10, 5.0) == ["a0"]


async def test_switching(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make(spec=QueueSpec("q"))
    await driver.publish("q", [message(f"a{n}", "a") for n in range(3)])
    await driver.receive("q", 1, 0)
    spec = QueueSpec("q", fair=1, lane_limit=Limit(concurrency=2))
    await driver.declare(spec)
    assert await driver.inspect(spec) == spec
    await driver.publish("q", [message(f"b{n}", "b") for n in range(3)])
    assert sorted(await ids(driver)) == ["a1", "b0", "b1"]
    await driver.declare(QueueSpec("q"))
    assert sorted(await ids(driver)) == ["a2", "b2"]
    await driver.purge("q")
    for table in ("lanes", "arrivals", "gates"):
        assert await sql.fetchval(f"SELECT count(*) FROM {schema}.{table}") == 0
