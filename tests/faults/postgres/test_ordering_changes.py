"""Declarations beside many messages: an unchanged one reads none of them, a changed one moves them in steps."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release, Unique
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.faults.postgres.test_plans import Explainer, driver, explainer, server
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import opened
from tests.support.settings import parsed

__all__ = ["driver", "explainer", "server"]

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

MESSAGES = 25_000
KEYS = 5_000
STEP = 10_000
_WALKS = 2
"""Steps along the lanes and the line, where a change of the order alone finds nothing."""
_LOCKS = """
    SELECT array_agg(locktype || ' ' || mode) FILTER (WHERE locktype <> 'virtualxid' AND mode <> 'AccessShareLock')
    FROM pg_locks WHERE pid = pg_backend_pid()
"""
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


async def _step(sql: asyncpg.Connection) -> bool:
    goes_on: bool = await sql.fetchval("SELECT plans.change_step('q')")
    return goes_on


@pytest.mark.parametrize(("ordering", "fair"), [("none", 0), ("key", 0), ("key", 1)])
async def test_an_unchanged_declaration_reads_no_message(
    driver: PostgresDriver, explainer: Explainer, sql: asyncpg.Connection, ordering: Any, fair: int
) -> None:
    await driver.declare(QueueSpec("q", ordering=ordering, fair=fair))
    (held,) = await driver.receive("q", 1, 5.0)
    scans = await explainer.scans(_DECLARE, ordering == "key", fair)
    assert [plan for index, plan, _ in scans if index != "removed"] == []
    async with sql.transaction():
        assert await sql.fetchval(_DECLARE, ordering == "key", fair) is False  # no further statement follows
        assert await sql.fetchval("SELECT txid_current_if_assigned()") is None, "it has written or locked a row"
        assert await sql.fetchval(_LOCKS) is None
    assert not await driver.settle("q", [Ack(held.receipt)])


async def test_an_unchanged_declaration_waits_for_no_transaction(
    driver: PostgresDriver, explainer: Explainer, server: Postgres
) -> None:
    """Else receives would wait behind it, for as long as a caller keeps its transaction open."""
    await driver.declare(QueueSpec("q", ordering="key"))
    await driver.publish("q", [Outgoing("a", b"", {}, key="k")])
    (held,) = await driver.receive("q", 1, 5.0)
    other = await asyncpg.connect(server.url)
    async with other.transaction():
        await driver.settle_within(other, "q", [Ack(held.receipt)])
        await other.execute("SELECT FROM plans.queues WHERE name = 'q' FOR UPDATE")
        await explainer.connection.execute("SET lock_timeout = 1")
        assert await explainer.connection.fetchval(_DECLARE, True, 0) is False
    await other.close()


async def test_an_order_per_key_takes_messages_in_steps(driver: PostgresDriver, sql: asyncpg.Connection) -> None:
    """While receives go on, which take the first one of each key."""
    assert await sql.fetchval(_DECLARE, True, 0) is True
    moved = 0
    acked: list[str] = []
    while await _step(sql):
        behind = await _count(sql, 3)
        assert behind - moved <= STEP
        moved = behind
        taken = await driver.receive("q", 10, 5.0)
        acked += [item.id for item in taken]
        assert not await driver.settle("q", [Ack(item.receipt) for item in taken])
    assert acked == [str(number) for number in range(len(acked))]
    assert await _count(sql, 0) == KEYS
    assert not await _step(sql)  # the change is made


async def test_the_end_of_an_order_per_key_frees_messages_in_steps(
    driver: PostgresDriver, sql: asyncpg.Connection
) -> None:
    await driver.declare(QueueSpec("q", ordering="key"))
    assert await sql.fetchval(_DECLARE, False, 0) is True
    behind = await _count(sql, 3)
    assert behind == MESSAGES - KEYS
    while await _step(sql):
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
    assert beats == _WALKS + (MESSAGES - KEYS) / STEP
    assert len(await driver.receive("q", 1000, 5.0)) == 1000


async def test_a_message_that_a_transaction_keeps_locked_is_freed_after_it(
    driver: PostgresDriver, explainer: Explainer, server: Postgres
) -> None:
    """No step waits for it, so the change is not made before it has moved too."""
    await driver.declare(QueueSpec("q", ordering="key"))
    unique = Unique("one", "pending", "keep", 0.0)
    await driver.publish(
        "q", [Outgoing("first", b"", {}, key="k"), Outgoing("second", b"", {}, key="k", unique=unique)]
    )
    (first,) = await driver.receive("q", 10, 5.0)
    other = await asyncpg.connect(server.url)
    async with other.transaction():
        assert await driver.publish_within(other, "q", [Outgoing("again", b"", {}, unique=unique)])
        await driver.declare(QueueSpec("q"))
        assert await driver.receive("q", 10, 0.0) == []
    await other.close()
    await explainer.connection.execute("SELECT plans.beat(1, NULL)")
    assert not await driver.settle("q", [Ack(first.receipt)])
    assert [item.id for item in await driver.receive("q", 10, 5.0)] == ["second"]


async def test_lanes_of_keys_take_over_an_order_per_key_in_steps(
    driver: PostgresDriver, sql: asyncpg.Connection
) -> None:
    """The declaration moves no message; receives beside the steps, and without any, keep the order of each key."""
    await driver.declare(QueueSpec("q", ordering="key"))
    behind = await _count(sql, 3)
    assert await sql.fetchval(_DECLARE, True, 1) is True
    assert await _count(sql, 3) == behind == MESSAGES - KEYS
    for start in range(MESSAGES, MESSAGES + KEYS, 1000):  # they are in lanes before the ones that stand behind
        numbers = range(start, start + 1000)
        await driver.publish("q", [Outgoing(str(number), b"", {}, key=str(number % KEYS)) for number in numbers])
    acked: dict[int, list[int]] = {}
    is_changing, turn, taken = True, 0, list[Any]()
    while is_changing or taken:
        taken = await driver.receive("q", 200, 5.0 if is_changing else 0.0)
        for item in taken:
            acked.setdefault(int(item.id) % KEYS, []).append(int(item.id))
        assert not await driver.settle("q", [Ack(item.receipt) for item in taken])
        turn += 1
        if turn % 5 == 0 and is_changing:
            before = await _count(sql, 3)
            is_changing = await _step(sql)
            assert before - await _count(sql, 3) <= STEP
    assert await _count(sql, 3) == 0
    assert acked == {key: list(range(key, MESSAGES + KEYS, KEYS)) for key in range(KEYS)}


async def test_other_lanes_and_the_end_of_lanes_come_in_steps(driver: PostgresDriver, sql: asyncpg.Connection) -> None:
    await driver.declare(QueueSpec("q", fair=1))
    await sql.execute("UPDATE plans.messages SET state = 4, lane = 'l' || seq % 7 WHERE state = 0")
    assert await sql.fetchval(_DECLARE, True, 1) is True
    wrong = "SELECT count(*) FROM plans.messages WHERE state = 4 AND lane IS DISTINCT FROM key"
    left = await sql.fetchval(wrong)
    assert left == MESSAGES
    while await _step(sql):
        now_left = await sql.fetchval(wrong)
        assert left - now_left <= STEP
        left = now_left
    assert left == 0
    assert await sql.fetchval(_DECLARE, False, 0) is True
    left = await _count(sql, 4)
    assert left == MESSAGES
    while await _step(sql):
        before, left = left, await _count(sql, 4)
        assert before - left <= STEP
        assert len(await driver.receive("q", 10, 0.0)) == (10 if left < MESSAGES else 0)
    assert await _count(sql, 4) == 0
    assert await sql.fetchval("SELECT count(*) FROM plans.lanes l JOIN plans.queues q ON q.id = l.queue") == 0


@pytest.mark.parametrize(("ordering", "fair"), [("key", 1), ("none", 1), ("none", 0)])
async def test_delayed_messages_get_their_lanes_when_they_are_due(
    driver: PostgresDriver, explainer: Explainer, ordering: Any, fair: int
) -> None:
    """However many they are, a change of lanes reads only messages whose lease may run."""
    await driver.declare(QueueSpec("q", fair=2))
    number = 5000
    for start in range(0, number, 1000):
        ids = range(start, start + 1000)
        await driver.publish("q", [Outgoing(str(id), b"", {}, key=str(id % 10), lane="l", delay=3600.0) for id in ids])
    await driver.publish("q", [Outgoing("held", b"", {}, key="1", lane="l"), Outgoing("r", b"", {}, key="2", lane="l")])
    held, released = await driver.receive("q", 2, 5.0)
    scans = await explainer.scans(_DECLARE, ordering == "key", fair)
    assert sum(rows for _, _, rows in scans) < 100
    sql = explainer.connection
    while await _step(sql):
        pass
    assert not await driver.settle("q", [Release(released.receipt)])
    await sql.execute("UPDATE plans.messages SET due = now() WHERE state = 1")
    lane = "key" if ordering == "key" else "'l'" if fair else "NULL"
    wrong = f"SELECT count(*) FROM plans.messages WHERE state <> 1 AND id <> 'held' AND lane IS DISTINCT FROM {lane}"
    found = {held.id}
    while taken := await driver.receive("q", 1000, 0.0):
        found |= {item.id for item in taken}
        assert await sql.fetchval(wrong) == 0
        assert not await driver.settle("q", [Ack(item.receipt) for item in taken])
        if released.id in {item.id for item in taken}:
            assert not await driver.settle("q", [Ack(held.receipt)])
    assert len(found) == number + 2


@pytest.mark.parametrize("end", ["ack", "remove"])
async def test_a_message_that_stood_behind_comes_before_later_ones_of_its_key(
    driver: PostgresDriver, explainer: Explainer, end: str
) -> None:
    """In lanes of keys that no step has filled yet: after an ack it comes at once, after a removal with its step."""
    await driver.declare(QueueSpec("q", ordering="key"))
    await driver.publish("q", [Outgoing(id, b"", {}, key="k") for id in ("first", "second")])
    (first,) = await driver.receive("q", 10, 5.0)
    assert await explainer.connection.fetchval(_DECLARE, True, 1) is True
    await driver.publish("q", [Outgoing("third", b"", {}, key="k")])
    if end == "ack":
        assert not await driver.settle("q", [Ack(first.receipt)])
    else:
        assert not await driver.settle("q", [Nack(first.receipt, 3600.0)])
        assert await driver.remove("q", ["first"]) == 1
        assert await driver.receive("q", 10, 0.5) == []
        while await _step(explainer.connection):
            pass
    for id in ("second", "third"):
        (item,) = await driver.receive("q", 10, 5.0)
        assert item.id == id
        assert not await driver.settle("q", [Ack(item.receipt)])


class Following:
    """The number that each key gives next, and the messages that came too early or too late."""

    def __init__(self) -> None:
        self.numbers = dict.fromkeys(range(30), 0)
        self.each = 40
        self.wrong: list[tuple[str, int]] = []

    async def publish(self, driver: PostgresDriver) -> None:
        for number in range(self.each):
            for first in range(0, len(self.numbers), 10):
                batch = range(first, first + 10)
                await driver.publish("q", [Outgoing(f"{key} {number}", b"", {}, key=str(key)) for key in batch])

    async def work(self, settings: PostgresSettings, unlucky: int) -> None:
        async with opened(PostgresDriver("postgres", settings), QueueSpec("q", ordering="key")) as worker:
            while any(number < self.each for number in self.numbers.values()):
                for item in await worker.receive("q", 5, 0.05):
                    assert not await worker.settle("q", [self._end(item, unlucky)])

    def _end(self, item: Received, unlucky: int) -> Ack | Nack:
        key, number = map(int, item.id.split())
        if number != self.numbers[key]:
            self.wrong.append((item.id, self.numbers[key]))
        if (number + key) % 7 == unlucky and item.attempt == 1:
            return Nack(item.receipt, 0.01 * (key % 2))
        self.numbers[key] = number + 1
        return Ack(item.receipt)


async def test_several_workers_keep_the_order_of_each_key_beside_changes(
    driver: PostgresDriver, explainer: Explainer, server: Postgres
) -> None:
    """Between an order per key and lanes of keys, to and fro, in small steps."""
    sql = explainer.connection
    step = await sql.fetchval("SELECT pg_get_functiondef('plans.change_step'::regproc)")
    assert "10000" in step
    await sql.execute(step.replace("10000", "20"))
    following, settings = Following(), parsed(PostgresSettings, url=server.url, schema="plans")
    await driver.declare(QueueSpec("q", ordering="key"))
    try:
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            for unlucky in range(4):
                tasks.create_task(following.work(settings, unlucky))
            tasks.create_task(following.publish(driver))
            for number in range(12):
                await driver.declare(QueueSpec("q", ordering="key", fair=(number + 1) % 2))
    finally:
        await sql.execute(step)
    assert following.wrong == []
    assert set(following.numbers.values()) == {following.each}
