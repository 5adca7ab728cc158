"""Every driver with its real broker: publishing, draining, the cost of waiting, and how soon a waiting worker has it.

The worker of the last figures is a process of its own (``tasuki run``), as is the publisher that wakes it.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tasuki import App
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import BATCH, BODY, Spent, cpu_seconds, drain, fill, run
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of, overrides

_PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver}
  - {name: calls, kind: queue.queue, driver: driver}
  - {name: noop, kind: function.python, source: file://handle.py, method: noop}
  - {name: note, kind: function.python, source: file://handle.py, method: note}
  - {name: worker, kind: queue.consumer, queue: tasks, func: noop, concurrency: 100, prefetch: 1000}
  - {name: plain, kind: queue.consumer, queue: tasks, func: noop}
  - {name: waiter, kind: queue.consumer, queue: calls, func: note}
""",
    "handle.py": """\
import time


async def noop(body):
    pass


async def note(body):
    with open("notes", "a") as notes:
        notes.write(f"{time.monotonic() - body}\\n")
""",
}
_SINGLE = 500
_CALLERS = 100
_DRAINS = {"worker": ("drained, concurrency 100, prefetch 1000", 20_000), "plain": ("drained, plain consumer", 5_000)}
_IDLE_SECONDS = 3.0
_CALLS = 60


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _PROJECT.items():
            (Path(folder) / name).write_text(text)
        swap, broker = overrides(driver, "app:driver", Path(folder)), broker_of(driver)
        yield from run(_publish(App.load(folder, overrides=swap), broker))
        for consumer, (title, messages) in _DRAINS.items():
            app = App.load(folder, overrides=[*swap, f"app:{consumer}:lifecycle.auto_start=true"])
            yield from run(_drain(app, f"app:{consumer}", title, messages, broker))
        if driver != "memory":  # its queues live in one process
            yield from _waiting(folder, swap)


async def _publish(app: App, broker: Broker | None) -> list[Figure]:
    queue = app.queue("app:tasks")

    async def singly(messages: int) -> None:
        for _ in range(messages):
            await queue.publish(BODY)

    async def together(messages: int) -> None:
        await asyncio.gather(*(singly(messages // _CALLERS) for _ in range(_CALLERS)))

    ways: dict[str, tuple[int, Callable[[int], Awaitable[None]]]] = {
        "published one by one": (_SINGLE, singly),
        f"published by {_CALLERS} callers": (_SINGLE * 10, together),
        f"published in batches of {BATCH}": (20_000, lambda messages: fill(app, queue.id, messages)),
    }
    found: list[Figure] = []
    async with app:
        await singly(20)
        for name, (messages, way) in ways.items():
            began = Spent.now(broker)
            await way(messages)
            found += _rate(name, Spent.now(broker).since(began, messages))
        await queue.purge()
    return found


def _rate(name: str, spent: Spent) -> Iterator[Figure]:
    yield Figure(name, 1 / spent.wall, "/s")
    yield from spent.figures(name)


async def _drain(app: App, consumer: str, title: str, messages: int, broker: Broker | None) -> list[Figure]:
    async with app:
        await fill(app, "app:tasks", messages)
        return [*_rate(title, await drain(app, messages, broker, consumer))]


def _waiting(folder: str, swap: list[str]) -> Iterator[Figure]:
    """Of an idle worker process: its share of a core, and how long until it handles a message."""
    options = [part for each in (*swap, "app:waiter:lifecycle.auto_start=true") for part in ("-o", each)]
    command = [sys.executable, "-m", "tasuki", "run", folder, "--log-level", "error", *options]
    worker = subprocess.Popen(command, cwd=folder)
    try:
        run(_call(folder, swap, 3))  # it runs, and all is imported
        before = cpu_seconds(worker.pid)
        time.sleep(_IDLE_SECONDS)
        yield Figure("idle worker, of a core", (cpu_seconds(worker.pid) - before) / _IDLE_SECONDS * 100, "%")
        wakes = sorted(run(_call(folder, swap, _CALLS)))
    finally:
        worker.terminate()
        worker.wait(30)
    yield Figure("a waiting worker has it, p50", statistics.median(wakes) * 1e3, "ms")
    yield Figure("a waiting worker has it, p99", wakes[int(len(wakes) * 0.99)] * 1e3, "ms")


async def _call(folder: str, swap: list[str], calls: int) -> list[float]:
    """Publish one message at a time to the waiting worker; seconds from before each publish to its handling."""
    notes = Path(folder) / "notes"
    notes.unlink(missing_ok=True)
    async with App.load(folder, overrides=swap) as app:
        for number in range(calls):
            await app.queue("app:calls").publish(time.monotonic())
            while not notes.exists() or len(notes.read_text().splitlines()) <= number:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
    return [float(line) for line in notes.read_text().splitlines()]
