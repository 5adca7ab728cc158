"""Workers are killed or frozen while they fire schedules: every tick is published, once where the driver can tell."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Ack
from tasuki.schedules.firing import LEASE
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.faults.freezing import IS_CAMPAIGN, faults_on, frozen
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1200)]

TICKS = 200 if IS_CAMPAIGN else 12
"""One worker is killed after each."""
WORKERS = 3
FREEZES = WORKERS * (20 if IS_CAMPAIGN else 1)
"""Each worker in its turn, so that the one that fires is among them."""
FROZEN = 2 * int(LEASE)
"""Ticks for which a worker is frozen: by then another one has its place."""
STATELESS = ("amqp", "sqs")
"""Their schedules keep their state in another driver's store, and a kill may repeat a tick."""

PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: other, kind: queue.driver.sqlite, path: other.db}
  - {name: state, kind: store.sqlite, driver: other}
  - {name: ticks, kind: queue.queue, driver: driver}
  - {name: work, kind: queue.queue, driver: driver}
  - {name: beat, kind: queue.schedule, queue: ticks, every: 1s, catch_up: all}
  - {name: hour, kind: queue.schedule, queue: work, cron: "@hourly"}
  - {name: handle, kind: function.lua, source: "return function() end"}
  - {name: worker, kind: queue.consumer, queue: work, func: handle, lifecycle: {auto_start: true}}
""",
}


class Workers:
    """Three of them; one that is killed is replaced."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._folder = folder
        self._command = [sys.executable, "-m", "tasuki", "run"]
        self._command += [part for option in options for part in ("-o", option)]
        self._processes: list[subprocess.Popen[bytes]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            self._processes = [self._start() for _ in range(WORKERS)]
            yield
        finally:
            for process in self._processes:
                process.kill()
                process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "worker.log").open("ab") as log:
            return subprocess.Popen(self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill_one(self) -> None:
        number = random.randrange(WORKERS)
        self._processes[number].kill()
        self._processes[number].wait()
        self._processes[number] = self._start()

    def freeze(self, number: int, file: Path | None) -> AbstractContextManager[None]:
        return frozen(self._processes[number].pid, file)

    def log(self) -> str:
        return (self._folder / "worker.log").read_text(errors="replace")[-5000:]


class Ticks:
    """The ticks whose messages have arrived, in UTC seconds."""

    def __init__(self, arriving: AsyncIterator[int], workers: Workers) -> None:
        self._arriving, self._workers = arriving, workers
        self.seen: Counter[int] = Counter()

    async def wait_for(self, count: int) -> None:
        """Wait until this many have arrived."""
        while len(self.seen) < count:
            try:
                async with asyncio.timeout(120):
                    self.seen[await anext(self._arriving)] += 1
            except TimeoutError:
                pytest.fail(f"no tick for two minutes\n{self._workers.log()}")


@pytest.mark.parametrize(("driver", "fault"), faults_on([driver for driver in DRIVERS if driver != "memory"]))
async def test_every_tick_is_published_while_workers_are_killed_or_frozen(
    driver: str, fault: str, tmp_path: Path
) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:ticks", "app:work")]
    if driver in STATELESS:
        options.append("app:driver:state=state")
    if driver == "nats":
        options.append("app:ticks:dedup_window=10m")  # a busy machine may need a minute until the next worker fires
    files = {"sqlite": tmp_path / "queue.db"} | dict.fromkeys(STATELESS, tmp_path / "other.db")
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    workers = Workers(tmp_path, options)
    async with app, workers.running():
        ticks = Ticks(_ticks(app, "app:ticks"), workers)
        await ticks.wait_for(1)
        for number in range(TICKS if fault == "killed" else FREEZES):
            if fault == "killed":
                workers.kill_one()
                await ticks.wait_for(len(ticks.seen) + 1)
                continue
            with workers.freeze(number % WORKERS, files.get(driver)):
                await ticks.wait_for(len(ticks.seen) + FROZEN)
            await ticks.wait_for(len(ticks.seen) + 2)
    published = ticks.seen
    first, last = min(published), max(published)
    assert sorted(published) == list(range(first, last + 1)), f"ticks are missing\n{workers.log()}"
    repeated = sum(published.values()) - len(published)
    assert repeated <= (TICKS if driver in STATELESS else 0), f"ticks were published twice\n{workers.log()}"


async def _ticks(app: App, queue: str) -> AsyncIterator[int]:
    """The ticks whose messages arrive, in UTC seconds."""
    target = app._runtime.queue(queue)
    while True:
        for received in await target.driver.receive(target.spec.name, 10, 1.0):
            await target.driver.settle(target.spec.name, [Ack(received.receipt)])
            if received.attempt == 1:  # else it is a second delivery, not a second publish
                yield int(received.id.rpartition(":")[2])
