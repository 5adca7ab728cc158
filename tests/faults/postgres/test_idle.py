"""What many idle processes cost: statements in all, by the clock of the server."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.contracts.state.store import CURRENT
from tasuki.drivers.postgres.connections import Link
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.state import upkeep
from tasuki.drivers.postgres.waiting import BEAT
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

WORKERS = 40
SECONDS = 12.0
MOST = 5.0
"""Statements a second of all workers together."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many statements were sent, by the function that they call."""
    counted: Counter[str] = Counter()
    fetch = Link.fetch

    async def counting(self: Link, sql: str, *arguments: Any) -> list[Any]:
        called = re.search(r"\.(\w+)\(", sql)
        counted[called.group(1) if called else sql] += 1
        return await fetch(self, sql, *arguments)

    monkeypatch.setattr(Link, "fetch", counting)
    return counted


@pytest.fixture
async def workers(url: str, schema: str) -> AsyncIterator[list[PostgresDriver]]:
    """Each waits at an empty queue and watches a store, as a worker does for pauses and scales."""
    drivers: list[PostgresDriver] = []
    tasks: list[asyncio.Task[None]] = []

    async def wait(driver: PostgresDriver) -> None:
        while not await driver.receive("q", 1, 3600.0):
            pass

    async def watch(driver: PostgresDriver) -> None:
        store = driver.store("state")
        await store.open()
        async for change in store.watch("control/"):
            if change is not CURRENT:
                seen.add(driver)

    seen: set[PostgresDriver] = set()
    for _ in range(WORKERS):
        driver = PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema))
        await driver.declare(QueueSpec("q"))
        await driver.open()
        drivers.append(driver)
        tasks += [asyncio.create_task(wait(driver)), asyncio.create_task(watch(driver))]
    yield drivers
    (publisher, *_) = drivers
    store = publisher.store("state")
    await store.open()
    await store.put("control/pause", b"")
    async with asyncio.timeout(60):
        while len(seen) < WORKERS:  # all are notified, although none asks by itself for a minute
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(driver.close() for driver in drivers))


async def test_forty_idle_workers_ask_a_few_times_a_second_in_all(
    workers: list[PostgresDriver], calls: Counter[str]
) -> None:
    first = workers[0]
    began = await first.time()
    assert began is not None
    now = began
    while now - began < upkeep.FRESH + 3:  # the server knows of all
        await asyncio.sleep(0.2)
        now = await first.time() or began
    calls.clear()
    began = now
    while now - began < SECONDS:
        await asyncio.sleep(0.5)
        now = await first.time() or began
    elapsed = now - began
    asked = Counter({name: count for name, count in calls.items() if "clock_timestamp" not in name})
    beats = asked.pop("beat", 0)
    assert beats <= WORKERS * (1 + elapsed / BEAT)  # of workers that began together: at once
    assert asked["store_watch"] + asked["store_follow"] <= WORKERS * elapsed / upkeep.FOLLOWED * 1.5
    assert sum(asked.values()) / elapsed + WORKERS / BEAT <= MOST, asked
