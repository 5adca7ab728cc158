"""Workers and brokers are killed in mid-work, on every driver with a broker: nothing confirmed is lost."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasuki import App
from tasuki.queues.messages.message_builder import Envelope
from tasuki.queues.result import Confirmed
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import DRIVERS, broker_of, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]

MESSAGES, WORKERS, PREFETCH = 1200, 2, 20

PROJECT = {
    "_index.yaml": f"""\
version: "1.0"
namespace: app
entries:
  - {{name: driver, kind: queue.driver.sqlite, lifecycle: {{auto_start: true}}}}
  - {{name: tasks, kind: queue.queue, driver: driver, lease: 3s, retry: {{initial_delay: 50ms}},
     dead_letter: {{queue: dead, max_attempts: 50}}}}
  - {{name: dead, kind: queue.queue, driver: driver}}
  - {{name: handle, kind: function.python, source: file://handle.py, method: handle}}
  - {{name: worker, kind: queue.consumer, queue: tasks, func: handle, concurrency: 4, prefetch: {PREFETCH},
     lifecycle: {{auto_start: true}}}}
""",
    "handle.py": """\
import os
import time

notes = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(body: int) -> None:
    # One write a line: what stands there has happened, whatever kills the process.
    os.write(notes, b"%d\\n" % body)
    time.sleep(0.002)
""",
}


class Site:
    """A project on one driver, its workers, and what they have handled."""

    def __init__(self, driver: str, folder: Path) -> None:
        self.folder = write(folder, PROJECT)
        self.overrides = [*overrides(driver, "app:driver", folder), *renamed("app:tasks", "app:dead")]

    def handled(self) -> Counter[int]:
        notes = self.folder / "notes"
        return Counter(map(int, notes.read_text().split())) if notes.exists() else Counter()

    def worker(self) -> subprocess.Popen[bytes]:
        options = [part for override in self.overrides for part in ("-o", override)]
        log = (self.folder / "worker.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "tasuki", "run", *options], cwd=self.folder, stdout=log, stderr=log
            )

    @contextmanager
    def workers(self) -> Iterator[list[subprocess.Popen[bytes]]]:
        running = [self.worker() for _ in range(WORKERS)]
        try:
            yield running
        finally:
            for process in running:
                process.kill()
                process.wait()

    async def until(self, count: int, deadline: float = 120.0) -> None:
        """Return when this many different messages were handled."""
        end = time.monotonic() + deadline
        while (done := len(self.handled())) < count:
            log = (self.folder / "worker.log").read_text(errors="replace")
            assert time.monotonic() < end, f"no progress: {done} of {count}\n{log[-3000:]}"
            await asyncio.sleep(0.05)

    async def publish(self, numbers: range) -> set[int]:
        """Publish them all, repeatedly with the same ids, until each is confirmed; returns the doubtful ones."""
        doubtful: set[int] = set()
        app = App.load(self.folder, overrides=self.overrides)
        await app.open()
        try:
            left = list(numbers)
            while left:
                batch, left = left[:50], left[50:]
                results = await app.queue("app:tasks").publish_many(
                    [Envelope(body=number, id=f"m{number}") for number in batch], publish_timeout=5.0
                )
                failed = [
                    number for number, result in zip(batch, results, strict=True) if not isinstance(result, Confirmed)
                ]
                doubtful |= set(failed)
                left += failed
                await asyncio.sleep(0.1 if failed else 0.02)
        finally:
            await app.close()
        return doubtful


@pytest.fixture(params=[driver for driver in DRIVERS if driver != "memory"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_workers_are_killed(driver: str, tmp_path: Path) -> None:
    """Five times SIGKILL, a SIGSTOP longer than the lease, a SIGTERM: all handled, few of them twice."""
    site = Site(driver, tmp_path)
    with site.workers() as running:
        publishing = asyncio.create_task(site.publish(range(MESSAGES)))
        for number in range(6):
            await site.until(min(len(site.handled()) + 80, MESSAGES))
            victim = running[number % WORKERS]
            if number == 3:
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(4.0)  # longer than the lease: this is the test
                victim.send_signal(signal.SIGCONT)
            else:
                victim.send_signal(signal.SIGTERM if number == 5 else signal.SIGKILL)
                await asyncio.to_thread(victim.wait)
                running[number % WORKERS] = site.worker()
        assert await publishing == set()
        await site.until(MESSAGES)
    handled = site.handled()
    assert set(handled) == set(range(MESSAGES))
    twice = sum(handled.values()) - MESSAGES
    assert twice <= 6 * (PREFETCH + 4), f"{twice} duplicates"


async def test_the_broker_is_killed(driver: str, tmp_path: Path) -> None:
    """Three times SIGKILL and a restart with the same data, under publishers and workers: all confirmed are handled."""
    broker = broker_of(driver)
    if broker is None:
        pytest.skip("it has no broker process")
    if driver == "sqs":
        pytest.skip("the emulator keeps its queues in memory")
    site = Site(driver, tmp_path)
    async with App.load(site.folder, overrides=site.overrides):  # declares the queues
        await asyncio.to_thread(broker.sync)
    with site.workers():
        publishing = asyncio.create_task(site.publish(range(MESSAGES)))
        for _ in range(3):
            await site.until(min(len(site.handled()) + 150, MESSAGES))
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(broker.start)
        doubtful = await publishing
        await site.until(MESSAGES)
    handled = site.handled()
    assert set(handled) == set(range(MESSAGES))
    # A message in doubt may be there twice; messages held when the broker died come again.
    twice = sum(handled.values()) - MESSAGES
    assert twice <= len(doubtful) + 3 * WORKERS * (PREFETCH + 4), f"{twice} duplicates, {len(doubtful)} in doubt"
