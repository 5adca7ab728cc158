"""A system of real worker processes on one broker, and the ledger that its handlers write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasuki import App, Confirmed, Envelope
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides
from tests.support.ports import free_port
from tests.support.process import Process

DRIVERS = ("sqlite", "postgres", "redis", "amqp", "nats")
CONSUMED = ("app:work", "app:held")
QUEUES = (*CONSUMED, "app:orphan", "app:dead")
PLACES, PREFETCH = 3, 5
"""Messages of ``app:held`` that a worker handles at a time, and holds."""

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: local, kind: queue.driver.sqlite, path: state.db}
  - {name: state, kind: store.sqlite, driver: local}
  - name: work
    kind: queue.queue
    driver: driver
    dead_letter: {queue: dead, max_attempts: 2}
    retry: {initial_delay: 1h, max_delay: 1h, never: [ValueError, KeyError]}
    result: 1h
  - {name: held, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 2}, result: 1h}
  - {name: orphan, kind: queue.queue, driver: driver, result: 1h}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handlers.py, method: handle}
  - {name: hold, kind: function.python, source: file://handlers.py, method: hold}
  - {name: workers, kind: queue.consumer, queue: work, func: handle, concurrency: 8, prefetch: 50,
     lifecycle: {auto_start: true}}
  - {name: holders, kind: queue.consumer, queue: held, func: hold, concurrency: 3, prefetch: 5,
     lifecycle: {auto_start: true}}
"""

HANDLERS = """\
import asyncio
import os
import time

notes = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what, body):
    os.write(notes, f"{what} {os.getpid()} {body['n']}\\n".encode())


async def handle(body):
    note("begin", body)
    match body.get("do"):
        case "die":
            note("dead", body)
            if body["n"] % 3:
                raise KeyError("street")
            raise ValueError(f"order {body['n']} has no address")
        case "retry":
            note("retry", body)
            raise TimeoutError("the shop did not answer")
        case "block":
            while not os.path.exists("unblocked"):
                time.sleep(0.05)
    note("end", body)


async def hold(body):
    note("begin", body)
    while not os.path.exists("open"):
        await asyncio.sleep(0.05)
    note("end", body)
"""


class World:
    """One project in a folder.

    Args:
        folder: of the project, its ledger and its worker's files.
        driver: short name of the broker's driver; those that keep no state get it from a SQLite file.
    """

    def __init__(self, folder: Path, driver: str, project: str, handlers: str, queues: Sequence[str]) -> None:
        self.folder = folder
        self.driver = driver
        self.options = overrides(driver, "app:driver", folder)
        if driver == "amqp":
            self.options.append("app:driver:state=state")
        renaming = renamed(*queues)
        self.options += renaming
        self.names = {each.partition(":queue_name=")[0]: each.partition("=")[2] for each in renaming}
        """Of each queue, at the broker."""
        write(folder, {"_index.yaml": project, "handlers.py": handlers})
        self.port = 0
        self.workers: list[Process] = []

    @property
    def arguments(self) -> list[str]:
        """``-o`` options of a command."""
        return [part for option in self.options for part in ("-o", option)]

    def app(self) -> App:
        return App.load(self.folder, overrides=self.options)

    def start(self, *, desk: bool = False) -> Process:
        """A worker process; the first one serves the desk."""
        words = ["run", "--log-level", "warning"]
        if desk:
            self.port = free_port()
            words += ["--admin", f"127.0.0.1:{self.port}", "--admin-open"]
        worker = Process([*words, *self.arguments], self.folder)
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()

    def ledger(self) -> Counter[str]:
        """How often the handlers have noted what."""
        path = self.folder / "notes"
        return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()

    async def publish(self, app: App, queue: str, bodies: list[dict[str, Any]], delay: float = 0) -> list[str]:
        """All are confirmed; their ids."""
        results = await app.queue(queue).publish_many([Envelope(body=body, delay=delay) for body in bodies])
        assert all(isinstance(each, Confirmed) for each in results), results
        return [each.id for each in results]


@contextmanager
def world(
    folder: Path, driver: str, project: str = PROJECT, handlers: str = HANDLERS, queues: Sequence[str] = QUEUES
) -> Iterator[World]:
    """Its workers are killed in the end."""
    made = World(folder, driver, project, handlers, queues)
    try:
        yield made
    finally:
        made.end()
