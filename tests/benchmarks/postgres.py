"""PostgreSQL: many workers on keys, one message for many idle workers, idle queues, and counting a large queue."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

import asyncpg

from tasuki import App
from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.postgres.connections import Link
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

_IDLE_SECONDS = 10.0
_KEYED_SECONDS = 5.0
_SPAWN = multiprocessing.get_context("spawn")


class Durable(Postgres):
    """Flushes each commit to the disk, as servers do."""

    settings = ("max_connections=300",)


def report(messages: int = 1_000_000) -> None:
    """Print a line for each."""
    try:
        broker = Postgres.shared()
    except SkipTest as reason:
        print(f"  {reason}")
        return
    url = _url(broker)
    print(f"  order per key, without fsync: {_keyed(url)}", flush=True)
    durable = Durable()
    durable.start()
    try:
        print(f"  order per key, as servers are: {_keyed(_url(durable))}", flush=True)
    finally:
        durable.end()
    print(f"  {asyncio.run(_wake(url, 40))}", flush=True)
    assert broker.process is not None
    print(f"  {asyncio.run(_idle(url, 200, broker.process.pid))}", flush=True)
    print(f"  {asyncio.run(_count(url, messages))}", flush=True)


def _url(broker: Postgres) -> str:
    return broker.url


def _driver(url: str, schema: str) -> PostgresDriver:
    return PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema))


def _keyed(url: str) -> str:
    """What 1, 4 and 16 processes handle a second of messages with keys."""
    rates = {workers: _by_key(url, workers) for workers in (1, 4, 16)}
    return ", ".join(f"{workers} workers {rate:,.0f}/s ({rate / rates[1]:.1f}x)" for workers, rate in rates.items())


def _by_key(url: str, workers: int, messages: int = 40_000, keys: int = 500) -> float:
    """Messages a second that so many processes receive, ten at a time, and ack, while there are more."""
    schema = f"keys_{workers}"

    async def fill() -> None:
        driver = _driver(url, schema)
        await driver.declare(QueueSpec("q", ordering="key"))
        await driver.open()
        for start in range(0, messages, 1000):
            numbers = range(start, start + 1000)
            await driver.publish("q", [Outgoing(f"{n}", b"body", {}, key=f"{n % keys}") for n in numbers])
        await driver.close()

    asyncio.run(fill())
    start = _SPAWN.Barrier(workers)
    handled = _SPAWN.SimpleQueue()
    processes = [_SPAWN.Process(target=_work, args=(url, schema, start, handled), daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    total: int = sum(handled.get() for _ in processes)
    for process in processes:
        process.join()
    return total / _KEYED_SECONDS


def _work(url: str, schema: str, start: Any, handled: Any) -> None:
    async def work() -> None:
        driver = _driver(url, schema)
        await driver.declare(QueueSpec("q", ordering="key"))
        await driver.open()
        for _ in range(5):  # its connection has plans then
            await _handle(driver)
        await asyncio.to_thread(start.wait)
        ends_at = time.perf_counter() + _KEYED_SECONDS
        count = 0
        while time.perf_counter() < ends_at:
            count += await _handle(driver)
        assert (await driver.occupancy("q")).ready, "there were not enough messages"
        handled.put(count)
        await driver.close()

    asyncio.run(work())


async def _handle(driver: PostgresDriver) -> int:
    got = await driver.receive("q", 10, 0.0)
    await driver.settle("q", [Ack(item.receipt) for item in got])
    return len(got)


async def _wake(url: str, workers: int, rounds: int = 20) -> str:
    """One message at a time for many idle workers."""
    drivers = [_driver(url, "wake") for _ in range(workers + 1)]
    for driver in drivers:
        await driver.declare(QueueSpec("q"))
        await driver.open()
    got: asyncio.Queue[float] = asyncio.Queue()

    async def consume(driver: PostgresDriver) -> None:
        while True:
            for item in await driver.receive("q", 10, 2.0):
                got.put_nowait(time.perf_counter())
                await driver.settle("q", [Ack(item.receipt)])

    statements = 0
    fetch = Link.fetch

    async def counting(self: Link, sql: str, *arguments: Any) -> list[Any]:
        nonlocal statements
        statements += 1
        return await fetch(self, sql, *arguments)

    Link.fetch = counting  # type: ignore[method-assign]
    tasks = [asyncio.create_task(consume(driver)) for driver in drivers[1:]]
    await asyncio.sleep(_IDLE_SECONDS)
    statements = 0
    await asyncio.sleep(2 * _IDLE_SECONDS)
    idle = statements / (2 * _IDLE_SECONDS)
    statements = 0
    took = []
    for number in range(rounds):
        await asyncio.sleep(0.2)
        began = time.perf_counter()
        await drivers[0].publish("q", [Outgoing(f"{number}", b"", {})])
        took.append((await got.get()) - began)
    each = statements / rounds
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(driver.close() for driver in drivers))
    Link.fetch = fetch  # type: ignore[method-assign]
    milliseconds = statistics.median(took) * 1e3
    return (
        f"{workers} idle workers: {idle:.1f} statements/s; a message costs {each:.1f} of them, "
        f"and arrives after {milliseconds:.1f} ms"
    )


async def _idle(url: str, queues: int, server: int) -> str:
    """What a process with many empty queues costs."""
    app = App(url)

    async def handle(body: int) -> None: ...

    for number in range(queues):
        app.queue(f"idle-{number}").consumer(name=f"c{number}")(handle)
    async with app:
        await app.start()
        await asyncio.sleep(3.0)
        theirs, ours = _cpu_seconds(server), time.process_time()  # in this order: the former costs the process time
        await asyncio.sleep(_IDLE_SECONDS)
        shares = (time.process_time() - ours, _cpu_seconds(server) - theirs)
    here, there = (share / _IDLE_SECONDS * 100 for share in shares)
    return f"{queues} idle queues in one process: {here:.1f} % of a core here, {there:.1f} % at the server"


def _cpu_seconds(pid: int) -> float:
    """Of a process and all its children, ended ones included."""
    total = 0.0
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if folder.name == str(pid):
            total += sum(map(int, fields[11:15]))
        elif folder.name.isdigit() and fields[1] == str(pid):
            total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


async def _count(url: str, messages: int) -> str:
    """Milliseconds of a depth and of an occupancy of a large queue."""
    driver = _driver(url, "depth")
    await driver.declare(QueueSpec("q"))
    await driver.open()
    admin = await asyncpg.connect(url)
    await admin.execute(
        "INSERT INTO depth.messages (queue, state, rank, published_at, id, body) "
        "SELECT 1, 0, 9, now(), n::text, repeat('x', 190)::bytea FROM generate_series(1, $1::integer) n",
        messages,
    )
    times: dict[str, list[float]] = {"depth": [], "occupancy": []}
    for _ in range(20):
        for name, ask in (("depth", driver.depth), ("occupancy", driver.occupancy)):
            began = time.perf_counter()
            await ask("q")
            times[name].append((time.perf_counter() - began) * 1e3)
    depth = await driver.depth("q")
    await admin.execute("TRUNCATE depth.messages")
    await admin.close()
    await driver.close()
    shown = ", ".join(f"{name} {statistics.median(each):.1f} ms" for name, each in times.items())
    about = "about " if depth.is_estimate else ""
    return f"{messages:,} messages: {shown}; counted {about}{depth.ready:,}"
