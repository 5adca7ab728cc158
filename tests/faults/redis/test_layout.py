"""A queue of another layout at Redis is refused, and stays as it is."""

from __future__ import annotations

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.errors import DriverError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

STATE = "{tasuki:q}:queue"


@pytest.mark.parametrize("found", ["2", "6", ""])
async def test_a_queue_of_another_layout_is_refused_and_kept(broker: Redis, found: str) -> None:
    async with driver_at(broker.port) as driver:
        nodes = driver._session.nodes("q")
        assert await nodes.call(0, "HGET", STATE, "version") == b"1"
        await (nodes.call(0, "HSET", STATE, "version", found) if found else nodes.call(0, "HDEL", STATE, "version"))
        before = await nodes.call(0, "HGETALL", STATE)
        has = f"layout {found}" if found else "no layout"
        for verb in (driver.declare(QueueSpec("q", lease=99.0)), driver.inspect(QueueSpec("q"))):
            expected = f"queue 'q' at Redis has {has}, and this version of Tasuki needs layout 1: .* set another prefix"
            with pytest.raises(DriverError, match=expected):
                await verb
        assert await nodes.call(0, "HGETALL", STATE) == before
