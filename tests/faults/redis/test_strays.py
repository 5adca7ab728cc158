"""Messages that are in no set of their queue, as another program can leave them, are found and ready again."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.testing.mutants import Unbroken, noticed
from tests.conformance.mutate import suite_of
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import SECONDS, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

MESSAGES = 300


async def _search_now(driver: RedisDriver) -> None:
    """Let the next receive search, as it does by itself every few seconds."""
    state = driver._session.place("q").keys[0]
    _, _, cursor = (await driver._session.nodes("q").call(0, "HGET", state, "strays") or b"0 0").partition(b" ")
    await driver._session.nodes("q").call(0, "HSET", state, "strays", b"0 " + cursor)


async def _drained(driver: RedisDriver) -> list[str]:
    """All ids that can be received, with a search before each receive."""
    found: list[str] = []
    for _ in range(MESSAGES):
        await _search_now(driver)
        got = await driver.receive("q", 1000, 0.0)
        found += [item.id for item in got]
        await driver.settle("q", [Ack(item.receipt) for item in got])
        if len(found) == MESSAGES:
            break
    return found


@pytest.mark.parametrize("held", ["LEASES", "READY"])
@pytest.mark.parametrize(("ordering", "keys"), [("none", 50), ("key", 50), ("key", 3), ("key", 0)])
async def test_messages_in_no_set_are_ready_again(
    broker: Redis, ordering: Literal["none", "key"], keys: int, held: Literal["LEASES", "READY"]
) -> None:
    """Of a queue with order per key, also the messages without a key."""
    spec = QueueSpec("q", ordering=ordering, lease=600.0)
    async with driver_at(broker.port, spec=spec) as driver:
        nodes, places = driver._session.nodes("q"), driver._session.place("q").keys
        numbered = [(n, f"k{n % 50}" if n % 50 < keys else None) for n in range(MESSAGES)]
        await driver.publish("q", [Outgoing(f"{n:03}", b"", {}, key=key) for n, key in numbered])
        index = 4 if held == "LEASES" else 2
        if held == "LEASES":
            await take(driver, "q", 20)
        lost = await nodes.call(0, "ZRANGE", places[index], 0, 19)
        assert len(lost) == 20
        await nodes.call(0, "ZREM", places[index], *lost)
        found = await _drained(driver)
        assert sorted(found) == [f"{number:03}" for number in range(MESSAGES)]


async def test_a_waiting_receive_finds_one_by_itself(broker: Redis) -> None:
    async with driver_at(broker.port, claim_interval=0.2) as driver, asyncio.timeout(SECONDS):
        nodes, keys = driver._session.nodes("q"), driver._session.place("q").keys
        await driver.publish("q", [Outgoing("stray", b"", {})])
        await nodes.call(0, "DEL", keys[2])
        await nodes.call(0, "HDEL", keys[0], "strays")  # or it waits half a minute
        got: list[Any] = []
        while not got:
            got = await driver.receive("q", 1, 5.0)
        assert got[0].id == "stray"


async def test_held_and_waiting_messages_are_left_alone(broker: Redis) -> None:
    for ordering in ("none", "key"):
        async with driver_at(broker.port, spec=QueueSpec("q", ordering=ordering, lease=600.0)) as driver:
            batch = [Outgoing(f"{n:02}", b"", {}, key=f"k{n % 5}", delay=60.0 * (n % 3 == 0)) for n in range(30)]
            await driver.publish("q", batch)
            held = await driver.receive("q", 3, 0.0)
            ready = [item.id for item in await driver.peek("q", 100)]
            for _ in range(5):
                await _search_now(driver)
                more = await driver.receive("q", 1, 0.0)
                held += more
            assert len({item.id for item in held}) == len(held)
            assert len(ready) + 3 == 30
            depth = await driver.depth("q")
            assert depth.in_flight == len(held)
            assert not await driver.settle("q", [Ack(item.receipt) for item in held])
            await driver.delete("q")


def test_a_driver_that_does_not_search_is_noticed() -> None:
    """The mutant of clause 55: it is in a script, so no driver around a driver can be it."""
    case = "test_55_messages_that_a_failed_step_left_nowhere_are_ready_again"
    suite = suite_of("redis")
    found, how = noticed(suite, Unbroken, [case])
    assert not found, how
    search = "swept + search_strays(time, ordering, search_from)"
    assert search in scripts.RECEIVE.text
    scripts_before = scripts.RECEIVE.text, scripts.RECEIVE.hash
    try:
        scripts.RECEIVE._set(scripts.RECEIVE.text.replace(search, "swept"))
        assert noticed(suite, Unbroken, [case])[0]
    finally:
        scripts.RECEIVE.text, scripts.RECEIVE.hash = scripts_before
