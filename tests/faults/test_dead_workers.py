"""The tasks of a killed worker are back long before its lease ends; a suspended worker keeps its tasks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.contracts.driver import SILENCE
from tests.faults.freezing import frozen
from tests.support.brokers.everywhere import overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(180)]

TASKS = 20
BACK = 15.0
"""Seconds after the death of a worker within which the last of its tasks has been handled, by the broker's clock."""
LEASE = 60.0
DRIVERS = ("sqlite", "redis", "postgres", "nats")

# A worker with the name "stuck" keeps its tasks until there is the file "go".
HANDLER = """
import json, os, time

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def handle(body: int) -> None:
    os.write(history, json.dumps([body, os.environ["NAME"]]).encode() + b"\\n")
    while os.environ["NAME"] == "stuck" and not os.path.exists(os.environ["GO"]):
        time.sleep(0.02)
"""

PROJECT = f"""
version: "1.0"
namespace: app
entries:
  - {{name: driver, kind: queue.driver.sqlite}}
  - name: tasks
    kind: queue.queue
    driver: driver
    lease: {LEASE:g}s
    dead_letter: {{queue: dead, max_attempts: 20}}
  - {{name: dead, kind: queue.queue, driver: driver}}
  - {{name: handler, kind: function.python, source: file://handler.py, method: handle}}
  - name: consumer
    kind: queue.consumer
    queue: tasks
    func: handler
    concurrency: 4
    prefetch: {TASKS}
    lifecycle: {{auto_start: true}}
"""


class Run(NamedTuple):
    """A handler that began."""

    task: int
    worker: str


class Site:
    """A project on a driver, and its workers."""

    def __init__(self, app: App, folder: Path, changes: list[str]) -> None:
        self.app = app
        self._folder = folder
        self._command = [
            sys.executable,
            "-m",
            "tasuki",
            "run",
            str(folder),
            *(f"--override={each}" for each in changes),
        ]
        self._log = (folder / "worker.log").open("ab")
        self._history = folder / "history.jsonl"
        self._go = folder / "go"
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "HISTORY": str(self._history), "GO": str(self._go), "NAME": name}
        process = subprocess.Popen(self._command, env=environment, stdout=self._log, stderr=self._log)
        self._running.append(process)
        return process

    def go(self) -> None:
        self._go.touch()

    def runs(self) -> list[Run]:
        if not self._history.exists():
            return []
        return [Run(*json.loads(line)) for line in self._history.read_text().splitlines()]

    async def until_runs(self, number: int) -> list[Run]:
        async with asyncio.timeout(90):
            while len(runs := self.runs()) < number:
                await asyncio.sleep(0.02)
        return runs

    async def until_empty(self) -> None:
        async with asyncio.timeout(60):
            while (await self.app.queue("tasks").info())["message_count"]:
                await asyncio.sleep(0.1)

    async def until_workers(self, number: int) -> None:
        """Until this number of consumers is present."""
        async with asyncio.timeout(60):
            while (await self.app.queue("tasks").info())["consumer_count"] < number:
                await asyncio.sleep(0.1)

    async def now(self) -> float:
        """The broker's clock; this machine's, which the broker is on, where it tells none."""
        assert self.app._runtime.assembly is not None
        told = await self.app._runtime.assembly.drivers["app:driver"].time()
        return time.time() if told is None else told

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        self._log.close()


@asynccontextmanager
async def site_on(driver: str, folder: Path) -> AsyncIterator[Site]:
    (folder / "handler.py").write_text(HANDLER)
    (folder / "_index.yaml").write_text(PROJECT)
    name = uuid4().hex[:8]
    changes = [
        *overrides(driver, "app:driver", folder),
        f"app:tasks:queue_name=tasks_{name}",
        f"app:dead:queue_name=dead_{name}",
    ]
    async with App.load(folder, overrides=changes) as app:
        site = Site(app, folder, changes)
        try:
            yield site
        finally:
            site.close()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_the_tasks_of_a_killed_worker_are_handled_within_15_seconds(driver: str, tmp_path: Path) -> None:
    async with site_on(driver, tmp_path) as site:
        dying = site.start("stuck")
        await site.app.queue("tasks").publish_many(list(range(TASKS)))
        held = {run.task for run in await site.until_runs(4)}
        site.start("other")
        await site.until_workers(2)
        dying.kill()
        dying.wait()
        killed_at = await site.now()
        runs = await site.until_runs(4 + TASKS)
        took = await site.now() - killed_at
        await site.until_empty()
        assert {run.task for run in runs if run.worker == "stuck"} == held
        assert Counter(run.task for run in runs if run.worker == "other") == Counter(range(TASKS))
        print(f"{driver}: the last of {TASKS} tasks began {took:.1f} s after the kill")
        assert took < BACK


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_suspended_worker_keeps_its_tasks(driver: str, tmp_path: Path) -> None:
    async with site_on(driver, tmp_path) as site:
        worker = site.start("stuck")
        await site.app.queue("tasks").publish_many([0, 1, 2])
        await site.until_runs(3)
        with frozen(worker.pid):
            await site.app.queue("tasks").publish(3)  # its request may still stand at the broker
            frozen_at = await site.now()
            site.start("other")
            while await site.now() < frozen_at + 2 * SILENCE:
                assert not [run for run in site.runs() if run.worker == "other" and run.task < 3]
                await asyncio.sleep(0.2)
        await site.until_runs(4)
        site.go()
        await site.until_empty()
        assert Counter(run.task for run in site.runs()) == Counter(range(4)), site.runs()
