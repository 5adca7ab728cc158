"""Unique messages and the locks that keep them so: beside claims, in transactions of the caller's, under load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Merged, Nack, Outgoing, QueueSpec, Unique
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.errors import KeyBusyError

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

Make = Callable[..., Awaitable[PostgresDriver]]
CLAIM = "SELECT seq, token FROM {}.receive('q', $1, 1000000, 0, false, false, false, 1)"


def unique(
    id: str, key: str = "k", span: Any = "pending", act: Any = "keep", *, delay: float = 0.0, line: str | None = None
) -> Outgoing:
    return Outgoing(id, key.encode(), {}, delay, 0, line, True, Unique(key, span, act, 60.0))


async def until_it_waits(sql: asyncpg.Connection, task: asyncio.Task[Any]) -> None:
    """Until a statement waits for the lock of another one."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%publish_unique%'"
    while not task.done() and not await sql.fetchval(waiting):
        await sql.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction keeps its first snapshot
        await asyncio.sleep(0.01)
    assert not task.done(), f"it does not wait: {task}"


async def test_a_publish_waits_for_a_claim_that_commits_late(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make(timeout=10.0)
    await driver.publish("q", [unique("a")])
    claim = sql.transaction()
    await claim.start()
    assert await sql.fetch(CLAIM.format(schema), 1)
    publish = asyncio.create_task(driver.publish("q", [unique("b")]))
    await until_it_waits(sql, publish)
    await claim.commit()
    assert await publish == (), "the first one was started"


async def test_a_kept_message_does_not_start_before_the_commit(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    await driver.publish("q", [unique("a")])
    async with sql.transaction():
        assert await driver.publish_within(sql, "q", [unique("b")]) == [Merged("kept", "a")]
        assert await driver.receive("q", 1, 0.0) == []
    assert [message.id for message in await driver.receive("q", 1, 0.0)] == ["a"]


async def test_a_running_message_is_settled_beside_an_open_transaction(make: Make, sql: asyncpg.Connection) -> None:
    driver = await make()
    await driver.publish("q", [unique("a", span="running")])
    (held,) = await driver.receive("q", 1, 0.0)
    async with sql.transaction():
        assert await driver.publish_within(sql, "q", [unique("b", span="running")]) == [Merged("kept", "a")]
        assert await driver.extend("q", [held.receipt], 60.0) == []
        assert await driver.settle("q", [Ack(held.receipt)]) == []


async def test_a_rollback_leaves_the_key_as_it_was(make: Make, sql: asyncpg.Connection) -> None:
    driver = await make()
    for first in (True, False):
        attempt = sql.transaction()
        await attempt.start()
        answers = await driver.publish_within(sql, "q", [unique("lost", act="replace")])
        assert [*answers] == ([] if first else [Merged("replaced", "a")])
        await attempt.rollback()
        if first:
            assert await driver.publish("q", [unique("a")]) == ()
    assert [message.id for message in await driver.receive("q", 5, 0.0)] == ["a"]


async def test_publishers_of_one_key_in_transactions_go_one_after_the_other(
    make: Make, sql: asyncpg.Connection
) -> None:
    driver = await make(timeout=10.0)
    async with sql.transaction():
        assert await driver.publish_within(sql, "q", [unique("a")]) == ()
        other = asyncio.create_task(driver.publish("q", [unique("b")]))
        await until_it_waits(sql, other)
        assert await driver.publish("q", [unique("c", "another")]) == ()
    assert await other == [Merged("kept", "a")]


async def test_a_plain_publish_does_not_touch_the_table(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make()
    locks = f"SELECT count(*) FROM pg_locks WHERE relation = '{schema}.uniques'::regclass AND pid = pg_backend_pid()"
    async with sql.transaction():
        await driver.publish_within(sql, "q", [Outgoing("a", b"", {}), Outgoing("b", b"", {}, delay=5.0)])
        claimed = await sql.fetch(CLAIM.format(schema), 5)
        settle = f"SELECT {schema}.settle('q', $1, $2, null, null, false)"
        await sql.fetch(settle, [row[0] for row in claimed], [row[1] for row in claimed])
        assert await sql.fetchval(locks) == 0
        await driver.publish_within(sql, "q", [unique("c")])
        assert await sql.fetchval(locks) > 0


async def test_rows_of_messages_that_are_gone_go_too(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    driver = await make()
    await driver.publish("q", [unique(f"{number}", f"k{number}") for number in range(100)])
    await driver.publish("q", [unique("w", "window", 3600.0)])
    await driver.purge("q")
    await driver.publish("q", [unique("left", "left")])
    await sql.execute(f"SET search_path = {schema}")
    await sql.execute("SELECT sweep_uniques(clock_timestamp())")
    assert {row[0] for row in await sql.fetch("SELECT key FROM uniques")} == {"window", "left"}


async def test_no_key_has_two_messages_that_were_never_started(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    """Publishers in several processes take keys in any order, while others claim, nack, ack and purge."""
    drivers = [await make(timeout=15.0) for _ in range(3)]
    dice, over = random.Random(1), asyncio.Event()
    acts = ("keep", "replace", "extend")
    twice = f"""
        SELECT convert_from(body, 'UTF8'), count(*) FROM {schema}.messages
        WHERE state <> 2 AND NOT suspect AND attempts = 0 GROUP BY 1 HAVING count(*) > 1"""

    async def publish(number: int) -> None:
        for turn in range(40):
            keys = dice.sample("abcdef", 3)
            batch = [
                unique(f"{number}-{turn}-{key}", key, act=dice.choice(acts), delay=dice.choice((0.0, 0.02)))
                for key in keys
            ]
            with suppress(KeyBusyError):  # all its keys are
                await drivers[number % 3].publish("q", batch)

    async def consume(driver: PostgresDriver) -> None:
        while not over.is_set():
            held = await driver.receive("q", 4, 0.05)
            await driver.settle("q", [(Ack if dice.random() < 0.6 else Nack)(each.receipt) for each in held])
            if dice.random() < 0.05:
                await driver.purge("q")

    consumers = [asyncio.create_task(consume(driver)) for driver in drivers[:2]]
    await asyncio.gather(*(publish(number) for number in range(8)))
    over.set()
    await asyncio.gather(*consumers)
    assert await sql.fetch(twice) == []


async def test_a_queue_that_keeps_order_per_key(make: Make) -> None:
    driver = await make(spec=QueueSpec("q", lease=5.0, ordering="key"))
    await driver.publish("q", [Outgoing("first", b"", {}, key="line"), unique("a", line="line")])
    (held,) = await driver.receive("q", 5, 0.0)
    assert held.id == "first"
    assert await driver.publish("q", [unique("b", act="replace")]) == [Merged("replaced", "a")]
    assert await driver.publish("q", [unique("c", act="extend", delay=60.0)]) == [Merged("extended", "b")]
    await driver.publish("q", [Outgoing("last", b"", {}, key="line")])
    await driver.settle("q", [Ack(held.receipt)])
    assert await driver.receive("q", 5, 0.0) == [], "the delayed one is the next of its line"
    assert await driver.publish("q", [unique("d", act="extend")]) == [Merged("extended", "c")]
    for id in ("d", "last"):
        (held,) = await driver.receive("q", 5, 0.0)
        assert held.id == id
        await driver.settle("q", [Ack(held.receipt)])
