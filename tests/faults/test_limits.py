"""Limits over processes that are killed: never more in a time, never more at once, and every message is handled."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.kinds.entries.queue import LEASE
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if os.environ.get("CAMPAIGN") else 600)]

ON = [driver for driver in DRIVERS if driver != "memory"]
STATELESS = ("amqp", "sqs")
KILLS = 40 if os.environ.get("CAMPAIGN") else 4
RATE, BURST, PLACES = 50.0, 5, 3
MESSAGES = 150
MESSAGES_OF_PLACES = 60 + 3 * KILLS
"""Three have ended before each kill."""

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: other, kind: queue.driver.sqlite, path: other.db}
  - {name: state, kind: store.sqlite, driver: other}
  - {name: work, kind: queue.queue, driver: driver, limit: LIMIT}
  - {name: handle, kind: function.python, source: file://work.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: work, func: handle, concurrency: 2, lifecycle: {auto_start: true}}
"""
WORK = """\
import asyncio
import json
import os
import time

from tasuki.state.shared import SharedState

open_store = SharedState.store
seen = set()


def note(**fields):
    line = json.dumps({"pid": os.getpid(), **fields}) + "\\n"
    with open("history.jsonl", "a") as file:
        file.write(line)


async def store(self):
    found = await open_store(self)
    if id(found) not in seen:
        seen.add(id(found))
        take, give = found.take, found.give

        async def taken(key, tokens, **limit):
            begun = await found.time()
            grant = await take(key, tokens, **limit)
            note(event="take", begun=begun, ended=await found.time(), tokens=grant.tokens)
            return grant

        async def given(key, tokens, **limit):
            begun = await found.time()
            await give(key, tokens, **limit)
            note(event="take", begun=begun, ended=await found.time(), tokens=-tokens)

        found.take, found.give = taken, given
    return found


SharedState.store = store


async def handle(number):
    note(event="enter", number=number, at=time.time())
    await asyncio.sleep(PAUSE)
    note(event="exit", number=number, at=time.time())
"""


class Workers:
    """Four processes; one that is killed is replaced."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._folder = folder
        self._command = [sys.executable, "-m", "tasuki", "run"]
        self._command += [part for option in options for part in ("-o", option)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.killed: dict[int, float] = {}
        """Process → the time before it was killed."""

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            self._processes = [self._start() for _ in range(4)]
            yield
        finally:
            for process in self._processes:
                process.terminate()
            for process in self._processes:
                process.wait(30)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "worker.log").open("ab") as log:
            return subprocess.Popen(self._command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, pid: int) -> None:
        number = next(number for number, process in enumerate(self._processes) if process.pid == pid)
        self.killed[pid] = time.time()
        self._processes[number].kill()
        self._processes[number].wait()
        self._processes[number] = self._start()


class Site:
    """A project on one driver, and the history that its workers write."""

    def __init__(self, driver: str, folder: Path, limit: str, pause: float) -> None:
        project = {"_index.yaml": PROJECT.replace("LIMIT", limit), "work.py": WORK.replace("PAUSE", str(pause))}
        self.options = [*overrides(driver, "app:driver", folder), *renamed("app:work")]
        if driver in STATELESS:
            self.options.append("app:driver:state=state")
        self.folder = write(folder, project)
        self.app = App.load(self.folder, overrides=self.options)
        self.workers = Workers(self.folder, self.options)

    def history(self, event: str = "") -> list[dict[str, Any]]:
        file = self.folder / "history.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        found: list[dict[str, Any]] = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:  # its writer was killed within it
                continue
        return [each for each in found if event in ("", each["event"])]

    async def until_done(self, messages: int) -> None:
        while {each["number"] for each in self.history("exit")} != set(range(messages)):
            await asyncio.sleep(0.1)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")[-3000:]


@pytest.mark.parametrize("driver", ON)
async def test_no_more_start_in_a_time_than_the_rate_allows(driver: str, tmp_path: Path) -> None:
    site = Site(driver, tmp_path, f"{{rate: {RATE}/s, burst: {BURST}}}", 0.0)
    async with site.app:
        await site.app.queue("work").publish_many(list(range(MESSAGES)))
        begun = time.time()
        with site.workers.running():
            await site.until_done(MESSAGES)
            took = time.time() - begun
    starts, takes = site.history("enter"), sorted(site.history("take"), key=lambda each: each["ended"])
    assert BURST + RATE * took >= MESSAGES
    if not takes:
        return  # the driver keeps the limit; its conformance suite has the windows
    assert len(starts) <= sum(each["tokens"] for each in takes), site.log()
    for first, start in enumerate(takes):
        granted = 0
        for each in takes[first:]:
            granted += each["tokens"]
            assert granted <= BURST + RATE * (each["ended"] - start["begun"]) + 1e-3, site.log()


@pytest.mark.parametrize("driver", ON)
async def test_no_more_run_at_once_than_there_are_places_while_workers_are_killed(driver: str, tmp_path: Path) -> None:
    site = Site(driver, tmp_path, f"{{concurrency: {PLACES}}}", 0.2)
    async with site.app:
        await site.app.queue("work").publish_many(list(range(MESSAGES_OF_PLACES)))
        with site.workers.running():
            for kills in range(KILLS):
                while (pid := _busy(site)) is None or len(site.history("exit")) < 3 * kills:
                    await asyncio.sleep(0.02)
                site.workers.kill(pid)
            await site.until_done(MESSAGES_OF_PLACES)
    assert _most_at_once(site) <= PLACES, site.log()
    assert len(site.workers.killed) == KILLS


def _spans(site: Site) -> list[tuple[float, float, int]]:
    """When each handler ran, at least; and in which process. One that runs still ends at infinity."""
    events = sorted(site.history(), key=lambda each: each.get("at", 0.0))
    entered: dict[tuple[int, int], float] = {}
    spans = []
    for each in events:
        if each["event"] == "enter":
            entered[each["pid"], each["number"]] = each["at"]
        elif each["event"] == "exit":
            spans.append((entered.pop((each["pid"], each["number"])), each["at"], each["pid"]))
    spans += [(at, site.workers.killed.get(pid, float("inf")), pid) for (pid, _), at in entered.items()]
    return spans


def _busy(site: Site) -> int | None:
    """A process that handles a message now."""
    return next((pid for _, end, pid in _spans(site) if end == float("inf")), None)


def _most_at_once(site: Site) -> int:
    steps = sorted([(at, 1) for at, _, _ in _spans(site)] + [(end, -1) for _, end, _ in _spans(site)])
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


@pytest.mark.parametrize("driver", ON)
async def test_the_places_of_a_killed_worker_are_free_in_time(driver: str, tmp_path: Path) -> None:
    site = Site(driver, tmp_path, "{concurrency: 1}", 0.3)
    async with site.app:
        await site.app.queue("work").publish_many(list(range(3)))
        with site.workers.running():
            while (pid := _busy(site)) is None:
                await asyncio.sleep(0.02)
            site.workers.kill(pid)
            await site.until_done(3)
    killed = next(iter(site.workers.killed.values()))
    later = [start for start, _, _ in _spans(site) if start > killed]
    assert min(later) - killed < LEASE + 3.0, site.log()  # an idle machine needs no more than LEASE
