"""A bad day: thousands of messages fail with three causes; they are found, one is fixed, and all others are sent back.

The process that sends them back is killed in the middle, while consumers run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.queues.messages.message_builder import Envelope
from tasuki.queues.result import Confirmed
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides
from tests.support.process import Process, run, wait_until

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
"""The long form: ``make kills``."""

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1200 if IS_CAMPAIGN else 300)]

LETTERS = 9999 if IS_CAMPAIGN else 900
RATE = 500
ATOMIC = ("sqlite", "postgres", "redis")
AT_ONCE = 200
"""Letters of one step of a redrive that receives, publishes and acks: a kill may double them."""
SLOW = 240.0 if not IS_CAMPAIGN else 900.0

PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver, lease: 60s, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: dead, kind: queue.queue, driver: driver, lease: 5s}
  - {name: handle, kind: function.python, source: file://handle.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, concurrency: 8, prefetch: 100,
     lifecycle: {auto_start: true}}
""",
    "handle.py": """\
import os

done = os.open("done", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(body: dict) -> None:
    number = body["number"]
    if os.path.exists("broken"):
        if number % 3 == 0:
            raise LookupError(f"order {number} has no copies")
        if number % 3 == 1:
            raise TimeoutError(f"the shop at 10.0.0.{number % 250} did not answer")
        print(body["copies"] / 0)
    if "copies" not in body:
        raise KeyError("copies")
    os.write(done, b"%d\\n" % number)
""",
}


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "redis", "amqp", "nats"])
async def test_a_bad_day(driver: str, tmp_path: Path) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks", "app:dead")]
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    day = Day(tmp_path, options)
    day.broken.touch()
    async with app:
        ids = await publish(app)
        day.tasuki("run", "--until-empty")
        assert await depth(app, "dead") == LETTERS

        found = day.json("dead", "dead")  # RabbitMQ's letters are borrowed for it
        assert (found["count"], found["is_all"]) == (LETTERS, True)
        assert [group["count"] for group in found["groups"]] == [LETTERS // 3] * 3
        assert {group["type"] for group in found["groups"]} == {"LookupError", "TimeoutError", "ZeroDivisionError"}

        day.broken.unlink()
        worker = day.start("run")
        try:
            edited = '{"number": -1, "copies": 1}'
            day.tasuki("edit", "dead", ids[7], "--body", edited)
            wait_until(lambda: day.done()[-1], "the edited one", timeout=SLOW)
            assert sum(day.done().values()) == 1

            redrive = day.start("redrive", "dead", "--rate", f"{RATE}")
            try:
                wait_until(lambda: sum(day.done().values()) > LETTERS // 4, "a part of them", timeout=SLOW)
            finally:
                redrive.kill()
            wait_until(lambda: day.again(LETTERS), "the rest", timeout=SLOW)
        finally:
            worker.kill()
        done = day.done()
        assert sorted(done) == [-1, *(number for number in range(LETTERS) if number != 7)], "some were lost"
        twice = {number: count for number, count in done.items() if count > 1}
        assert len(twice) <= (0 if driver in ATOMIC else AT_ONCE), f"came twice: {twice}"
        assert await depth(app, "dead") == await depth(app, "tasks") == 0


class Day:
    """The command line in one project, and what its handler has noted."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._folder = folder
        self._options = [part for option in options for part in ("-o", option)]
        self.broken = folder / "broken"

    def tasuki(self, *arguments: str, expected: int = 0) -> str:
        ended = run(*arguments, *self._options, folder=self._folder, timeout=SLOW)
        assert ended.returncode == expected, ended.stderr[-5000:]
        return ended.stdout + ended.stderr

    def json(self, *arguments: str) -> Any:
        ended = run(*arguments, *self._options, "--json", folder=self._folder, timeout=SLOW)
        assert ended.returncode == 0, ended.stderr[-5000:]
        return json.loads(ended.stdout)

    def start(self, *arguments: str) -> Process:
        return Process([*arguments, *self._options], self._folder)

    def done(self) -> Counter[int]:
        """How often each was done; a line is written at once, so the last one is whole too."""
        path = self._folder / "done"
        return Counter(map(int, path.read_text().split())) if path.exists() else Counter()

    def again(self, wanted: int) -> bool:
        """Send the other letters back, which a killed process may hold for a while; whether all are done."""
        self.tasuki("redrive", "dead", "--rate", f"{RATE}")
        return len(self.done()) >= wanted


async def publish(app: App) -> list[str]:
    """The orders; returns the ids of their messages."""
    tasks = app.queue("tasks")
    ids: list[str] = []
    for start in range(0, LETTERS, 500):
        bodies = [{"number": number, "copies": 3} for number in range(start, min(start + 500, LETTERS))]
        results = await tasks.publish_many([Envelope(body=body) for body in bodies])
        for result in results:
            assert isinstance(result, Confirmed), result
            ids.append(result.id)
    return ids


async def depth(app: App, queue: str) -> int:
    return (await app._runtime.queue(f"app:{queue}").depth()).message_count
