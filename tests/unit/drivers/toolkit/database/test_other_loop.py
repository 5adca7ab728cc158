"""DatabaseDriver: leases are extended from another event loop, over a connection of that loop."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Capabilities, Outgoing, QueueSpec
from tasuki.drivers.toolkit.database.driver import DatabaseDriver
from tests.unit.drivers.toolkit.database.fake_database import FakeDatabase, FakeLink

pytestmark = pytest.mark.anyio


class FakeDriver(DatabaseDriver[FakeLink]):
    capabilities = Capabilities(abilities=frozenset({"leases"}))


class Database(FakeDatabase):
    """Notes the loop of each connection."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: list[asyncio.AbstractEventLoop] = []

    async def connect(self) -> FakeLink:
        self.loops.append(asyncio.get_running_loop())
        return await super().connect()


async def test_leases_are_extended_from_another_loop() -> None:
    database = Database()
    driver = FakeDriver("app:x", database)
    await driver.declare(QueueSpec("q"))
    await driver.open()
    await driver.publish("q", [Outgoing("a", b"", {})])
    (delivery,) = await driver.receive("q", 1, 0.0)

    async def extend() -> object:
        return await driver.extend("q", [delivery.receipt, (0, 0)], 600.0)

    for _ in range(2):
        assert await asyncio.to_thread(asyncio.run, extend()) == [(0, 0)]
    others = [loop for loop in database.loops if loop is not asyncio.get_running_loop()]
    assert len(others) == 1
    assert database.tables["q"].rows[0].due > asyncio.get_running_loop().time() + 500.0
    await driver.close()
    await driver.close()
    assert not any(link.is_alive for link in database.links)
