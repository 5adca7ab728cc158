"""Order per key with several drivers at once: one held a key, in order, and no line is left standing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release, Settlement
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 90.0
KEYS = "abcdefgh"
EACH = 60


@pytest.fixture
async def drivers(url: str, schema: str) -> AsyncIterator[list[PostgresDriver]]:
    drivers = [PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema)) for _ in range(3)]
    for driver in drivers:
        await driver.declare(QueueSpec("q", ordering="key", lease=60.0))
        await driver.open()
    yield drivers
    for driver in drivers:
        await driver.close()


class Lines:
    """Publishes to all keys, one publisher each, and consumes, and notes what must not be."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._held: dict[str, str] = {}
        self._next = dict.fromkeys(KEYS, 0)
        self.wrong: list[str] = []

    @property
    def done(self) -> int:
        return sum(self._next.values())

    async def publish(self, key: str, driver: PostgresDriver) -> None:
        number = 0
        while number < EACH:
            size = min(self._chance.randint(1, 8), EACH - number)
            delays, priorities = [0.0, 0.0, 0.0, 0.05], [0, 0, 5, 9]
            batch = [
                Outgoing(
                    f"{key}:{number + place}",
                    b"",
                    {},
                    self._chance.choice(delays),
                    self._chance.choice(priorities),
                    key,
                )
                for place in range(size)
            ]
            assert not any(await driver.publish("q", batch))
            number += size
            await asyncio.sleep(self._chance.random() * 0.02)

    async def consume(self, driver: PostgresDriver) -> None:
        while self.done < len(KEYS) * EACH:
            got = await driver.receive("q", self._chance.randint(1, 10), 0.3)
            for item in got:
                self._came(item)
            await asyncio.sleep(self._chance.random() * 0.005)
            if got:
                self.wrong += map(str, await driver.settle("q", [self._settlement(item) for item in got]))

    def _came(self, item: Received) -> None:
        key, _, number = item.id.partition(":")
        if key in self._held:
            self.wrong.append(f"{item.id} while {self._held[key]} is held")
        if int(number) != self._next[key]:
            self.wrong.append(f"{item.id} instead of {self._next[key]}")
        self._held[key] = item.id

    def _settlement(self, item: Received) -> Settlement:
        key = item.id.partition(":")[0]
        del self._held[key]
        kind = self._chance.choice([Ack, Ack, Ack, Nack, Release])
        if kind is Ack:
            self._next[key] += 1
        return Nack(item.receipt, self._chance.choice([0.0, 0.03])) if kind is Nack else kind(item.receipt)


async def test_many_publishers_and_consumers(drivers: list[PostgresDriver]) -> None:
    lines = Lines(random.Random(3))
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number, key in enumerate(KEYS):
            group.create_task(lines.publish(key, drivers[number % len(drivers)]))
        for driver in drivers * 2:
            group.create_task(lines.consume(driver))
    assert lines.wrong == []
    depth = await drivers[0].depth("q")
    assert (depth.ready, depth.in_flight, depth.delayed) == (0, 0, 0)


async def test_a_transaction_that_commits_late_does_not_hold_two_of_a_key(
    drivers: list[PostgresDriver], url: str
) -> None:
    driver, other, _ = drivers
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await driver.publish_within(connection, "q", [Outgoing("early", b"", {}, key="k")])
            await other.publish("q", [Outgoing("late", b"", {}, key="k")])
            (held,) = await driver.receive("q", 2, 5.0)
            assert held.id == "late"
    finally:
        await connection.close()
    assert await other.receive("q", 2, 0.1) == []
    await driver.settle("q", [Nack(held.receipt)])
    (held,) = await other.receive("q", 2, 5.0)
    assert held.id == "early"
    await other.settle("q", [Ack(held.receipt)])
    assert [item.id for item in await driver.receive("q", 2, 5.0)] == ["late"]


async def test_a_long_line_is_passed_by(drivers: list[PostgresDriver]) -> None:
    driver = drivers[0]
    for start in range(0, 5000, 1000):
        await driver.publish("q", [Outgoing(f"{start + number}", b"", {}, key="long") for number in range(1000)])
    await driver.publish("q", [Outgoing("other", b"", {}, key="short"), Outgoing("free", b"", {})])
    found: set[str] = set()
    async with asyncio.timeout(PATIENCE):
        while len(found) < 3:
            found.update(item.id for item in await driver.receive("q", 2, 5.0))
    assert found == {"0", "other", "free"}
    assert await driver.receive("q", 2, 0.1) == []


