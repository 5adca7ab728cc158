"""Limited queues at Redis: what a claim costs, who waits for how long, and what other declarations and versions do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Limit, Move, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.errors import QueueFullError
from tests.faults.redis.rig import driver_at
from tests.faults.redis.test_steps import COUNTING, WORK, patch_scripts
from tests.faults.redis.test_waiting import NEVER, all_wait, finished, looks, processes
from tests.support.brokers.redis import Redis
from tests.support.brokers.redis_lanes import LanesSeen
from tests.support.brokers.rig import SECONDS, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

NONE_MORE = 1e-4
"""Messages a second: none comes during a test."""
ONE = Limit(concurrency=1)


def of(lane: str, *numbers: int, **options: Any) -> list[Outgoing]:
    return [Outgoing(f"{lane}{number}", b"", {}, lane=lane, **options) for number in numbers]


async def publish(driver: RedisDriver, lane: str, count: int, **options: Any) -> None:
    for start in range(0, count, 250):
        assert not await driver.publish("q", of(lane, *range(start, min(start + 250, count)), **options))


async def ids(driver: RedisDriver, limit: int = 100) -> list[str]:
    return [item.id for item in await driver.receive("q", limit, 0.0)]


async def work_of(driver: RedisDriver, name: str, act: Callable[[], Awaitable[object]]) -> int:
    """The most words that a script of this name exchanges with the server during an act."""
    nodes = driver._session.nodes("q")
    await nodes.call(0, "DEL", "work")
    await act()
    return int(await nodes.call(0, "ZSCORE", "work", name))


async def test_a_blocked_lane_costs_a_claim_nothing(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_scripts(monkeypatch, lambda name, text: COUNTING % name + text)
    async with driver_at(broker.port, spec=QueueSpec("q", fair=1, lane_limit=ONE, lease=600.0)) as driver:
        work = []
        for noisy in (10, 10_000):
            await publish(driver, "noisy", noisy)
            await driver.receive("q", 10, 0.0)
            await driver.publish("q", of("quiet", 0))

            async def claim() -> None:
                (got,) = await driver.receive("q", 10, 0.0)
                assert got.id == "quiet0"
                await driver.settle("q", [Ack(got.receipt)])

            work.append(await work_of(driver, "RECEIVE", claim))
            assert await work_of(driver, "RECEIVE", lambda: driver.receive("q", 10, 0.0)) < 100
        assert work[0] == work[1]


async def test_one_lane_of_100_000_delays_another_by_a_turn(broker: Redis) -> None:
    async with driver_at(broker.port, spec=QueueSpec("q", fair=1, lease=600.0)) as driver:
        await publish(driver, "noisy", 100_000)
        assert len(await ids(driver, 10)) == 10
        for number in range(5):
            await driver.publish("q", of("quiet", number))
            found = [await ids(driver, 1) for _ in range(3)]
            assert [f"quiet{number}"] in found
        await driver.publish("q", [Outgoing(f"other-{number}", b"", {}, lane=f"t{number}") for number in range(250)])
        got = await ids(driver, 255)
        assert sum(id.startswith("other-") for id in got) == 250
        assert await driver.purge("q") == 100_000 - sum(id.startswith("noisy") for id in got) - 10 - 10
        assert await LanesSeen(driver).left() == {"laned"}, "of those that are held"


async def test_scripts_of_lanes_have_a_bound(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_scripts(monkeypatch, lambda name, text: COUNTING % name + text)
    limit = Limit(NONE_MORE, burst=1)
    async with driver_at(broker.port, spec=QueueSpec("q", lease=600.0)) as driver:
        nodes, count = driver._session.nodes("q"), 3_000
        await publish(driver, "a", count)
        await driver.declare(QueueSpec("q", fair=1, lease=600.0, lane_limit=limit))
        await driver.publish("q", [Outgoing(f"{number}", b"", {}, lane=f"t{number}") for number in range(1000)])
        assert len(await driver.receive("q", 1000, 0.0)) == 1000
        await driver.publish("q", [Outgoing(f"{number}", b"", {}, lane=f"t{number}") for number in range(1000)])
        assert len(await ids(driver, 10)) == 1
        await driver.declare(QueueSpec("q", fair=1, lease=600.0, lane_limit=Limit(NONE_MORE, burst=2)))
        assert len(await ids(driver, 100)) == 100
        await driver.declare(QueueSpec("q", fair=3, lease=600.0))
        while got := await driver.receive("q", 100, 0.0):
            await driver.settle("q", [Release(item.receipt, 600.0) for item in got])
        await driver.purge("q")
        found = await nodes.call(0, "ZRANGE", "work", 0, -1, "WITHSCORES")
        work = dict(zip(found[::2], map(int, found[1::2]), strict=True))
        assert {name: words for name, words in work.items() if words > 2 * WORK} == {}


async def test_who_waits_for_a_token_asks_when_it_comes(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = 2.0
    for spec in (
        QueueSpec("q", limit=Limit(rate)),
        QueueSpec("q", fair=1, lane_limit=Limit(rate)),
        QueueSpec("q", fair=1, limit=Limit(rate)),
    ):
        async with processes(broker.port, monkeypatch, 3, spec=spec, claim_interval=NEVER) as all_:
            driver = all_[0].driver
            await driver.publish("q", of("a", *range(2)))
            held = await take(driver, "q")
            tasks = [process.receive() for process in all_]
            assert [item.id for item in await finished(tasks)] == ["a1"]
            # Each asks twice to register, and once or twice when the token comes: a timer may end a little early.
            assert looks(all_) <= 4 * len(all_)
            await driver.settle("q", [Ack(item.receipt) for item in held])
            await driver.delete("q")


async def test_who_waits_beside_blocked_messages_does_not_ask(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = QueueSpec("q", limit=Limit(concurrency=1), lease=600.0)
    async with processes(broker.port, monkeypatch, spec=spec, claim_interval=NEVER) as all_:
        driver = all_[0].driver
        await driver.publish("q", of("a", 0, 1, 2))
        (held,) = await take(driver, "q")
        tasks = await all_wait(all_)
        await driver.publish("q", of("a", 3, 4, 5))
        await driver.extend("q", [held.receipt], 600.0)
        assert looks(all_) == 0
        await driver.settle("q", [Nack(held.receipt)])
        assert [item.id for item in await finished(tasks)] == ["a0"]
        assert looks(all_) <= 2


@pytest.mark.parametrize("act", ["ack", "release", "lease", "declare", "move"])
async def test_what_frees_a_place_wakes_one(broker: Redis, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    lease = 0.5 if act == "lease" else 600.0
    spec = QueueSpec("q", fair=1, lane_limit=ONE, lease=lease)
    async with processes(broker.port, monkeypatch, 4, spec=spec) as all_:
        driver = all_[0].driver
        await driver.declare(QueueSpec("to"))
        await driver.publish("q", of("a", 0, 1, 2))
        (held,) = await take(driver, "q")
        tasks = [process.receive() for process in all_] if act == "lease" else await all_wait(all_)
        match act:
            case "ack":
                await driver.settle("q", [Ack(held.receipt)])
            case "release":
                await driver.settle("q", [Release(held.receipt, 600.0)])
            case "declare":
                await driver.declare(QueueSpec("q", fair=1, lane_limit=Limit(concurrency=2), lease=lease))
            case "move":
                assert not any(await driver.move("q", [Move(held.receipt, "to", (Outgoing("x", b"", {}),))]))
        assert [item.id for item in await finished(tasks)] == ["a0" if act == "lease" else "a1"]


async def test_who_takes_the_last_token_has_another_process_come_for_the_next(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spec in (QueueSpec("q", fair=1, lane_limit=Limit(2.0, burst=2)), QueueSpec("q", limit=Limit(2.0, burst=2))):
        async with processes(broker.port, monkeypatch, 2, spec=spec) as (busy, idle):
            tasks = await all_wait([idle])
            seen = LanesSeen(busy.driver)
            since = await seen.ask("ZRANGE", "waiting", 0, -1, "WITHSCORES")
            await seen.ask("DEL", "waiting")
            await busy.driver.publish("q", of("a", 0, 1, 2))  # of which no process hears
            await seen.ask("ZADD", "waiting", since[1], since[0])
            assert await ids(busy.driver) == ["a0", "a1"]
            assert [item.id for item in await finished(tasks)] == ["a2"]
            await busy.driver.delete("q")


async def test_a_burst_that_has_come_goes_to_all_that_wait(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    number = 4
    spec = QueueSpec("q", limit=Limit(concurrency=number), lease=600.0)
    async with processes(broker.port, monkeypatch, number, spec=spec) as all_:
        driver = all_[0].driver
        await driver.publish("q", of("a", *range(2 * number)))
        held = await take(driver, "q", number)
        tasks = [process.receive(limit=1) for process in all_]
        async with asyncio.timeout(SECONDS):
            while await all_[0].has("waiting") < number:
                await asyncio.sleep(0.01)
            await driver.settle("q", [Ack(item.receipt) for item in held])
            got = [item.id for items in await asyncio.gather(*tasks) for item in items]
        assert sorted(got) == [f"a{index}" for index in range(number, 2 * number)]


async def test_marks_of_lanes_go_by_themselves(broker: Redis) -> None:
    spec = QueueSpec("q", fair=1, lane_limit=Limit(0.1, burst=2), limit=Limit(20.0, burst=10))
    async with driver_at(broker.port, spec=spec) as driver:
        await driver.publish("q", [*of("a", 0, 1), *of("b", 0, 1)])
        held = await take(driver, "q", 4)
        await driver.settle("q", [Ack(item.receipt) for item in held])
        seen = LanesSeen(driver)
        assert await seen.left() == {"marks"}
        assert 0 < await seen.ask("PTTL", "marks") <= 20_001
        await driver.declare(QueueSpec("q", fair=1, lane_limit=Limit(1000.0, burst=2)))
        assert 0 <= await seen.ask("PTTL", "marks") <= 3 or not await seen.left()


async def test_a_queue_that_expires_takes_its_lanes_along(broker: Redis) -> None:
    spec = QueueSpec("q", fair=1, lane_limit=ONE, options={"expires": 300.0})
    async with driver_at(broker.port, spec=spec) as driver:
        await driver.publish("q", of("a", 0, 1, 2))
        seen = LanesSeen(driver)
        for part in ("laned", "lanes", "turn"):
            assert 200_000 < await seen.ask("PTTL", part) <= 300_000
        await driver.delete("q")
        assert await seen.left() == set()


async def test_messages_that_are_large_together_leave_the_rest_in_turn(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasuki.drivers.redis.receiving.MAX_BYTES", 5000)
    async with driver_at(broker.port, spec=QueueSpec("q", fair=1, lane_limit=Limit(concurrency=50))) as driver:
        batch = [Outgoing(f"{lane}{number}", bytes(100), {}, lane=lane) for number in range(50) for lane in "abc"]
        await driver.publish("q", batch)
        seen, got = LanesSeen(driver), 0
        while items := await driver.receive("q", 100, 0.0):
            assert len(items) <= 64
            got += len(items)
            await seen.check()
        assert got == 150


async def test_lanes_go_on_at_maxmemory(broker: Redis) -> None:
    spec = QueueSpec("q", fair=1, limit=Limit(1e6, 1000), lane_limit=Limit(1e6, 1000, 2), lease=600.0)
    async with driver_at(broker.port, spec=spec) as driver:
        await driver.publish("q", [*of("a", *range(4)), *of("b", *range(4)), *of("c", 0, delay=600.0)])
        got = await take(driver, "q", 4)
        broker.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        broker.ask("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(QueueFullError):
            await driver.publish("q", of("a", 9))
        kinds = (Ack(got[0].receipt), Nack(got[1].receipt), Nack(got[2].receipt, 600.0), Release(got[3].receipt))
        assert not await driver.settle("q", kinds)
        await driver.declare(QueueSpec("q", fair=2, lane_limit=Limit(concurrency=2), lease=600.0))
        again = await take(driver, "q", 4)
        await LanesSeen(driver).check()
        await driver.declare(QueueSpec("q", fair=2, lease=600.0))
        assert len(await take(driver, "q", 2)) == 2
        assert not await driver.settle("q", [Ack(item.receipt) for item in again])
        assert await driver.purge("q") == 2
        await LanesSeen(driver).check()
