"""One message wakes one of many workers, whatever made it ready; and a wake-up that is lost is made up for soon."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, Occupancy, Outgoing, QueueSpec, Received, Release
from tasuki.drivers.postgres.connections import Link
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import QueueNotFoundError
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 60.0
NEVER = PATIENCE * 4
"""No worker looks by itself within a test."""
Make = Callable[..., Awaitable[list[PostgresDriver]]]


@pytest.fixture
async def make(url: str, schema: str) -> AsyncIterator[Make]:
    drivers: list[PostgresDriver] = []

    async def make(number: int, *, poll_interval: float = NEVER, **options: Any) -> list[PostgresDriver]:
        made = [
            PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema, poll_interval=poll_interval))
            for _ in range(number)
        ]
        drivers.extend(made)
        for driver in made:
            await driver.declare(QueueSpec("q", **({"lease": NEVER} | options)))
            await driver.open()
        return made

    yield make
    await asyncio.gather(*(driver.close() for driver in drivers))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many statements the drivers have sent for messages, by the function that they call."""
    counted: Counter[str] = Counter()
    fetch = Link.fetch

    async def counting(self: Link, sql: str, *arguments: Any) -> list[Any]:
        if called := re.search(r"\.(publish|receive|look|settle|pass_on|occupancies)\(", sql):
            counted[called.group(1)] += 1
        return await fetch(self, sql, *arguments)

    monkeypatch.setattr(Link, "fetch", counting)
    return counted


Waits = list["asyncio.Task[list[Received]]"]


async def waiting(drivers: list[PostgresDriver], each: int = 1, limit: int = 10, rest: float = PATIENCE / 4) -> Waits:
    """Receives of these drivers, once the server knows of all, and none looks into the queue for some seconds."""
    tasks = [asyncio.create_task(driver.receive("q", limit, PATIENCE)) for driver in drivers for _ in range(each)]
    async with asyncio.timeout(PATIENCE):
        while not all(rests(driver, each, rest) for driver in drivers):
            await asyncio.sleep(0.01)
    return tasks


def rests(driver: PostgresDriver, receives: int, seconds: float) -> bool:
    """Whether so many receives wait, the server will wake them, and they look only after so many seconds."""
    session = driver._guard.current
    assert session is not None
    line = session.waiting.line("q")
    is_noted = session.hears and session.waiting.is_quiet("q") and len(line.receives) == receives
    return is_noted and seconds < line.look_at - asyncio.get_running_loop().time() < math.inf


async def got_messages(tasks: Waits, number: int) -> list[Received]:
    """What came, once so many receives have ended."""
    async with asyncio.timeout(PATIENCE):
        while sum(task.done() for task in tasks) < number:
            await asyncio.sleep(0.01)
    return [item for task in tasks if task.done() for item in await task]


def message(id: str = "m", **options: Any) -> Outgoing:
    return Outgoing(id, b"", {}, **options)


async def test_one_message_wakes_one_of_forty_workers(make: Make, calls: Counter[str]) -> None:
    (publisher,) = await make(1)
    tasks = await waiting(await make(40))
    calls.clear()
    await publisher.publish("q", [message()])
    assert [item.id for item in await got_messages(tasks, 1)] == ["m"]
    assert calls == {"publish": 1, "receive": 1}


async def test_one_message_wakes_one_of_the_consumers_of_a_process(make: Make, calls: Counter[str]) -> None:
    publisher, worker = await make(2)
    tasks = await waiting([worker], each=5)
    calls.clear()
    await publisher.publish("q", [message()])
    assert [item.id for item in await got_messages(tasks, 1)] == ["m"]
    assert calls["receive"] == 1


async def test_as_many_wake_as_there_are_messages(make: Make, calls: Counter[str]) -> None:
    (publisher,) = await make(1)
    tasks = await waiting(await make(6), limit=1)
    calls.clear()
    await publisher.publish("q", [message(f"{number}") for number in range(3)])
    assert sorted(item.id for item in await got_messages(tasks, 3)) == ["0", "1", "2"]
    assert calls == {"publish": 1, "receive": 3}