async def test_what_was_committed_late_is_told_of_when_its_turn_comes(url: str, schema: str) -> None:
    """It stands before the held message, and no claim has met it, so nothing of it comes forward at the ack."""
    drivers = [
        PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema, poll_interval=PATIENCE * 4))
        for _ in range(2)
    ]
    connection = await asyncpg.connect(url)
    try:
        for driver in drivers:
            await driver.open()
            await driver.declare(QueueSpec("q", ordering="key", lease=PATIENCE * 4))
        holder, waiter = drivers
        transaction = connection.transaction()
        await transaction.start()
        await holder.publish_within(connection, "q", [Outgoing("late", b"", {}, key="k")])
        await holder.publish("q", [Outgoing("early", b"", {}, key="k")])
        (early,) = await holder.receive("q", 1, PATIENCE)
        assert early.id == "early"
        waiting = asyncio.create_task(waiter.receive("q", 1, PATIENCE * 2))
        await until_it_waits(connection, schema)
        await transaction.commit()
        assert await waiter.receive("q", 1, 0.5) == [], "one of a key at a time"
        await holder.settle("q", [Ack(early.receipt)])
        assert [got.id for got in await asyncio.wait_for(waiting, PATIENCE)] == ["late"]
    finally:
        await connection.close()
        for driver in drivers:
            await driver.close()


class Client:
    """A connection whose transactions stay open until the test ends them; what must wait for a lock fails."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self.connection = connection
        self._schema = schema
        self._tokens: dict[str, tuple[int, int]] = {}

    async def take(self, limit: int = 10) -> list[str]:
        receive = f"{self._schema}.receive('q', $1, 1000000, 0, false, false, false, 1)"
        sql = f"SELECT id, seq, token FROM {receive} WHERE seq IS NOT NULL"
        rows = await self.connection.fetch(sql, limit)
        self._tokens |= {id: (seq, token) for id, seq, token in rows}
        return [id for id, _, _ in rows]

    async def ack(self, id: str) -> None:
        seq, token = self._tokens[id]
        sql = f"SELECT {self._schema}.settle('q', $1, $2, null, null, false)"
        assert await self.connection.fetchval(sql, [seq], [token]) == []


@pytest.fixture
async def clients(drivers: list[PostgresDriver], url: str, schema: str) -> AsyncIterator[list[Client]]:
    connections = [await asyncpg.connect(url) for _ in range(2)]
    for connection in connections:
        await connection.execute("SET lock_timeout = '100ms'")
    yield [Client(connection, schema) for connection in connections]
    for connection in connections:
        await connection.close()


def messages(key: str, *ids: str) -> list[Outgoing]:
    return [Outgoing(id, b"", {}, key=key) for id in ids]


async def test_workers_do_not_wait_for_each_other(drivers: list[PostgresDriver], clients: list[Client]) -> None:
    one, other = clients
    await drivers[0].publish("q", [*messages("k", "k1", "k2"), *messages("l", "l1"), *messages("m", "m1")])
    async with one.connection.transaction():
        assert await one.take(2) == ["k1", "l1"]
        async with other.connection.transaction():
            assert await other.take() == ["m1"]
            await other.ack("m1")
            await one.ack("k1")
            assert await other.take() == []
            assert await one.take() == ["k2"]


async def test_nothing_is_moved_behind_a_message_that_goes_just_now(
    drivers: list[PostgresDriver], clients: list[Client]
) -> None:
    """It would stay there: the ack has looked for what it brings forward."""
    one, other = clients
    await drivers[0].publish("q", messages("k", "k1"))
    assert await one.take() == ["k1"]
    await drivers[0].publish("q", messages("k", "k2"))
    async with one.connection.transaction():
        await one.ack("k1")
        assert await other.take() == []
    assert await other.take() == ["k2"]


async def test_two_takes_at_once_do_not_hold_two_of_a_key(
    drivers: list[PostgresDriver], clients: list[Client], url: str
) -> None:
    """The first published message is committed while the other one is on its way to a worker."""
    one, other = clients
    late = await asyncpg.connect(url)
    try:
        transaction = late.transaction()
        await transaction.start()
        await drivers[0].publish_within(late, "q", messages("k", "late"))
        await drivers[0].publish("q", messages("k", "early"))
        async with one.connection.transaction():
            assert await one.take() == ["early"]
            await transaction.commit()
            assert await other.take() == []
        assert await other.take() == []
        await one.ack("early")
        assert await other.take() == ["late"]
    finally:
        await late.close()


async def until_it_waits(connection: asyncpg.Connection, schema: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await connection.fetchval(f"SELECT count(*) FROM {schema}.waiters"):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # and has looked once more
