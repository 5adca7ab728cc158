"""Connections of the MariaDB driver that the server ends while they are not in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki_mariadb.connecting import Connector, Link
from tasuki_mariadb.driver import MariaDbDriver
from tasuki_mariadb.settings import MariaDbSettings
from tests.support.brokers.mariadb import MariaDb
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> MariaDbSettings:
    url = f"mariadb://root@127.0.0.1:{MariaDb.shared().port}/tasuki"
    return parsed(MariaDbSettings, url=url, prefix=tmp_path.name[:40].lower(), pool_size=3, poll_interval=60.0)


@pytest.fixture
async def links(settings: MariaDbSettings, monkeypatch: pytest.MonkeyPatch) -> list[Link]:
    made, connect = list[Link](), Connector.connect

    async def connected(self: Connector) -> Link:
        made.append(await connect(self))
        return made[-1]

    monkeypatch.setattr(Connector, "connect", connected)
    return made


@pytest.fixture
async def driver(settings: MariaDbSettings, links: list[Link]) -> AsyncIterator[MariaDbDriver]:
    driver = MariaDbDriver("mariadb", settings)
    await driver.open()
    await driver.declare(QueueSpec("q"))
    yield driver
    await driver.close()


async def test_one_that_was_killed_fails_no_verb(
    driver: MariaDbDriver, links: list[Link], settings: MariaDbSettings
) -> None:
    await asyncio.gather(*(driver.publish("q", [Outgoing(f"{each}", b"", {})]) for each in range(3)))
    killed = [link for link in links if link.is_alive]
    killer = await Connector("killer", settings).connect()
    for link in killed:
        await killer.rows("KILL %s", (await link.rows("SELECT CONNECTION_ID()"))[0][0])
    await killer.close()
    async with asyncio.timeout(5):
        while any(link.is_alive for link in killed):
            await asyncio.sleep(0.01)
    for each in range(3, 6):
        assert await driver.publish("q", [Outgoing(f"{each}", b"", {})]) == ()
    assert (await driver.depth("q")).ready == 6