async def test_the_consumers_of_a_process_share_a_batch(make: Make) -> None:
    publisher, worker = await make(2)
    tasks = await waiting([worker], each=4, limit=1)
    await publisher.publish("q", [message(f"{number}") for number in range(4)])
    assert len(await got_messages(tasks, 4)) == 4


async def test_a_worker_that_goes_on_waiting_is_woken_again(make: Make) -> None:
    publisher, worker = await make(2)
    tasks = await waiting([worker], each=3)
    for number in range(3):
        await publisher.publish("q", [message(f"{number}")])
        assert len(await got_messages(tasks, number + 1)) == number + 1


@pytest.mark.parametrize("settlement", [Nack, Release])
async def test_one_wakes_for_what_comes_back(
    make: Make, calls: Counter[str], settlement: type[Nack] | type[Release]
) -> None:
    (holder,) = await make(1)
    await holder.publish("q", [message()])
    (held,) = await holder.receive("q", 1, PATIENCE)
    tasks = await waiting(await make(5))
    calls.clear()
    await holder.settle("q", [settlement(held.receipt)])
    assert [item.id for item in await got_messages(tasks, 1)] == ["m"]
    assert calls == {"settle": 1, "receive": 1}


async def test_a_delayed_message_is_watched_by_one(
    make: Make, calls: Counter[str], sql: asyncpg.Connection, schema: str
) -> None:
    (publisher,) = await make(1)
    tasks = await waiting(await make(10))
    calls.clear()
    await publisher.publish("q", [message("late", delay=1.0)])
    async with asyncio.timeout(PATIENCE):
        while not await sql.fetchval(f"SELECT count(wakes_at) FROM {schema}.waiters"):
            await asyncio.sleep(0.01)
    await publisher.publish("q", [message("later", delay=PATIENCE)])
    assert [item.id for item in await got_messages(tasks, 1)] == ["late"]
    # One wakes to watch, and looks once more; it looks when it is time, and takes; then another one may watch.
    assert calls["receive"] <= 3
    assert calls["check_queues"] <= 3


async def test_watching_goes_on_when_the_watcher_is_busy(make: Make) -> None:
    (publisher,) = await make(1)
    tasks = await waiting(await make(3), limit=1)
    await publisher.publish("q", [message(f"{number}", delay=0.2 + number / 10) for number in range(3)])
    assert sorted(item.id for item in await got_messages(tasks, 3)) == ["0", "1", "2"]


async def test_a_nack_with_a_delay_and_a_lease_that_ends_are_watched(make: Make) -> None:
    holder, publisher = await make(2, lease=1.0)
    await publisher.publish("q", [message("nacked"), message("kept")])
    nacked, _ = await holder.receive("q", 2, PATIENCE)
    tasks = await waiting(await make(3, lease=1.0), limit=1, rest=0.0)
    await holder.settle("q", [Nack(nacked.receipt, 0.2)])
    assert sorted(item.id for item in await got_messages(tasks, 2)) == ["kept", "nacked"]


async def test_the_next_of_a_key_wakes_one(make: Make, calls: Counter[str]) -> None:
    holder, publisher = await make(2, ordering="key")
    await publisher.publish("q", [message("a", key="k"), message("b", key="k")])
    (held,) = await holder.receive("q", 1, PATIENCE)
    tasks = await waiting(await make(5, ordering="key"))
    calls.clear()
    await holder.settle("q", [Ack(held.receipt)])
    assert [item.id for item in await got_messages(tasks, 1)] == ["b"]
    assert calls == {"settle": 1, "receive": 1}


