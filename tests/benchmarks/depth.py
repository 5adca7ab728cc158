"""Whether SQLite stays flat: the cost of depth, publish and receive with few, and with very many messages waiting."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.message import new_id
from tests.benchmarks.load import rss_mib
from tests.support.settings import parsed

_BODY = b'{"id":"0190f3a2-7c1e","action":"resize","width":1920,"height":1080,"tags":["holiday","sea"]}'


async def _publish(driver: SQLiteDriver, count: int, delay: float = 0.0) -> None:
    for start in range(0, count, 1000):
        await driver.publish(
            "load", [Outgoing(new_id(), _BODY, {}, delay=delay) for _ in range(min(1000, count - start))]
        )


async def _costs(driver: SQLiteDriver, rounds: int = 30) -> tuple[float, float, float]:
    """Median milliseconds of a depth, a publish of 200, and a receive of 200 with its acks."""
    depth, publish, receive = [], [], []
    for _ in range(rounds):
        t0 = time.perf_counter()
        await driver.depth("load")
        t1 = time.perf_counter()
        await _publish(driver, 200)
        t2 = time.perf_counter()
        batch = await driver.receive("load", 200, 1.0)
        await driver.settle("load", [Ack(received.receipt) for received in batch])
        t3 = time.perf_counter()
        depth.append(t1 - t0)
        publish.append(t2 - t1)
        receive.append(t3 - t2)
    return tuple(sorted(times)[rounds // 2] * 1000 for times in (depth, publish, receive))  # type: ignore[return-value]


async def _cost(driver: SQLiteDriver, tool: Awaitable[object]) -> tuple[float, float]:
    """Milliseconds of a tool's longest transaction, in which other processes cannot write, and of the tool itself."""
    times: list[float] = []
    begun = 0.0

    def statement(sql: str) -> None:
        nonlocal begun
        if sql.startswith("BEGIN"):
            begun = time.perf_counter()
        elif sql == "COMMIT":
            times.append(time.perf_counter() - begun)

    connection = driver._guard.get()._database.connection
    connection.set_trace_callback(statement)  # type: ignore[union-attr]
    started = time.perf_counter()
    await tool
    took = time.perf_counter() - started
    connection.set_trace_callback(None)  # type: ignore[union-attr]
    return max(times) * 1000, took * 1000


async def _measure(ready: int, delayed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        driver = SQLiteDriver("bench", parsed(SQLiteSettings, path=Path(folder) / "queue.db"))
        await driver.declare(QueueSpec("load"))
        await driver.open()
        for waiting in (1_000, ready):
            held = await driver.depth("load")
            await _publish(driver, waiting - held.ready)
            if waiting == ready:
                await _publish(driver, delayed, delay=3600.0)
            count = await driver.depth("load")
            costs = await _costs(driver)
            print(
                f"  {count.ready:>9,} ready {count.delayed:>7,} delayed   depth {costs[0]:6.2f} ms   "
                f"publish 200 {costs[1]:6.2f} ms   receive+ack 200 {costs[2]:6.2f} ms   RSS {rss_mib():5.0f} MiB"
            )
        await driver.declare(QueueSpec("empty"))
        tools = {
            "delete an empty queue": driver.delete("empty"),
            "depth": driver.depth("load"),
            "peek": driver.peek("load", 10),
            "purge": driver.purge("load"),
        }
        print("  tools beside them, longest transaction and in all:")
        for name, tool in tools.items():
            longest, took = await _cost(driver, tool)
            print(f"  {name:>23} {longest:8.1f} ms {took:10.1f} ms")
        await driver.close()


def report(ready: int = 1_000_000, delayed: int = 100_000) -> None:
    """Print one line a depth."""
    asyncio.run(_measure(ready, delayed))
