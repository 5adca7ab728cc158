"""Stores: what a call takes, how soon another connection sees a change, what a watch costs while nothing happens."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

from tasuki.contracts.state.store import Store
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import Spent, make_driver, run
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of

_SECONDS = 0.5
"""For each kind of call."""
_ENTRIES = 20_000
_CHANGES = 40
_IDLE_SECONDS = 5.0
_VALUE = b"x" * 200


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver that has a store."""
    with tempfile.TemporaryDirectory() as folder:
        yield from run(_opened(driver, Path(folder)))


async def _opened(name: str, folder: Path) -> list[Figure]:
    driver = make_driver(name, folder, "store")
    other = driver if name == "memory" else make_driver(name, folder, "store")
    await driver.open()
    if other is not driver:
        await other.open()
    store, reader = driver.store("bench"), other.store("bench")
    await store.open()
    await reader.open()
    found = await _measured(store, reader, broker_of(name))
    for each in (store, reader, driver, other):
        await each.close()
    return found


async def _measured(store: Store, reader: Store, broker: Broker | None) -> list[Figure]:
    found = []
    for verb, call in _calls(store).items():
        found.append(Figure(verb, 1e6 / await _rate(call, 1), "us by the clock"))
        found.append(Figure(f"{verb}, 8 callers", await _rate(call, 8), "/s"))
    seen = await _latency(store, reader)
    found.append(Figure("a watch has a change, median", statistics.median(seen) * 1e3, "ms"))
    found.append(Figure("a watch has a change, longest", max(seen) * 1e3, "ms"))
    for start in range(0, _ENTRIES, 500):
        await asyncio.gather(*(store.put(f"page/{number:06}", _VALUE) for number in range(start, start + 500)))
    page = await _rate(lambda: store.list("page/", after=f"page/{_ENTRIES // 2:06}", limit=1000), 1)
    return [
        *found,
        Figure(f"a page of 1,000 of {_ENTRIES:,}", 1e6 / page, "us by the clock"),
        *await _idle(reader, broker),
    ]


def _calls(store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    numbers = count()
    return {
        "put": lambda: store.put(f"put/{next(numbers) % 1000}", _VALUE),
        "put with a ttl": lambda: store.put(f"ttl/{next(numbers) % 1000}", _VALUE, ttl=15.0),
        "get": lambda: store.get(f"put/{next(numbers) % 1000}"),
        "take on one key": lambda: store.take("bucket", 1, rate=1e6, burst=10**6),
        "hold on one key": lambda: store.hold("place", f"{next(numbers) % 8}", places=8, lease=15.0),
        "hold on own key": lambda: store.hold(f"place/{next(numbers) % 100}", "me", places=1, lease=15.0),
    }


async def _rate(call: Callable[[], Awaitable[Any]], callers: int) -> float:
    """Calls a second."""
    done, ends_at = 0, 0.0

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < ends_at:
            await call()
            done += 1

    await call()
    began = time.perf_counter()
    ends_at = began + _SECONDS
    await asyncio.gather(*(work() for _ in range(callers)))
    return done / (time.perf_counter() - began)


async def _latency(store: Store, reader: Store) -> list[float]:
    """Seconds from the call of a put until a watch of another connection has it."""
    seen: list[float] = []
    async with aclosing(reader.watch("news/")) as watch:  # type: ignore[type-var]
        await anext(watch)
        for number in range(_CHANGES):
            await asyncio.sleep(number % 17 / 100)
            began = time.perf_counter()
            await store.put("news/key", b"%d" % number)
            await anext(watch)
            seen.append(time.perf_counter() - began)
    return seen


async def _idle(reader: Store, broker: Broker | None) -> list[Figure]:
    """Of five watches on which nothing happens."""
    watches = [reader.watch(f"idle/{number}/") for number in range(5)]
    for watch in watches:
        await anext(watch)
    reading = [asyncio.ensure_future(anext(watch)) for watch in watches]
    await asyncio.sleep(1.0)
    began = Spent.now(broker)
    await asyncio.sleep(_IDLE_SECONDS)
    spent = Spent.now(broker).since(began, _IDLE_SECONDS)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    for watch in watches:
        await watch.aclose()  # type: ignore[attr-defined]
    where = {"here": spent.here, "at the broker": spent.there}
    return [Figure(f"five idle watches, of a core {place}", share * 100, "%") for place, share in where.items()]