async def test_a_wake_up_for_a_process_that_waits_no_more_is_passed_on(
    make: Make, calls: Counter[str], sql: asyncpg.Connection, schema: str
) -> None:
    publisher, gone, worker = await make(3)
    (stopped,) = await waiting([gone])
    tasks = await waiting([worker])
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    assert gone._guard.current is not None
    await sql.execute(
        f"UPDATE {schema}.waiters SET until = until + interval '1 hour' WHERE holder = $1", gone._guard.current.holder
    )
    calls.clear()
    await publisher.publish("q", [message()])
    assert [item.id for item in await got_messages(tasks, 1)] == ["m"]
    assert calls == {"publish": 1, "pass_on": 1, "receive": 1}


async def test_a_dead_process_delays_a_message_by_one_check_at_most(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    publisher, worker = await make(2, poll_interval=0.5)
    task = asyncio.create_task(worker.receive("q", 1, PATIENCE))
    async with asyncio.timeout(PATIENCE):
        while not await sql.fetchval(f"SELECT count(*) FROM {schema}.waiters WHERE hears"):
            await asyncio.sleep(0.01)
    await sql.execute(
        f"INSERT INTO {schema}.waiters SELECT queue, 1, until + interval '1 hour', true FROM {schema}.waiters"
    )
    await publisher.publish("q", [message()])
    assert len(await asyncio.wait_for(task, PATIENCE)) == 1
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.waiters WHERE holder = 1") == 0, "it was woken in vain"


async def test_waiting_processes_check_in_turns(make: Make, sql: asyncpg.Connection, schema: str) -> None:
    """Of forty, one checks within each poll_interval, evenly spread."""
    await make(1)
    due = f"SELECT check_in FROM {schema}.check_queues(ARRAY['q'], $1, true, 1.0, '2030-01-01 00:00:00+00')"
    for _ in range(2):  # in the first round they do not know of each other yet
        turns = sorted([await sql.fetchval(due, holder) for holder in range(1, 41)])
    gaps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    assert all(gap == pytest.approx(1, abs=1e-3) for gap in gaps)
    assert 39 <= turns[-1] <= 41


async def test_what_a_transaction_publishes_wakes_one_when_it_commits(
    make: Make, calls: Counter[str], sql: asyncpg.Connection
) -> None:
    (publisher,) = await make(1)
    tasks = await waiting(await make(10))
    async with sql.transaction():
        await publisher.publish_within(sql, "q", [message()])
        calls.clear()
    assert [item.id for item in await got_messages(tasks, 1)] == ["m"]
    assert calls == {"receive": 1}


async def test_who_waits_only_after_a_transaction_has_published_is_woken_when_it_commits(
    make: Make, sql: asyncpg.Connection
) -> None:
    (publisher,) = await make(1)
    async with sql.transaction():
        await publisher.publish_within(sql, "q", [message()])
        tasks = await waiting(await make(2))
    assert [item.id for item in await got_messages(tasks, 1)] == ["m"]


async def test_questions_of_one_moment_are_one_statement(make: Make, calls: Counter[str]) -> None:
    (driver,) = await make(1)
    names = [f"q{number}" for number in range(20)]
    for name in names:
        await driver.declare(QueueSpec(name))
    await driver.publish("q7", [message()])
    await driver.publish("q8", [message(delay=NEVER)])
    calls.clear()
    found = dict(zip(names, await asyncio.gather(*map(driver.occupancy, names)), strict=True))
    assert calls == {"occupancies": 1}
    assert found.pop("q7") == Occupancy(ready=True, hidden=False)
    assert found.pop("q8") == Occupancy(ready=False, hidden=True)
    assert set(found.values()) == {Occupancy(ready=False, hidden=False)}


async def test_a_queue_that_is_gone_fails_its_own_question_alone(
    make: Make, sql: asyncpg.Connection, schema: str
) -> None:
    (driver,) = await make(1)
    await driver.declare(QueueSpec("temporary", temporary=True))
    await sql.execute(f"DELETE FROM {schema}.queues WHERE name = 'temporary'")
    found = await asyncio.gather(driver.occupancy("q"), driver.occupancy("temporary"), return_exceptions=True)
    assert found[0] == Occupancy(ready=False, hidden=False)
    assert isinstance(found[1], QueueNotFoundError)
