"""What frees a place, brings a lane to life or lets time pass wakes a receive; one that must wait asks nothing."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Limit, Move, Nack, Outgoing, QueueSpec, Received, Release, Settlement
from tasuki.drivers.postgres.connections import Link
from tasuki.drivers.postgres.driver import PostgresDriver

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 60.0
NEVER = PATIENCE * 4
"""No process looks by itself within a test."""
ONE = Limit(concurrency=1)
PLACES = {
    "lanes": QueueSpec("q", lease=NEVER, fair=1, lane_limit=ONE),
    "keys": QueueSpec("q", lease=NEVER, fair=1, ordering="key"),
    "gate": QueueSpec("q", lease=NEVER, limit=ONE),
    "gate before lanes": QueueSpec("q", lease=NEVER, limit=ONE, fair=1),
}
Make = Callable[..., Awaitable[PostgresDriver]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many statements about messages the drivers have sent, by the function that they call."""
    counted: Counter[str] = Counter()
    fetch = Link.fetch

    async def counting(self: Link, sql: str, *arguments: Any) -> list[Any]:
        if called := re.search(r"\.(receive|check_queues)\(", sql):
            counted[called.group(1)] += 1
        return await fetch(self, sql, *arguments)

    monkeypatch.setattr(Link, "fetch", counting)
    return counted


def of(lane: str, *numbers: int, **options: Any) -> list[Outgoing]:
    return [Outgoing(f"{lane}{number}", b"", {}, lane=lane, key=lane, **options) for number in numbers]


async def processes(make: Make, spec: QueueSpec, number: int = 3) -> list[PostgresDriver]:
    """Drivers that hear from the server."""
    drivers = [await make(spec=spec, poll_interval=NEVER, timeout=PATIENCE) for _ in range(number)]
    await until(lambda: all(driver._guard.get("q").hears for driver in drivers))
    return drivers


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def waiting(drivers: list[PostgresDriver], most: int = 10) -> list[asyncio.Task[list[Received]]]:
    """Receives, once the server has noted them all and each has asked for what it may have missed."""
    tasks = [asyncio.create_task(driver.receive("q", most, PATIENCE)) for driver in drivers]
    lines = [driver._guard.get("q").waiting.line("q") for driver in drivers]
    await until(lambda: all(line.receives and line.is_noted and not line.asking for line in lines))
    await asyncio.sleep(0.1)  # a process that begins to wait looks again after 0.02 s
    return tasks


async def came(tasks: list[asyncio.Task[list[Received]]], number: int = 1) -> list[str]:
    """What came, once so many receives have ended."""
    await until(lambda: sum(task.done() for task in tasks) >= number)
    return sorted(item.id for task in tasks if task.done() for item in task.result())


