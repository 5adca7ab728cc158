"""Cancelled messages under kill -9 of their workers: once ``cancel`` has returned, none of them starts."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.kinds.kind import all_capabilities
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]

MESSAGES, CANCELLED, KILLS, WORKERS = 400, 200, 6, 2
MANY = 20_000

HANDLER = """
import json, os, time
from tasuki import Message

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def handle(body: int, message: Message) -> None:
    # One write a line, before going on: what stands here has happened, whatever kills the process.
    os.write(history, json.dumps([message.id, time.monotonic()]).encode() + b"\\n")
    time.sleep(0.01)
"""

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: driver, lease: 3s, dead_letter: {queue: dead, max_attempts: 50}}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: handler, kind: function.python, source: "file://handler.py", method: handle}
  - {name: consumer, kind: queue.consumer, queue: tasks, func: handler, concurrency: 2, prefetch: 10,
     lifecycle: {auto_start: true}}
"""


class Start(NamedTuple):
    """Of a handler; ``at``: monotonic time, which all processes share; ``pid``: where the history says it."""

    id: str
    at: float
    pid: int = 0


class Workers:
    """The command line as processes, and the history that their handlers write."""

    def __init__(self, folder: Path, changes: list[str]) -> None:
        self.changes = changes
        self._history = folder / "history.jsonl"
        self._log = (folder / "worker.log").open("ab")
        options = [f"--override={change}" for change in changes]
        self._command = [sys.executable, "-m", "tasuki", "run", str(folder), *options]
        self._environment = {**os.environ, "HISTORY": str(self._history)}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self._command, *options], env=self._environment, stdout=self._log, stderr=self._log
        )
        self.running.append(process)
        return process

    def starts(self) -> list[Start]:
        if not self._history.exists():
            return []
        return [Start(*json.loads(line)) for line in self._history.read_text().splitlines()]

    async def wait_for_more(self, count: int) -> None:
        wanted = len(self.starts()) + count
        async with asyncio.timeout(60):
            while len(self.starts()) < wanted:
                await asyncio.sleep(0.02)

    def log(self) -> str:
        return (self._history.parent / "worker.log").read_text(errors="replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def close(self) -> None:
        for process in list(self.running):
            self.kill(process)
        self._log.close()


class Place(NamedTuple):
    app: App
    workers: Workers


@asynccontextmanager
async def place_on(driver: str, folder: Path) -> AsyncIterator[Place]:
    (folder / "handler.py").write_text(HANDLER)
    (folder / "_index.yaml").write_text(PROJECT)
    name = uuid4().hex[:8]
    changes = [*overrides(driver, "app:driver", folder), f"app:tasks:queue_name=tasks_{name}"]
    changes.append(f"app:dead:queue_name=dead_{name}")
    if driver == "nats":  # it removes no message by its id
        changes.append("app:tasks:cancel=strict")
    workers = Workers(folder, changes)
    app = App.load(folder, overrides=changes)
    try:
        async with app:
            yield Place(app, workers)
    finally:
        workers.close()


STORES = [name for name, has in all_capabilities().items() if has.has("store") and has.multi_process]


@pytest.fixture(params=[each for each in DRIVERS if each in STORES])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_cancelled_message_never_starts_again(driver: str, tmp_path: Path) -> None:
    dice = random.Random(7)
    async with place_on(driver, tmp_path) as (app, workers):
        ids = [f"message {number}" for number in range(MESSAGES)]
        for id in ids:
            await app.publish("app:tasks", 1, id=id, delay="8s" if dice.random() < 0.2 else 0)
        cancelled = dice.sample(ids, CANCELLED)
        returned: dict[str, tuple[str, float]] = {}
        left = iter(cancelled)

        async def cancel_some() -> None:
            for id in left:
                returned[id] = (await app.jobs.cancel(id, queue="app:tasks"), time.monotonic())

        for _ in range(WORKERS):
            workers.start()
        await workers.wait_for_more(10)
        cancelling = [asyncio.create_task(cancel_some()) for _ in range(6)]
        for _ in range(KILLS):
            await workers.wait_for_more(5)
            workers.kill(workers.running[0])
            workers.start()
        await asyncio.gather(*cancelling)
        for process in list(workers.running):
            workers.kill(process)
        last = workers.start("--until-empty")
        assert await asyncio.to_thread(last.wait, 120) == 0
        starts = workers.starts()
        late = [
            (start, returned[start.id]) for start in starts if start.id in returned and start.at > returned[start.id][1]
        ]
        assert late == []
        assert {start.id for start in starts} >= set(ids) - set(cancelled), "all others were handled"
        assert sum(outcome in ("waiting", "requested") for outcome, _ in returned.values()) > CANCELLED / 4


async def test_twenty_thousand_at_once(driver: str, tmp_path: Path) -> None:
    async with place_on(driver, tmp_path) as (app, workers):
        if driver == "nats":
            pytest.skip("a strict queue writes a record for each message: test_a_cancelled_message_never_starts_again")
        results = await app.queue("app:tasks").publish_many(list(range(MANY)), publish_timeout=60)
        ids = [result.id for result in results]
        for _ in range(WORKERS):
            workers.start()
        await workers.wait_for_more(10)
        workers.kill(workers.running[0])
        found = await app.jobs.cancel_many(ids, queue="app:tasks")
        at = time.monotonic()
        assert found.waiting + found.running + found.not_found == MANY
        assert found.waiting > MANY / 2
        last = workers.start("--until-empty")
        assert await asyncio.to_thread(last.wait, 120) == 0
        assert [start for start in workers.starts() if start.at > at] == []
