"""Stores: what a call takes, how soon another connection sees a change, what a watch costs while nothing happens.

``python -m tests.benchmarks stores [DRIVER…]``. Each on a private broker process on this machine, from one process.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import Store
from tests.benchmarks.queues import Spent, _spent
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of
from tests.support.settings import parsed

_FIELDS: dict[str, dict[str, str]] = {
    "memory": {},
    "sqlite": {"path": "{folder}/queue.db"},
    "postgres": {"url": "postgresql://postgres@127.0.0.1:{port}/postgres", "schema": "stores"},
    "redis": {"url": "redis://127.0.0.1:{port}"},
    "nats": {"servers": "nats://127.0.0.1:{port}"},
}
_SECONDS = 2.0
"""For each row."""
_ENTRIES = 100_000
_CHANGES = 100
_IDLE_SECONDS = 20.0
_VALUE = b"x" * 200


def report() -> None:
    """Print some lines a driver; one without a store, or whose broker is not installed, says so."""
    for name in [each for each in sys.argv[1:] if each in _FIELDS] or _FIELDS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                broker = broker_of(name)
                asyncio.run(_measure(name, Path(folder), broker))
            except SkipTest as reason:
                print(f"  {name:<9}{reason}")


def _driver(name: str, folder: Path, broker: Broker | None) -> Driver:
    kind = import_module(f"tasuki.drivers.{name}.settings").KIND
    fields = {
        field: text.format(folder=folder, port=broker.port if broker else 0) for field, text in _FIELDS[name].items()
    }
    module, _, made = kind.driver.partition(":")
    settings = parsed(kind.model, **fields)
    driver: Driver = getattr(import_module(module), made)(name, settings)
    if not driver.capabilities.has("store"):
        raise SkipTest("has no store")
    return driver


async def _measure(name: str, folder: Path, broker: Broker | None) -> None:
    driver = _driver(name, folder, broker)
    other = driver if name == "memory" else _driver(name, folder, broker)
    await driver.open()
    if other is not driver:
        await other.open()
    store, reader = driver.store("bench"), other.store("bench")
    await store.open()
    await reader.open()
    for verb, call in _calls(store).items():
        one, each_of_8 = await _rate(call, 1), await _rate(call, 8)
        print(f"  {name:<9}{verb:<18}{1e6 / one:>9,.0f} us{one:>9,.0f}/s; 8 callers {each_of_8:>9,.0f}/s", flush=True)
    seen = await _latency(store, reader)
    print(f"  {name:<9}watch{statistics.median(seen) * 1e3:>24.1f} ms; longest {max(seen) * 1e3:.1f} ms", flush=True)
    await _idle(name, reader, broker)
    await _fill(store)
    for verb, call in {
        "page of 100": lambda: store.list("page/", after=f"page/{_ENTRIES // 2:06}"),
        "page of 1000": lambda: store.list("page/", after=f"page/{_ENTRIES // 2:06}", limit=1000),
    }.items():
        print(f"  {name:<9}{verb:<18}{1e6 / await _rate(call, 1):>9,.0f} us, of {_ENTRIES:,} entries", flush=True)
    await _idle(name, reader, broker)
    await store.close()
    await reader.close()
    await driver.close()
    await other.close()


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

    async def run() -> None:
        nonlocal done
        while time.perf_counter() < ends_at:
            await call()
            done += 1

    await call()
    began = time.perf_counter()
    ends_at = began + _SECONDS
    await asyncio.gather(*(run() for _ in range(callers)))
    return done / (time.perf_counter() - began)


async def _latency(store: Store, reader: Store) -> list[float]:
    """Seconds from the call of a put until a watch of another connection has it."""
    seen: list[float] = []
    watch = reader.watch("news/")
    await anext(watch)
    for number in range(_CHANGES):
        await asyncio.sleep(number % 17 / 50)
        began = time.perf_counter()
        await store.put("news/key", b"%d" % number)
        await anext(watch)
        seen.append(time.perf_counter() - began)
    await watch.aclose()  # type: ignore[attr-defined]
    return seen


async def _idle(name: str, reader: Store, broker: Broker | None) -> None:
    found = []
    for watches in (0, 1, 5):
        open_watches = [reader.watch(f"idle/{number}/") for number in range(watches)]
        for watch in open_watches:
            await anext(watch)
        reading = [asyncio.ensure_future(anext(watch)) for watch in open_watches]
        await asyncio.sleep(1.0)
        before, began = _spent(broker), time.perf_counter()
        await asyncio.sleep(_IDLE_SECONDS)
        took = time.perf_counter() - began
        spent = Spent(*((last - first) / took for first, last in zip(before, _spent(broker), strict=True)))
        found.append(f"{watches}: {spent.here * 100:.2f} % here, {spent.there * 100:.2f} % there")
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for watch in open_watches:
            await watch.aclose()  # type: ignore[attr-defined]
    print(f"  {name:<9}idle watches: {'; '.join(found)}", flush=True)


async def _fill(store: Store) -> None:
    for start in range(0, _ENTRIES, 500):
        await asyncio.gather(*(store.put(f"page/{number:06}", _VALUE) for number in range(start, start + 500)))