async def ended(tasks: list[asyncio.Task[list[Received]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("act", ["ack", "nack", "release", "lease", "declare", "move", "close", "purge"])
async def test_what_frees_a_place_wakes_one(  # noqa: C901 (one branch an act)
    make: Make, kind: str, act: str, calls: Counter[str]
) -> None:
    spec = PLACES[kind]
    driver, *others = await processes(make, spec)
    await driver.declare(QueueSpec("to"))
    await driver.publish("q", of("a", 0, 1, 2))
    (held,) = await driver.receive("q", 1, 0.0)
    if act == "purge" and kind == "keys":
        await driver.settle("q", [Nack(held.receipt, NEVER)])  # a delayed front, which the purge removes
    tasks = await waiting(others)
    calls.clear()
    match act:
        case "ack":
            await driver.settle("q", [Ack(held.receipt)])
        case "nack":
            await driver.settle("q", [Nack(held.receipt)])
        case "release":
            await driver.settle("q", [Release(held.receipt)])
        case "lease":
            await driver.extend("q", [held.receipt], 0.3)
            calls.clear()
            await others[0].publish("q", of("z", 0, delay=0.4))  # its process watches
        case "declare" if kind != "keys":
            two = Limit(concurrency=2)
            gate, lane = (two, None) if spec.limit else (None, two)
            await driver.declare(QueueSpec("q", lease=NEVER, fair=spec.fair, limit=gate, lane_limit=lane))
        case "move":
            assert await driver.move("q", [Move(held.receipt, "to", (Outgoing("moved", b"", {}),))]) == ()
        case "close":
            await driver.close()
        case "purge" if kind == "keys":
            assert await driver.remove("q", ["a0"]) == 1
        case _:
            await driver.settle("q", [Ack(held.receipt)])
    found = await came(tasks)
    assert found[0] in {"a0", "a1"}
    if act not in {"lease", "declare"}:
        assert calls["receive"] <= 3, calls
    await ended(tasks)


@pytest.mark.parametrize(
    "spec",
    [
        QueueSpec("q", lease=NEVER, limit=Limit(2.0)),
        QueueSpec("q", lease=NEVER, fair=1, lane_limit=Limit(2.0)),
        QueueSpec("q", lease=NEVER, fair=1, limit=Limit(2.0)),
        QueueSpec("q", lease=NEVER, ordering="key", fair=1, lane_limit=Limit(2.0)),
    ],
    ids=["gate", "lanes", "gate before lanes", "keys"],
)
async def test_one_of_those_that_wait_for_a_token_asks_when_it_comes(
    make: Make, spec: QueueSpec, calls: Counter[str]
) -> None:
    driver, *others = await processes(make, spec, 4)
    await driver.publish("q", of("a", 0, 1, 2))
    (held,) = await driver.receive("q", 1, 0.0)
    tasks = await waiting(others)
    await driver.settle("q", [Ack(held.receipt)])
    calls.clear()
    assert await came(tasks) == ["a1"]
    assert calls["receive"] <= 4, "they asked before its time, again and again"
    await asyncio.gather(*(driver.settle("q", [Ack(held.receipt)]) for _ in range(1)))
    if spec.ordering != "key":
        assert await came(tasks, 2) == ["a1", "a2"], "another one watches"
    await ended(tasks)


async def test_who_waits_beside_blocked_lanes_does_not_ask(make: Make, calls: Counter[str]) -> None:
    driver, *others = await processes(make, PLACES["lanes"])
    await driver.publish("q", [message for lane in "abc" for message in of(lane, *range(5))])
    held = await driver.receive("q", 10, 0.0)
    assert len(held) == 3
    tasks = await waiting(others)
    calls.clear()
    await driver.extend("q", [item.receipt for item in held], NEVER)
    await asyncio.sleep(0.5)
    assert not calls, "nothing has happened"
    await driver.publish("q", of("b", 5))
    await until(lambda: calls["receive"] > 0)  # in vain: it may wake one
    await asyncio.sleep(0.2)
    assert calls["receive"] <= 2, calls
    await driver.settle("q", [Ack(item.receipt) for item in held])
    await came(tasks)
    await ended(tasks)


@pytest.mark.parametrize("kind", PLACES)
async def test_a_settlement_in_a_transaction_wakes_one_that_waited_later(
    make: Make, sql: asyncpg.Connection, kind: str, calls: Counter[str]
) -> None:
    driver, *others = await processes(make, PLACES[kind])
    await driver.publish("q", of("a", 0, 1, 2))
    (held,) = await driver.receive("q", 1, 0.0)
    async with sql.transaction():
        await driver.settle_within(sql, "q", [Ack(held.receipt)])
        tasks = await waiting(others)
        assert not any(task.done() for task in tasks), "its place is taken until the commit"
        await driver.publish("q", of("a", 3))
        if "lanes" in kind or kind == "keys":
            await driver.publish("q", of("b", 0))
        await asyncio.sleep(0.1)
        calls.clear()
    found = await came(tasks)
    assert {"a1", "b0"} & set(found)
    await ended(tasks)


async def test_many_acks_wake_as_many_as_they_free(make: Make) -> None:
    spec = QueueSpec("q", lease=NEVER, fair=1, lane_limit=Limit(concurrency=2), limit=Limit(concurrency=6))
    driver, *others = await processes(make, spec, 5)
    await driver.publish("q", [message for lane in "abc" for message in of(lane, *range(6))])
    held = await driver.receive("q", 10, 0.0)
    assert len(held) == 6
    tasks = await waiting(others, most=1)
    await driver.settle("q", [Ack(item.receipt) for item in held])
    assert len(await came(tasks, 4)) == 4


@pytest.mark.parametrize("kind", [*PLACES, "rate"])
async def test_a_drain_needs_no_polls(make: Make, kind: str) -> None:
    """Many receives wait at any time, and are woken by what others do; none looks by itself within the test."""
    dice, number = random.Random(45), 240
    rate = QueueSpec("q", lease=NEVER, fair=2, lane_limit=Limit(40.0, 2, 3))
    drivers = await processes(make, PLACES.get(kind, rate), 4)
    acked: Counter[str] = Counter()

    async def work(driver: PostgresDriver) -> None:
        while sum(acked.values()) < number:
            got = await driver.receive("q", dice.randint(1, 5), PATIENCE)
            await asyncio.sleep(dice.choice((0.0, 0.0, 0.005)))
            batch: list[Settlement] = []
            for item in got:
                is_done, delay = dice.random() < 0.6, dice.choice((0.0, 0.02))
                acked[item.id] += is_done
                back = dice.choice((Nack, Release))(item.receipt, delay)
                batch.append(Ack(item.receipt) if is_done else back)
            assert await driver.settle("q", batch) == []

    ids = [f"{dice.choice('abcdef')}{place}" for place in range(number)]
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(driver)) for driver in drivers for _ in range(2)]
        for start in range(0, number, 8):
            batch = [Outgoing(id, b"", {}, lane=id[0], key=id[0]) for id in ids[start : start + 8]]
            await drivers[start // 8 % 4].publish("q", batch)
            await asyncio.sleep(dice.choice((0.0, 0.02)))
        await until(lambda: sum(acked.values()) == number)
        for task in tasks:
            task.cancel()
    assert acked == Counter(ids)
