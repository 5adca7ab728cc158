"""Declarations beside many messages: an unchanged one reads none of them, a changed one moves them in steps."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tests.faults.postgres.test_plans import Explainer, driver, explainer, server

__all__ = ["driver", "explainer", "server"]

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

MESSAGES = 25_000
KEYS = 5_000
STEP = 10_000
_DECLARE = "SELECT plans.declare_queue('q', 30, NULL, $1, NULL, false, NULL, $2, NULL, NULL)"
_STATES = (
    "SELECT count(*) FROM plans.messages m JOIN plans.queues q ON q.id = m.queue WHERE q.name = 'q' AND m.state = $1"
)


@pytest.fixture
async def sql(explainer: Explainer, driver: PostgresDriver) -> asyncpg.Connection:
    """Beside a queue with many messages, of which each key has five."""
    for start in range(0, MESSAGES, 1000):
        numbers = range(start, start + 1000)
        await driver.publish("q", [Outgoing(str(number), b"", {}, key=str(number % KEYS)) for number in numbers])
    return explainer.connection


async def _count(sql: asyncpg.Connection, state: int) -> int:
    count: int = await sql.fetchval(_STATES, state)
    return count


async def _step(sql: asyncpg.Connection, last: Any) -> Any:
    return await sql.fetchval("SELECT plans.change_step('q', $1, $2)", *last)


@pytest.mark.parametrize(("ordering", "fair"), [("none", 0), ("key", 0), ("key", 1)])
async def test_an_unchanged_declaration_reads_no_message(
    driver: PostgresDriver, explainer: Explainer, sql: asyncpg.Connection, ordering: Any, fair: int
) -> None:
    await driver.declare(QueueSpec("q", ordering=ordering, fair=fair))
    (held,) = await driver.receive("q", 1, 5.0)
    scans = await explainer.scans(_DECLARE, ordering == "key", fair)
    assert [plan for index, plan, _ in scans if index != "removed"] == []
    assert await sql.fetchval(_DECLARE, ordering == "key", fair) is False  # no further statement follows
    assert not await driver.settle("q", [Ack(held.receipt)])


async def test_an_order_per_key_takes_messages_in_steps(driver: PostgresDriver, sql: asyncpg.Connection) -> None:
    """While receives go on, which take the first one of each key."""
    assert await sql.fetchval(_DECLARE, True, 0) is True
    last: Any = (-1, 0)
    moved = 0
    acked: list[str] = []
    while last is not None:
        last = await _step(sql, last)
        behind = await _count(sql, 3)
        assert behind - moved <= STEP
        moved = behind
        taken = await driver.receive("q", 10, 5.0)
        acked += [item.id for item in taken]
        assert not await driver.settle("q", [Ack(item.receipt) for item in taken])
    assert acked == [str(number) for number in range(len(acked))]
    assert await _count(sql, 0) == KEYS
    assert await _step(sql, (-1, 0)) is None  # the change is made


async def test_the_end_of_an_order_per_key_frees_messages_in_steps(
    driver: PostgresDriver, sql: asyncpg.Connection
) -> None:
    await driver.declare(QueueSpec("q", ordering="key"))
    assert await sql.fetchval(_DECLARE, False, 0) is True
    behind = await _count(sql, 3)
    assert behind == MESSAGES - KEYS
    while await _step(sql, (-1, 0)) is not None:
        assert behind - await _count(sql, 3) <= STEP
        behind = await _count(sql, 3)
    assert await _count(sql, 0) == MESSAGES


async def test_a_heartbeat_goes_on_with_a_change_whose_process_has_ended(
    driver: PostgresDriver, sql: asyncpg.Connection
) -> None:
    await driver.declare(QueueSpec("q", ordering="key"))
    await sql.fetchval(_DECLARE, False, 0)
    beats = 0
    while await _count(sql, 3):
        await sql.execute("SELECT plans.beat(1, NULL)")
        beats += 1
    assert beats == (MESSAGES - KEYS) / STEP
    assert len(await driver.receive("q", 1000, 5.0)) == 1000
