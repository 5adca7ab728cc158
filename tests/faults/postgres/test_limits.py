"""Limits and lanes beside open transactions, other declarations and lost tables; fairness by count; the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Limit, Merged, Outgoing, QueueSpec, Release, Unique
from tasuki.drivers.postgres.driver import PostgresDriver
from tests.support.brokers.rig import until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

Make = Callable[..., Awaitable[PostgresDriver]]
ONE = Limit(concurrency=1)
NONE_MORE = 1e-4
"""Messages a second: none comes during a test."""
MANY = 100_000 if os.environ.get("CAMPAIGN") else 20_000
CLAIM = "SELECT seq, token, id FROM {}.receive('q', $1, 1000000, 0, false, false, false, 1)"


def of(lane: str, *numbers: int, **options: Any) -> list[Outgoing]:
    return [Outgoing(f"{lane}{number}", b"", {}, lane=lane, **options) for number in numbers]


async def fill(driver: PostgresDriver, lane: str, count: int) -> None:
    for start in range(0, count, 1000):
        assert not await driver.publish("q", of(lane, *range(start, min(start + 1000, count))))


async def ids(driver: PostgresDriver, most: int = 100, wait: float = 0.0) -> list[str]:
    return [item.id for item in await driver.receive("q", most, wait)]


async def left(sql: asyncpg.Connection, schema: str) -> dict[str, int]:
    """The tables with rows, of those that hold no messages."""
    tables = ("messages", "lanes", "arrivals", "gates")
    counts = {table: await sql.fetchval(f"SELECT count(*) FROM {schema}.{table}") for table in tables}
    return {table: count for table, count in counts.items() if count}


async def test_one_noisy_lane_delays_the_others_by_a_round(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make(spec=QueueSpec("q", lease=600.0, fair=1), timeout=60.0)
    await fill(driver, "noisy", MANY)
    assert len(await ids(driver, 10)) == 10
    for number in range(5):
        await driver.publish("q", of("quiet", number))
        assert f"quiet{number}" in [*await ids(driver, 1), *await ids(driver, 1)]
    await driver.publish("q", [Outgoing(f"other{number}", b"", {}, lane=f"t{number}") for number in range(1000)])
    taken: list[str] = []
    while sum(id.startswith("other") for id in taken) < 1000:
        taken += await ids(driver, 100)
    last = max(place for place, id in enumerate(taken) if id.startswith("other"))
    noisy = sum(id.startswith("noisy") for id in taken[:last])
    assert noisy <= 10, f"{noisy} of the noisy lane before 1000 others had theirs"
    assert sorted(await left(sql, schema)) == ["lanes", "messages"]
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.lanes") == 1


@pytest.mark.parametrize("fair", [1, 5])
async def test_backlogged_lanes_get_the_same(make: Make, fair: int) -> None:
    driver = await make(spec=QueueSpec("q", lease=600.0, fair=fair))
    await driver.publish("q", [message for lane in "abcdefgh" for message in of(lane, *range(60))])
    counts = dict.fromkeys("abcdefgh", 0)
    for most in (1, 7, 30, 3, 100, 1, 64, 8):
        for id in await ids(driver, most):
            counts[id[0]] += 1
        assert max(counts.values()) - min(counts.values()) <= fair, counts


async def test_an_open_transaction_holds_up_neither_its_lane_nor_a_publisher(
    make: Make, sql: asyncpg.Connection
) -> None:
    driver = await make(spec=QueueSpec("q", lease=600.0, fair=1, lane_limit=Limit(concurrency=2)))
    async with sql.transaction():
        await driver.publish_within(sql, "q", [*of("a", 0), *of("b", 0)])
        await driver.publish("q", of("a", 1, 2, 3))
        held = await driver.receive("q", 10, 0.0)
        assert [item.id for item in held] == ["a1", "a2"]
        await driver.settle("q", [Ack(held[0].receipt), Release(held[1].receipt)])
        assert await ids(driver) == ["a2", "a3"]
        waiting = asyncio.create_task(ids(driver, 10, 10.0))
    assert await waiting == ["b0"], "a is full"


async def test_a_publisher_of_lanes_needs_no_right_to_read_messages(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    driver, role = await make(spec=QueueSpec("q", fair=1)), f"publisher_of_{schema}"
    await sql.execute(
        f"SET search_path = {schema}; CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}; "
        f"GRANT SELECT ON queues, waiters TO {role}; GRANT INSERT ON messages, arrivals TO {role}; SET ROLE {role}"
    )
    async with sql.transaction():
        await driver.publish_within(sql, "q", [*of("a", 0), *of("b", 0, delay=60.0), *of("", 0)])
    assert sorted(await ids(driver)) == ["0", "a0"]


async def test_a_message_that_is_locked_hides_no_other_of_its_lane(make: Make, sql: asyncpg.Connection) -> None:
    driver = await make(spec=QueueSpec("q", lease=600.0, fair=1))
    first = Outgoing("first", b"", {}, lane="a", unique=Unique("k"))
    await driver.publish("q", [first, *of("a", 1)])
    async with sql.transaction():
        assert await driver.publish_within(sql, "q", [first]) == [Merged("kept", "first")]
        assert await ids(driver) == ["a1"]
        assert await ids(driver) == []
    assert await ids(driver, 10, 5.0) == ["first"]


async def test_a_receive_beside_a_claim_that_commits_late(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make(spec=QueueSpec("q", lease=600.0, fair=1), timeout=10.0)
    await driver.publish("q", [*of("a", 0, 1), *of("b", 0, 1)])
    claim = sql.transaction()
    await claim.start()
    assert [row["id"] for row in await sql.fetch(CLAIM.format(schema), 1)] == ["a0"]
    await driver.publish("q", of("c", 0))
    assert await ids(driver, 1) == [], "the other one has locked all lanes that it folded"
    waiting = asyncio.create_task(ids(driver, 10, 10.0))
    await asyncio.sleep(0)
    await claim.commit()
    assert sorted([*await waiting, *await ids(driver)]) == ["a1", "b0", "b1", "c0"]


async def test_a_claim_that_is_undone_gives_all_back(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make(spec=QueueSpec("q", lease=600.0, fair=1, limit=Limit(NONE_MORE, 2), lane_limit=ONE))
    await driver.publish("q", of("a", 0, 1))
    claim = sql.transaction()
    await claim.start()
    assert len(await sql.fetch(CLAIM.format(schema), 5)) == 1
    await claim.rollback()
    assert await ids(driver) == ["a0"]


@pytest.mark.parametrize("rate", [None, NONE_MORE, 1000.0])
async def test_what_is_left_after_a_drain(make: Make, sql: asyncpg.Connection, schema: str, rate: float | None) -> None:
    driver = await make(spec=QueueSpec("q", fair=1, lane_limit=Limit(rate, 50, 2)))
    await driver.publish("q", [message for lane in ("", "a", "b", "c") for message in of(lane, *range(20))])
    while got := await driver.receive("q", 7, 0.3):
        await driver.settle("q", [Ack(item.receipt) for item in got])
    assert not await driver.receive("q", 7, 0.001)  # removes lanes that owed something when the last one began
    assert await left(sql, schema) == ({"lanes": 4} if rate == NONE_MORE else {})
    if rate == NONE_MORE:
        await sql.execute(f"UPDATE {schema}.lanes SET full_at = 1")
        await sql.fetch(f"SELECT {schema}.beat(1, NULL)")
        assert await left(sql, schema) == {}
    await driver.delete("q")
    assert await left(sql, schema) == {}


async def test_a_transaction_that_began_before_the_queue_had_lanes(make: Make, sql: asyncpg.Connection) -> None:
    driver = await make(spec=QueueSpec("q", ordering="key"))
    async with sql.transaction():
        await driver.publish_within(sql, "q", [*of("a", 0, key="k"), *of("a", 1, key="k"), *of("", 2)])
        await driver.declare(QueueSpec("q", ordering="key", fair=1))
        await driver.publish("q", of("a", 3, key="k"))
        assert await ids(driver) == ["a3"], "it is not known yet that an earlier one will come"
    await until(lambda: ids(driver), "the one without a key comes by itself")
    assert await ids(driver, 10, 0.0) == []


async def test_a_transaction_that_began_before_the_lanes_were_the_keys(make: Make, sql: asyncpg.Connection) -> None:
    driver = await make(spec=QueueSpec("q", fair=1))
    async with sql.transaction():
        await driver.publish_within(sql, "q", [*of("a", 0, 1), *of("b", 2, key="k")])
        await driver.declare(QueueSpec("q", fair=1, ordering="key"))
    got: set[str] = set()

    async def come() -> bool:
        got.update(await ids(driver))
        return got == {"a0", "a1", "b2"}

    await until(come, "all of them")


async def test_a_transaction_that_began_before_the_queue_lost_its_lanes(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make(spec=QueueSpec("q", fair=1))
    async with sql.transaction():
        await driver.publish_within(sql, "q", of("a", 0, 1))
        await driver.declare(QueueSpec("q"))
        await driver.declare(QueueSpec("q"))
        assert await ids(driver) == []
    await sql.fetch(f"SELECT {schema}.beat(1, NULL)")
    assert sorted(await ids(driver)) == ["a0", "a1"]
    await driver.declare(QueueSpec("q"))
    assert not await sql.fetchval(f"SELECT limited FROM {schema}.queues")
    await driver.purge("q")
    assert not {"lanes", "arrivals", "gates"} & (await left(sql, schema)).keys()


@pytest.mark.parametrize("table", ["lanes", "arrivals", "gates"])
async def test_lost_rows_are_made_up_for(make: Make, sql: asyncpg.Connection, schema: str, table: str) -> None:
    driver = await make(spec=QueueSpec("q", fair=1, limit=Limit(1e6, 1000), lane_limit=Limit(concurrency=2)))
    await driver.publish("q", [*of("a", *range(6)), *of("b", 0), *of("", 0)])
    held = await driver.receive("q", 3, 0.0)
    await sql.execute(f"DROP TABLE {schema}.{table}")
    await driver.settle("q", [Ack(item.receipt) for item in held])
    taken = [item.id for item in held]
    while len(taken) < 8:
        got = await driver.receive("q", 10, 10.0)
        taken += [item.id for item in got]
        await driver.settle("q", [Ack(item.receipt) for item in got])
    assert len(set(taken)) == 8


async def test_keys_behind_a_long_lane_enter_theirs(make: Make) -> None:
    """In several steps of the declaration."""
    driver = await make(spec=QueueSpec("q", lease=600.0, ordering="key"))
    await fill(driver, "", 11_000)
    await driver.publish("q", of("", *range(11_000, 21_000), key="a"))
    await driver.publish("q", of("", 21_000, key="b"))
    assert await ids(driver, 1) == ["0"]
    await driver.declare(QueueSpec("q", lease=600.0, ordering="key", fair=1, lane_limit=ONE))
    assert sorted(await ids(driver)) == ["11000", "21000"]
    assert await ids(driver) == []


async def test_a_queue_without_limits_touches_no_table_of_them(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    tables = ", ".join(f"'{schema}.{table}'::regclass" for table in ("lanes", "arrivals", "gates"))
    locks = f"SELECT count(*) FROM pg_locks WHERE relation IN ({tables}) AND pid = pg_backend_pid()"
    async with sql.transaction():
        await driver.publish_within(sql, "q", [*of("a", 0), *of("b", 0, delay=0.01)])
        claimed = await sql.fetch(CLAIM.format(schema), 5)
        settle = f"SELECT {schema}.settle('q', $1, $2, $3, $4, false)"
        seqs, tokens = [row["seq"] for row in claimed], [row["token"] for row in claimed]
        await sql.fetch(settle, seqs, tokens, [2] * len(seqs), [0.0] * len(seqs))
        await sql.fetch(f"SELECT * FROM {schema}.check_queues(array['q'], 0, true, 1)")
        assert await sql.fetchval(locks) == 0
        await driver.declare(QueueSpec("lanes", fair=1))
        await driver.publish_within(sql, "lanes", of("a", 0))
        assert await sql.fetchval(locks) > 0
