"""Queues at Redis that get limits while they are used: with their messages, and by a process that dies."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Ack, Limit, QueueSpec
from tasuki.drivers.redis import scripts, session
from tests.faults.redis.rig import driver_at
from tests.faults.redis.test_limits import ids, of, publish
from tests.support.brokers.redis import Redis
from tests.support.brokers.redis_lanes import LanesSeen
from tests.support.brokers.rig import SECONDS, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_queue_gets_limits_with_its_messages(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        await driver.declare(QueueSpec("q", lease=600.0))
        await publish(driver, "a", 1000)
        held = await take(driver, "q", 3)
        await driver.declare(QueueSpec("q", lease=600.0, fair=1, lane_limit=Limit(concurrency=3)))
        await driver.publish("q", of("b", 0))
        assert await ids(driver) == ["b0"], "those from before are in one lane, which is full"
        await driver.settle("q", [Ack(item.receipt) for item in held])
        assert len(await ids(driver)) == 3
        seen = LanesSeen(driver)
        await seen.check()
        await driver.declare(QueueSpec("q", lease=600.0))
        assert await seen.left() == set()
        assert len(await ids(driver, 1000)) == 997 - 3


async def test_a_change_of_the_lanes_goes_on_when_its_process_dies(broker: Redis) -> None:
    async with driver_at(broker.port, spec=QueueSpec("q", lease=600.0)) as driver:
        await publish(driver, "a", 1000)
        held = await take(driver, "q", 250)
        options = (600_000_000, "", "none", "", "", "", "", session.LAYOUT, "1 - - - - - 251")
        assert (await driver._session.ask("q", scripts.DECLARE, *options))[-1] == 1, "and it makes no step of its own"
        async with asyncio.timeout(SECONDS):
            (got,) = await driver.receive("q", 10, SECONDS)
        while await driver._session.nodes("q").call(0, "HEXISTS", "{tasuki:q}:queue", "laning"):
            assert not await driver.receive("q", 10, 0.0)
        await LanesSeen(driver).check()
        await driver.settle("q", [Ack(item.receipt) for item in (*held, got)])
        assert len(await driver.receive("q", 1000, 0.0)) == 251
