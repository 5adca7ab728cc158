"""Whatever is done to a limited queue at PostgreSQL: all that may be handed out is, and no more is."""

from __future__ import annotations

import random

import pytest

from tasuki.contracts.driver import Ack
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.properties.test_redis_lanes import Ordering, Traffic
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio

STEPS = 200
LANES = ("", "", "a", "b", "c", "\1\2", "é")


@pytest.mark.parametrize("seed", range(16))
async def test_all_is_handed_out_that_may_be(seed: int) -> None:
    settings = parsed(PostgresSettings, url=Postgres.shared().url, schema=f"lanes{seed}")
    driver = PostgresDriver("postgres", settings)
    await driver.open()
    found = Traffic(driver, random.Random(seed), LANES)
    ordering: Ordering = "key" if seed % 2 else "none"

    async def receive_one() -> None:
        """Which other statements serve."""
        await found.receive(1)

    async def declare() -> None:
        await found.declare(ordering)
        if not found.model.spec.fair:
            await found.receive()  # until then the messages may have their lanes again

    try:
        await found.declare(ordering)
        verbs = (found.publish, found.receive, receive_one, found.settle, declare, found.remove, found.purge)
        for _ in range(STEPS):
            (verb,) = found.chance.choices(verbs, (6, 5, 9, 8, 0.8, 1, 0.2))
            await verb()
        assert not await driver.settle("q", [Ack(item.receipt) for item in found.held])
        await driver.delete("q")
    finally:
        await driver.close()
