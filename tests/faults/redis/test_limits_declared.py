"""Queues at Redis that get limits while they are used: by a process that dies, beside the version before."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Ack, Limit, QueueSpec
from tasuki.drivers.redis import scripts, session
from tasuki.drivers.toolkit.layout import Layout
from tests.faults.redis.rig import driver_at
from tests.faults.redis.test_layout import side_by_side
from tests.faults.redis.test_limits import ids, of, publish
from tests.support.brokers.redis import Redis
from tests.support.brokers.redis_lanes import LanesSeen
from tests.support.brokers.rig import SECONDS, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_queue_of_the_version_before_gets_limits_with_its_messages(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driver_at(broker.port) as driver:
        with monkeypatch.context() as before:
            before.setattr(session, "LAYOUT", Layout(4, 1))
            await driver.declare(QueueSpec("q", lease=600.0))
        nodes = driver._session.nodes("q")
        await nodes.call(0, "HDEL", "{tasuki:q}", "limits")
        await nodes.call(0, "HSET", "{tasuki:q}", "version", 4)
        await publish(driver, "a", 1000)
        held = await take(driver, "q", 3)
        await driver.declare(QueueSpec("q", lease=600.0, fair=1, lane_limit=Limit(concurrency=3)))
        assert await nodes.call(0, "HMGET", "{tasuki:q}", "version", "min_version") == [b"5", b"5"]
        await driver.publish("q", of("b", 0))
        assert await ids(driver) == ["b0"], "those from before are in one lane, which is full"
        await driver.settle("q", [Ack(item.receipt) for item in held])
        assert len(await ids(driver)) == 3
        seen = LanesSeen(driver)
        await seen.check()
        await driver.declare(QueueSpec("q", lease=600.0))
        assert await nodes.call(0, "HMGET", "{tasuki:q}", "version", "min_version") == [b"5", b"1"]
        assert await seen.left() == set()
        assert len(await ids(driver, 1000)) == 997 - 3


async def test_a_change_of_the_lanes_goes_on_when_its_process_dies(broker: Redis) -> None:
    async with driver_at(broker.port, spec=QueueSpec("q", lease=600.0)) as driver:
        await publish(driver, "a", 1000)
        held = await take(driver, "q", 250)
        options = (600_000_000, "", "none", "", "", "", "", 5, 5, "1 - - - - - 251")
        assert (await driver._session.ask("q", scripts.DECLARE, *options))[-1] == 1, "and it makes no step of its own"
        async with asyncio.timeout(SECONDS):
            (got,) = await driver.receive("q", 10, SECONDS)
        while await driver._session.nodes("q").call(0, "HEXISTS", "{tasuki:q}", "laning"):
            assert not await driver.receive("q", 10, 0.0)
        await LanesSeen(driver).check()
        await driver.settle("q", [Ack(item.receipt) for item in (*held, got)])
        assert len(await driver.receive("q", 1000, 0.0)) == 251


@pytest.mark.parametrize("places", [None, 1, 30])
async def test_beside_the_version_before_lanes_lose_nothing_and_give_nothing_twice(
    broker: Redis, places: int | None
) -> None:
    """It knows no lanes: it takes from all, and what it returns and publishes is in none."""
    spec = QueueSpec("q", fair=1, lane_limit=Limit(concurrency=places), lease=600.0)
    async with side_by_side(broker.port) as (old, driver), asyncio.timeout(SECONDS):
        await old.publish(*(f"before{number}" for number in range(5)))
        held = await old.receive(4)
        await driver.declare(spec)
        await driver.publish("q", [*of("a", *range(6)), *of("b", *range(6))])
        held += await old.receive(3)
        done = {item.id for item in held[:3]}
        assert not await old.settle(held[:3], held[3:5])
        await old.publish("old")
        rest = held[5:]
        for _ in range(3):
            got = await driver.receive("q", 3, 0.1)
            assert not {item.id for item in got} & {item.id for item in rest}
            done |= {item.id for item in got}
            assert not await driver.settle("q", [Ack(item.receipt) for item in got])
        assert not await old.settle((), rest)
        while (await driver.depth("q")).ready:
            got = await driver.receive("q", 3, 0.1)
            assert not {item.id for item in got} & done
            done |= {item.id for item in got}
            await driver.settle("q", [Ack(item.receipt) for item in got])
        assert len(done) == 5 + 12 + 1
