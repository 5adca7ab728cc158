"""Every driver with its real broker: publishing, draining, the cost of waiting, and how soon a waiting worker has it.

One table for all drivers, each on a private broker process on this machine. The worker of the last two columns is a
process of its own (``tasuki run``), as is the publisher that wakes it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import SkipTest

from tasuki import App
from tests.benchmarks.load import BODY
from tests.support.brokers.everywhere import DRIVERS, overrides

_PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver}
  - {name: noop, kind: function.python, source: file://handle.py, method: noop}
  - {name: worker, kind: queue.consumer, queue: tasks, func: noop, concurrency: 100, prefetch: 1000,
     lifecycle: {auto_start: true}}
  - {name: calls, kind: queue.queue, driver: driver}
  - {name: note, kind: function.python, source: file://handle.py, method: note}
  - {name: waiter, kind: queue.consumer, queue: calls, func: note, lifecycle: {auto_start: true}}
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
_BATCH = 500
_IDLE_SECONDS = 5.0
_CALLS = 100
_TICK = os.sysconf("SC_CLK_TCK")


def report(messages: int = 20_000, single: int = 500) -> None:
    """Print one line a driver; one whose broker is not installed says so."""
    print(
        f"  {'driver':<10}{'one by one/s':>13}{'in batches/s':>14}{'drained/s':>11}{'CPU us/msg':>12}"
        f"{'idle CPU':>10}{'wakes p50':>11}{'p99':>9}"
    )
    for driver in sys.argv[2:] or DRIVERS:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in _PROJECT.items():
                (Path(folder) / name).write_text(text)
            try:
                swap = overrides(driver, "app:driver", Path(folder))
            except SkipTest as reason:
                print(f"  {driver:<10}{reason}")
                continue
            ones, batches, drained, cpu = asyncio.run(_load(folder, swap, messages, single))
            line = f"  {driver:<10}{ones:>13,.0f}{batches:>14,.0f}{drained:>11,.0f}{cpu:>12.1f}"
            if driver != "memory":  # its queues live in one process
                idle, wakes = _waiting(folder, swap)
                line += f"{idle:>9.2f}%{wakes[0]:>8.1f} ms{wakes[1]:>6.1f} ms"
            print(line, flush=True)


async def _load(folder: str, swap: list[str], messages: int, single: int) -> tuple[float, float, float, float]:
    """Messages a second one by one, in batches and drained; CPU microseconds of this process a message in all."""
    app = App.load(folder, overrides=[*swap, "app:waiter:lifecycle.auto_start=false"])
    await app.open()
    queue = app.queue("app:tasks")
    began = time.perf_counter()
    for _ in range(single):
        await queue.publish(BODY)
    ones = single / (time.perf_counter() - began)
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(0, messages, _BATCH):
        results = await queue.publish_many([BODY] * _BATCH)
        assert all(type(result).__name__ == "Confirmed" for result in results), results[:3]
    batches = messages / (time.perf_counter() - began)
    began = time.perf_counter()
    await app.start()
    assert app._runtime.assembly is not None
    consumer = app._runtime.assembly.consumers["app:worker"]
    while consumer.metrics.acked < messages + single or consumer.now.held:
        await asyncio.sleep(0.002)
    drained = (messages + single) / (time.perf_counter() - began)
    cpu = (time.process_time() - cpu) / messages * 1e6
    await app.close()
    return ones, batches, drained, cpu


def _waiting(folder: str, swap: list[str]) -> tuple[float, tuple[float, float]]:
    """Per cent of a core of an idle worker process, and the p50 and p99 milliseconds until it handles a message."""
    options = [part for override in swap for part in ("-o", override)]
    worker = subprocess.Popen(
        [sys.executable, "-m", "tasuki", "run", folder, "--log-level", "error", *options], cwd=folder
    )
    try:
        asyncio.run(_call(folder, swap, 3))  # it runs, and all is imported
        before = _cpu_seconds(worker.pid)
        time.sleep(_IDLE_SECONDS)
        idle = (_cpu_seconds(worker.pid) - before) / _IDLE_SECONDS * 100
        wakes = asyncio.run(_call(folder, swap, _CALLS))
    finally:
        worker.terminate()
        worker.wait()
    ordered = sorted(wakes)
    return idle, (statistics.median(ordered) * 1e3, ordered[int(len(ordered) * 0.99)] * 1e3)


async def _call(folder: str, swap: list[str], calls: int) -> list[float]:
    """Publish one message at a time to the waiting worker; seconds from before each publish to its handling."""
    notes = Path(folder) / "notes"
    notes.unlink(missing_ok=True)
    app = App.load(folder, overrides=swap)
    async with app:
        for number in range(calls):
            await app.queue("app:calls").publish(time.monotonic())
            while not notes.exists() or len(notes.read_text().splitlines()) <= number:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
    return [float(line) for line in notes.read_text().splitlines()]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
