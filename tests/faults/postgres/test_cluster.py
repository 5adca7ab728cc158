"""A primary with a synchronous standby: messages confirmed at the level ``node`` survive its promotion."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.postgres import waiting
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError
from tests.faults.postgres.load import PATIENCE, Load, eventually, message
from tests.support.brokers.postgres import Postgres, Standby
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

SPEC = QueueSpec("q", lease=5.0)
WAITING = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Pair:
    """A primary and its standby; the server of ``admin`` is the one that takes writes."""

    def __init__(self) -> None:
        self.primary = Postgres()
        self.primary.settings = ("wal_level=replica", "fsync=on", "max_connections=100")
        self.primary.start()
        self.standby = Standby(self.primary)
        self.standby.settings = self.primary.settings
        self.standby.start()

    @property
    def url(self) -> str:
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=primary"

    @asynccontextmanager
    async def admin(self, server: Postgres) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(server.url)
        try:
            yield connection
        finally:
            connection.terminate()

    async def wait_for_standby(self, names: str) -> None:
        """Set for whom commits wait."""
        async with self.admin(self.primary) as admin:
            while names and not await admin.fetchval("SELECT count(*) FROM pg_stat_replication"):
                await asyncio.sleep(0.02)
            await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            await admin.execute("SELECT pg_reload_conf()")

    async def promote(self) -> None:
        """The primary dies, and the standby takes its place."""
        self.primary.kill()
        if not self.standby.is_running:
            self.standby.start()  # with what it had
        async with self.admin(self.standby) as admin:
            await admin.fetch("SELECT pg_promote()")

    def end(self) -> None:
        self.standby.end()
        self.primary.end()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.end()


@asynccontextmanager
async def driver_at(pair: Pair, **options: float) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=pair.url, **{"timeout": 5.0, **options}))
    await driver.declare(SPEC)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def cancelling(pair: Pair) -> AsyncIterator[None]:
    """As an operator does whose standby hangs: end the waits for it, repeatedly."""

    async def cancel() -> None:
        async with pair.admin(pair.primary) as admin:
            while True:
                await admin.fetch(f"SELECT pg_cancel_backend(pid) {WAITING}")
                await asyncio.sleep(0.01)

    task = asyncio.create_task(cancel())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_standby_takes_no_driver_and_its_loss_makes_commits_unknown(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BEAT", 0.1)
    standby = PostgresDriver("postgres", parsed(PostgresSettings, url=pair.standby.url))
    with pytest.raises(BrokerUnavailableError, match="standby"):
        await standby.open()
    async with driver_at(pair) as driver, driver_at(pair) as idle:
        assert driver.durability == driver.durability_of("q") == "power"
        await pair.wait_for_standby("standby")
        await eventually(lambda: _published_at(driver, "node"), "the level of a publish")
        await eventually(lambda: _is_at(idle, "node"), "the level without a publish")

        pair.standby.kill()
        async with cancelling(pair):
            for number in range(5):
                with pytest.raises(BrokerTimeoutError, match="standby") as raised:
                    await driver.publish("q", [message(f"doubtful-{number}")])
                assert raised.value.outcome == "unknown"
            # What a worker does is committed here, and at worst done again.
            (got,) = await driver.receive("q", 1, PATIENCE)
            assert list(await driver.settle("q", [Ack(got.receipt)])) == []
        await pair.promote()
        await eventually(lambda: _published_at(driver, "power"), "the new primary, which has no standby")
        left = [item.id for item in await driver.receive("q", 1000, PATIENCE)]
        assert got.id in left
        assert not any(id.startswith("doubtful") for id in left), "it was right to doubt"


async def _published_at(driver: PostgresDriver, level: str) -> bool:
    await driver.publish("q", [Outgoing("x", b"", {})])
    return driver.durability_of("q") == level


async def _is_at(driver: PostgresDriver, level: str) -> bool:
    return driver.durability == level


@pytest.mark.cluster
@pytest.mark.timeout(900)
async def test_many_promotions_under_load_lose_nothing_that_was_confirmed() -> None:
    chance = random.Random(7)
    for _ in range(12):
        pair = Pair()
        try:
            await lose_the_primary(pair, loses_standby=chance.random() < 0.5)
        finally:
            pair.end()


async def lose_the_primary(pair: Pair, *, loses_standby: bool) -> None:
    """Under load; the standby may have been away before, while waits for it were ended."""
    async with driver_at(pair, timeout=3.0) as driver:
        await pair.wait_for_standby("standby")
        await eventually(lambda: _published_at(driver, "node"), "the level")
        load = Load(driver)
        async with load.running():
            await load.some()
            if loses_standby:
                pair.standby.kill()
                async with cancelling(pair):
                    await eventually(lambda: _doubts(load), "doubtful publishes")
            await pair.promote()
            await load.some()
        assert set(load.confirmed) <= load.came


async def _doubts(load: Load) -> bool:
    return len(load.doubtful) >= 20
