"""What a verb of the MariaDB driver reads in the server, counted by the server: as much with any backlog."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki_mariadb.connecting import Link
from tasuki_mariadb.database import MariaDb
from tasuki_mariadb.driver import MariaDbDriver
from tasuki_mariadb.settings import MariaDbSettings
from tests.support.brokers.mariadb import MariaDb as Server
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio
COUNTERS = "SHOW SESSION STATUS LIKE 'Handler_read%%'"
Count = Callable[[Awaitable[Any]], Awaitable[int]]


@pytest.fixture
def settings(tmp_path: Path) -> MariaDbSettings:
    url = f"mariadb://root@127.0.0.1:{Server.shared().port}/tasuki"
    return parsed(MariaDbSettings, url=url, prefix=tmp_path.name[:40].lower(), poll_interval=60.0)


@pytest.fixture
async def driver(settings: MariaDbSettings) -> AsyncIterator[MariaDbDriver]:
    driver = MariaDbDriver("mariadb", settings)
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    plain, counts = Link.rows, list[int]()

    async def reads(link: Link) -> int:
        return sum(int(value) for _, value in await plain(link, COUNTERS))

    async def rows(link: Link, sql: str, *arguments: Any) -> list[Any]:
        before = await reads(link)
        found = await plain(link, sql, *arguments)
        after = await reads(link)
        counts.append(after - before - (await reads(link) - after))  # the counting reads too
        return found

    async def counted(work: Awaitable[Any]) -> int:
        counts.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Link, "rows", rows)
            await work
        return sum(counts)

    return counted


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_a_backlog_costs_nothing(driver: MariaDbDriver, count: Count, ordering: Any) -> None:
    await driver.declare(QueueSpec("q", ordering=ordering))

    async def costs(backlog: int) -> list[int]:
        for number in range(backlog):
            messages = [
                Outgoing(f"{number}-{each}", b"", {}, 60.0 * (each % 10 == 0), 0, f"{each % 5}") for each in range(500)
            ]
            await driver.publish("q", messages)
        one, two = await driver.receive("q", 2, 0.0)
        return [
            await count(driver.settle("q", [Ack(one.receipt)])),
            await count(driver.settle("q", [Nack(two.receipt)])),
            await count(driver.receive("q", 1, 0.0)),
            await count(driver.publish("q", [Outgoing("last", b"", {}, 0.0, 0, "0")])),
            await count(driver.occupancy("q")),
        ]

    few, many = await costs(1), await costs(9)
    assert max(many) < 100, f"rows read: {few} with 500 messages, {many} with 5,000"


async def test_a_poll_for_many_queues_reads_no_backlog(
    driver: MariaDbDriver, settings: MariaDbSettings, count: Count
) -> None:
    names = [f"q{number}" for number in range(100)]
    for name in [*names, "full"]:
        await driver.declare(QueueSpec(name))
    for number in range(10):
        await driver.publish("full", [Outgoing(f"{number}-{each}", b"", {}) for each in range(1000)])
    database = MariaDb("poll", settings)
    link = await database.connect()
    read = await count(database.store(link).news(names))
    await link.close()
    assert read < 20 * len(names), f"{read} rows read"
