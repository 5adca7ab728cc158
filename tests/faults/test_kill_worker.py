"""A worker killed with SIGKILL in the middle of 1,000 messages, ten times: nothing lost, duplicates bounded."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tasuki import App

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]

MESSAGES, KILLS, PREFETCH, LEASE = 1000, 10, 20, 30.0

HANDLER = """
import json, os, time

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def handle(body: int) -> None:
    # One write a line, before going on: what stands here has happened, whatever kills the process.
    os.write(history, json.dumps([body, os.getpid(), time.monotonic()]).encode() + b"\\n")
    time.sleep(0.002)
"""

PROJECT = f"""
version: "1.0"
namespace: app
entries:
  - name: driver
    kind: queue.driver.sqlite
    path: queue.db
  - name: tasks
    kind: queue.queue
    driver: driver
    lease: {LEASE:g}s
    dead_letter: {{queue: dead, max_attempts: 20}}
  - name: dead
    kind: queue.queue
    driver: driver
  - name: handler
    kind: function.python
    source: file://handler.py
    method: handle
  - name: consumer
    kind: queue.consumer
    queue: tasks
    func: handler
    concurrency: 4
    prefetch: {PREFETCH}
    lifecycle: {{auto_start: true}}
"""


class Worker:
    """The real command line as a process, and the history that its handlers write."""

    def __init__(self, folder: Path) -> None:
        self.history = folder / "history.jsonl"
        self._log = (folder / "worker.log").open("ab")
        self._command = [sys.executable, "-m", "tasuki", "run", str(folder)]
        self._environment = {**os.environ, "HISTORY": str(self.history)}

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._command, *options], env=self._environment, stdout=self._log, stderr=self._log)

    def lines(self) -> list[tuple[int, int, float]]:
        return (
            [tuple(json.loads(line)) for line in self.history.read_text().splitlines()] if self.history.exists() else []
        )

    def wait_for(self, count: int, process: subprocess.Popen[bytes], deadline: float = 60.0) -> None:
        """Return when the history has that many lines."""
        end = time.monotonic() + deadline
        while len(self.lines()) < count:
            assert process.poll() is None, f"the worker ended with {process.returncode}"
            assert time.monotonic() < end, f"no progress: {len(self.lines())} of {count} after {deadline} s"
            time.sleep(0.005)

    def close(self) -> None:
        self._log.close()


async def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HANDLER)
    (tmp_path / "_index.yaml").write_text(PROJECT)
    app = App.load(tmp_path)
    async with app:
        results = await app.queue("tasks").publish_many(list(range(MESSAGES)))
        assert len(results) == MESSAGES

    worker, kills = Worker(tmp_path), []
    try:
        for _ in range(KILLS):
            process = worker.start()
            try:
                worker.wait_for(len(worker.lines()) + 60, process)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
            kills.append(time.monotonic())
        process = worker.start("--until-empty")
        try:
            assert await asyncio.to_thread(process.wait, 120) == 0
        finally:
            process.kill()
    finally:
        worker.close()

    lines = worker.lines()
    counts = Counter(body for body, _, _ in lines)
    assert sorted(counts) == list(range(MESSAGES)), "every message was handled"
    duplicates = sum(counts.values()) - MESSAGES
    assert duplicates <= KILLS * PREFETCH, "at most the window for each kill"
    again = [at for at, body in _second_times(lines)]
    for at in again:
        killed = max(kill for kill in kills if kill < at)
        assert at - killed < LEASE, "what a killed worker held is back within the lease"
    async with app:
        assert (await app.queue("tasks").info())["message_count"] == 0
        assert (await app.queue("dead").info())["message_count"] == 0
    print(f"{len(lines)} runs of {MESSAGES} messages, {duplicates} duplicates in {KILLS} kills")


def _second_times(lines: list[tuple[int, int, float]]) -> list[tuple[float, int]]:
    """When messages that had been started before were started again."""
    seen: set[int] = set()
    again = []
    for body, _, at in lines:
        if body in seen:
            again.append((at, body))
        seen.add(body)
    return again
