"""Unique messages at Redis: what stays behind, and what a server without memory does."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Unique
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


def unique(id: str, key: str, span: Any = "pending", act: Any = "keep") -> Outgoing:
    return Outgoing(id, b"body", {}, unique=Unique(key, span, act))


async def test_fields_of_messages_that_are_gone_go_too(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        ask = driver._session.nodes("q").call
        where = driver._session.place("q")
        uniques = next(key for key in where.keys if key.endswith(b":uniques"))
        await driver.publish("q", [unique("w", "window", 3600.0)])
        for turn in range(40):
            await driver.publish("q", [unique(f"{turn}-{number}", f"k{turn}-{number}") for number in range(5)])
            held = await driver.receive("q", 10, 0.0)
            assert not await driver.settle("q", [Ack(each.receipt) for each in held])
        assert await ask(where.slot, "HLEN", uniques) < 40
        assert await ask(where.slot, "HEXISTS", uniques, "window") == 1
        await driver.delete("q")
        assert await ask(where.slot, "EXISTS", *where.keys) == 0


async def test_a_queue_that_expires_takes_its_keys_along(broker: Redis) -> None:
    spec = QueueSpec("q", options={"expires": 300.0})
    async with driver_at(broker.port, spec=spec) as driver:
        where = driver._session.place("q")
        uniques = next(key for key in where.keys if key.endswith(b":uniques"))
        await driver.publish("q", [unique("a", "k")])
        left = await driver._session.nodes("q").call(where.slot, "PTTL", uniques)
        assert 200_000 < left <= 300_000


async def test_a_plain_publish_leaves_the_keys_alone(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        await driver.publish("q", [Outgoing("a", b"", {}), Outgoing("b", b"", {}, delay=5.0)])
        where = driver._session.place("q")
        uniques = next(key for key in where.keys if key.endswith(b":uniques"))
        assert await driver._session.nodes("q").call(where.slot, "EXISTS", uniques) == 0
