"""Purging beside publishers, replies to requesters that are gone, and many declarations at once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import QueueNotFoundError
from tests.support.brokers.postgres import Pgbouncer, Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 60.0
Make = Callable[..., Awaitable[PostgresDriver]]


@pytest.fixture(params=[Postgres, Pgbouncer], ids=["direct", "pooled"])
async def make(request: pytest.FixtureRequest, schema: str) -> AsyncIterator[Make]:
    """Open drivers with some queues, straight to the server or through a pooler; closed at the end."""
    drivers: list[PostgresDriver] = []

    async def make(*specs: QueueSpec) -> PostgresDriver:
        url = request.param.shared().url
        drivers.append(driver := PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema)))
        for spec in specs:
            await driver.declare(spec)
        await driver.open()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


def messages(*ids: str, key: str | None = None) -> list[Outgoing]:
    return [Outgoing(id, b"body", {}, key=key) for id in ids]


async def drained(driver: PostgresDriver) -> list[str]:
    """The ids of all that is left."""
    ids: list[str] = []
    while got := await driver.receive("q", 1000, 0.0):
        await driver.settle("q", [Ack(item.receipt) for item in got])
        ids += [item.id for item in got]
    return ids


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_a_purge_beside_a_publisher_at_full_speed_loses_nothing_that_came_later(
    make: Make, monkeypatch: pytest.MonkeyPatch, ordering: str
) -> None:
    monkeypatch.setattr("tasuki.drivers.postgres.browsing.AT_ONCE", 500)
    spec = QueueSpec("q", ordering=ordering)  # type: ignore[arg-type]
    driver, other = await make(spec), await make(spec)
    confirmed: list[str] = []
    over = False

    async def publish(publisher: int) -> None:
        for number in itertools.count():
            if over:
                return
            ids = [f"{publisher}-{number}-{place}" for place in range(20)]
            assert not any(await other.publish("q", messages(*ids, key=f"{publisher}" if ordering == "key" else None)))
            confirmed.extend(ids)

    publishers = [asyncio.create_task(publish(number)) for number in range(4)]
    removed = 0
    for _ in range(5):
        while len(confirmed) < removed + 1000:
            await asyncio.sleep(0.001)
        before = len(confirmed)
        purging = asyncio.create_task(driver.purge("q"))
        await asyncio.sleep(0)
        removed += await purging
        assert removed >= before, "what was there is gone"
    over = True
    await asyncio.gather(*publishers)
    left = await drained(driver)
    assert len(left) == len(set(left)) == len(confirmed) - removed
    assert set(confirmed[-20:]) <= set(left) or removed == len(confirmed)


async def test_a_message_that_is_committed_after_a_purge_began_survives_it(make: Make, sql: asyncpg.Connection) -> None:
    """Its number is lower than the numbers of others that the purge removes."""
    driver = await make(QueueSpec("q"))
    async with sql.transaction():
        await driver.publish_within(sql, "q", messages("late"))
        await driver.publish("q", messages("a", "b"))
        assert await driver.purge("q") == 2
    assert await drained(driver) == ["late"]


async def test_a_purge_takes_a_line_behind_its_front(make: Make) -> None:
    driver = await make(QueueSpec("q", ordering="key"))
    await driver.publish("q", messages("held", "a", "b", key="k"))
    (held,) = await driver.receive("q", 3, PATIENCE)
    await driver.publish("q", [Outgoing("later", b"", {}, delay=1000.0), *messages("c", "d", key="l")])
    assert await driver.purge("q") == 5
    await driver.publish("q", messages("e", key="k"))
    await driver.settle("q", [Ack(held.receipt)])
    assert await drained(driver) == ["e"]


async def test_replies_to_many_requesters_leave_nothing(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    """A requester makes its queue; a responder inspects it, replies, and forgets it; every third comes too late."""
    responder, requester = await make(QueueSpec("requests")), await make()
    await responder.receive("requests", 1, 0.01)
    late = 0
    for number in range(300):
        spec = QueueSpec(f"reply.{number}", temporary=True)
        await requester.declare(spec)
        await responder.inspect(spec)
        if number % 3 == 0:
            await requester.delete(spec.name)
        try:
            await responder.publish(spec.name, messages("reply"))
        except QueueNotFoundError:
            late += 1
        else:
            (got,) = await requester.receive(spec.name, 1, PATIENCE)
            await requester.settle(spec.name, [Ack(got.receipt)])
            await requester.delete(spec.name)
        await responder.undeclare(spec.name)
    assert late == 100
    for table in ("messages", "waiters"):
        assert await sql.fetchval(f"SELECT count(*) FROM {schema}.{table} WHERE queue > 1") == 0
    assert await sql.fetch(f"SELECT name FROM {schema}.queues") == [("requests",)]
    async with asyncio.timeout(PATIENCE):
        while kept(responder, "reply.") + kept(requester, "reply."):
            await asyncio.sleep(0.05)


def kept(driver: PostgresDriver, prefix: str) -> list[str]:
    """Where in a driver the name of a queue is still found: attributes that are collections, of all its parts."""
    found: list[str] = []
    seen: set[int] = set()

    def look(what: object, path: str) -> None:
        if id(what) in seen:
            return
        seen.add(id(what))
        if isinstance(what, str):
            found.extend([path] if what.startswith(prefix) else [])
        elif isinstance(what, dict):
            for key, value in list(what.items()):
                look(key, f"{path}[]")
                look(value, f"{path}[{key!r}]")
        elif isinstance(what, list | tuple | set | frozenset):
            for item in list(what):
                look(item, f"{path}[]")
        elif type(what).__module__.startswith("tasuki.drivers.postgres"):
            look(vars(what), path)

    look(driver, "driver")
    return found


async def test_declaring_deleting_and_using_queues_at_once_meets_no_deadlock(
    make: Make, sql: asyncpg.Connection
) -> None:
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"
    before = await sql.fetchval(deadlocks)
    drivers = [await make() for _ in range(3)]
    specs = [QueueSpec(f"q{number}", ordering="key", max_length=1000) for number in range(3)]

    async def use(driver: PostgresDriver, spec: QueueSpec) -> None:
        for turn in range(15):
            try:
                await driver.declare(spec)
                await driver.publish(spec.name, messages("a", "b", key="k"))
                got = await driver.receive(spec.name, 2, 0.0)
                await driver.settle(spec.name, [Ack(item.receipt) for item in got])
                if turn % 3 == 2:
                    await driver.delete(spec.name)
            except QueueNotFoundError:
                continue

    await asyncio.gather(*(use(driver, spec) for driver in drivers for spec in specs))
    await sql.execute("SELECT pg_stat_clear_snapshot()")
    assert await sql.fetchval(deadlocks) == before


async def test_a_max_length_that_is_taken_away_during_a_publish_refuses_nothing(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make(QueueSpec("q", max_length=100))
    async with sql.transaction():
        await sql.execute(f"update {schema}.queues set max_length = null")
        publishing = asyncio.create_task(driver.publish("q", messages("a")))
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%publish%'"
        async with asyncio.timeout(PATIENCE):
            while not await sql.fetchval(waiting):
                await sql.execute("select pg_stat_clear_snapshot()")
    assert not any(await publishing)
