"""What the measurements share: a body, a loop, drivers on private brokers, and what this process and a broker spend."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest import SkipTest

from tasuki import App
from tasuki.contracts.driver import Driver
from tasuki.system.loop_thread import new_event_loop
from tests.benchmarks.figures import Figure
from tests.support.brokers.broker import Broker, tree
from tests.support.brokers.everywhere import broker_of, fields
from tests.support.settings import parsed

T = TypeVar("T")

BODY = {
    "id": "0190f3a2-7c1e",
    "action": "resize",
    "width": 1920,
    "height": 1080,
    "ratio": 1.777,
    "keep": True,
    "tags": ["holiday", "sea", "2026"],
    "source": "/var/data/incoming/photos/2026/11/DSC_001234.jpg",
}
"""Eight keys, about 190 bytes as JSON."""

BATCH = 500


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on the loop of a worker: uvloop's, if that is installed."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


class Spent(NamedTuple):
    """Seconds by the clock, and of processor time here and at the broker."""

    wall: float
    here: float
    there: float = 0.0

    @classmethod
    def now(cls, broker: Broker | None = None) -> Spent:
        """Spent so far. To read the broker's costs this process a while, so that comes first."""
        there = broker_seconds(broker) if broker is not None else 0.0
        return cls(time.perf_counter(), time.process_time(), there)

    def since(self, began: Spent, messages: float = 1) -> Spent:
        """Spent since then, a message."""
        return Spent(*((part - other) / messages for part, other in zip(self, began, strict=True)))

    def figures(self, name: str) -> Iterator[Figure]:
        """In microseconds of processor time."""
        yield Figure(f"{name}: CPU here", self.here * 1e6, "us")
        if self.there:
            yield Figure(f"{name}: CPU of the broker", self.there * 1e6, "us")


def broker_seconds(broker: Broker) -> float:
    """Processor time so far of a broker, its children and those that have ended, as each connection of PostgreSQL."""
    assert broker.process is not None
    total = 0.0
    for pid in tree(broker.process.pid):
        with suppress(OSError):  # it ends now
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
            total += sum(_ticks(pid)[2:]) / 100
    return total


def _ticks(pid: int) -> list[int]:
    """User and system time of a process, and of its ended children, in hundredths of a second."""
    return [int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]


def cpu_seconds(pid: int) -> float:
    """Of a process so far, with its ended threads."""
    return sum(_ticks(pid)[:2]) / 100


def rss_mib() -> float:
    """Resident memory now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def url(driver: str, folder: Path) -> str:
    """The address for an App."""
    broker = broker_of(driver)
    return broker.url if broker else "memory://" if driver == "memory" else f"sqlite:///{folder}/queue.db"


def make_parsed(name: str, known: dict[str, str]) -> Driver:
    """A driver without its framework, of the fields of its entry."""
    kind = import_module(f"tasuki.drivers.{name}.settings").KIND
    module, _, made = kind.driver.partition(":")
    driver: Driver = getattr(import_module(module), made)(name, parsed(kind.model, **known))
    return driver


def make_driver(name: str, folder: Path, *needs: str) -> Driver:
    """A driver on its private broker; skips if it lacks a capability."""
    driver = make_parsed(name, fields(name, folder))
    for need in needs:
        if not driver.capabilities.has(need):
            raise SkipTest(f"the driver lacks {need}")
    return driver


def with_driver(
    name: str, work: Callable[[Driver, Broker | None], Coroutine[Any, Any, list[Figure]]], *needs: str
) -> list[Figure]:
    """Run the work with an open driver."""

    async def opened(folder: Path) -> list[Figure]:
        driver = make_driver(name, folder, *needs)
        await driver.open()
        try:
            return await work(driver, broker_of(name))
        finally:
            await driver.close()

    with tempfile.TemporaryDirectory() as folder:
        return run(opened(Path(folder)))


async def drain(app: App, messages: int, broker: Broker | None = None, consumer: str = "") -> Spent:
    """Start an app whose messages wait already; what each took until its consumer has settled them all."""
    began = Spent.now(broker)
    await app.start()
    consumers = app._runtime.live().consumers
    found = consumers[consumer] if consumer else next(iter(consumers.values()))
    while found.metrics.acked + found.metrics.nacked < messages or found.now.held:
        await asyncio.sleep(0.002)
    return Spent.now(broker).since(began, messages)


async def fill(app: App, queue: str, messages: int) -> None:
    """Publish in batches."""
    for start in range(0, messages, BATCH):
        results = await app.queue(queue).publish_many([BODY] * min(BATCH, messages - start))
        assert all(type(result).__name__ == "Confirmed" for result in results), results[:3]
