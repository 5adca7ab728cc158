"""A move to another broker that is killed three times and goes on each time: no message is lost, and none doubled.

A kill between the publish and the removal leaves some messages in both queues. The batch that goes on sees them at a
broker that can show messages; RabbitMQ cannot, so there a kill at this step may double the messages of one step.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Ack, Nack, Received, Waiting
from tasuki.queues.dead_letter import counted
from tasuki.queues.queue import Queue
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides
from tests.support.process import run_json

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
"""The long form: ``make kills``."""

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1200 if IS_CAMPAIGN else 300)]

HOUR = 3600.0
MESSAGES = 3000 if IS_CAMPAIGN else 150
_PUBLISHED, _REMOVED = 2, 4
"""Steps of one chunk: the begin and the end of its publish, and of its removal."""
SHORT = {"postgres": [_PUBLISHED, 3, _REMOVED], "amqp": [1, _REMOVED, 5]}
LONG = {new: random.Random(new).choices(range(1, 16), k=10) for new in SHORT}
"""Ten kills within the 120 steps of a move of 3,000 messages, a hundred at a time."""
KILLED_AT = LONG if IS_CAMPAIGN else SHORT

PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: old_driver, kind: queue.driver.sqlite}
  - {name: new_driver, kind: queue.driver.sqlite}
  - {name: old_tasks, kind: queue.queue, driver: old_driver}
  - {name: tasks, kind: queue.queue, driver: new_driver}
""",
    "killed.py": """\
import os
import signal
import sys

from tasuki.__main__ import main
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.amqp.driver import AMQPDriver

left = int(sys.argv.pop(1))


def watched(verb):
    async def run(self, *arguments):
        step()
        answer = await verb(self, *arguments)
        step()
        return answer

    return run


def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


for kind, verb in (
    (PostgresDriver, "publish"), (AMQPDriver, "publish"), (SQLiteDriver, "remove"), (RedisDriver, "remove"),
):
    setattr(kind, verb, watched(getattr(kind, verb)))
main()
""",
}


@pytest.mark.parametrize(("old", "new"), [("sqlite", "postgres"), ("redis", "amqp")])
async def test_three_kills_lose_and_double_nothing(old: str, new: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    options = overrides(old, "app:old_driver", tmp_path / "old") + overrides(new, "app:new_driver", tmp_path)
    options += renamed("app:old_tasks", "app:tasks")
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    async with app:
        await _fill(app._runtime.queue("old_tasks"), is_shown=new == "postgres")
    command = ["redrive", "old_tasks", "--to", "tasks", "--rate", "0"]
    killed = []
    for step in KILLED_AT[new]:
        killed.append(await _run(tmp_path, options, command, step))
        command = ["batches", await asyncio.to_thread(_batch, tmp_path, options), "--resume"]
    assert await _run(tmp_path, options, command, 0) == 0, _log(tmp_path)
    assert set(killed) == {-signal.SIGKILL}, f"{killed}\n{_log(tmp_path)}"
    async with app:
        depth = await app._runtime.queue("old_tasks").depth()
        assert depth.ready + (depth.delayed or 0) + (depth.in_flight or 0) == 0
        found = await (_shown if new == "postgres" else _taken)(app._runtime.queue("tasks"))
    counts = Counter(id for id, _ in found)
    assert sorted(counts) == [f"{number:05d}" for number in range(MESSAGES)], "some were lost"
    is_exact = new == "postgres" or not IS_CAMPAIGN
    assert counts.total() == MESSAGES if is_exact else counts.total() <= MESSAGES + 100 * len(killed), "some came twice"
    assert {attempt for id, attempt in found if int(id) % 3 == 0} == {3}, "attempts were lost"
    assert {attempt for id, attempt in found if int(id) % 3} == {1}


async def _fill(queue: Queue, *, is_shown: bool) -> None:
    """A third failed twice, a third is delayed where the new broker can show that, and a third is ready."""
    driver, name = queue.driver, queue.spec.name
    delay = HOUR if is_shown else 0.5
    for start in range(3):
        numbers = range(start, MESSAGES, 3)
        results = await asyncio.gather(
            *(queue.publish(1, id=f"{number:05d}", delay=delay if start == 1 else 0.0) for number in numbers)
        )
        assert all(result.outcome == "stored" for result in results)
        for failures in range(2 if start == 0 else 0):
            received: list[Received] = []
            while len(received) < len(numbers):
                received += await driver.receive(name, 500, 5.0)
            await driver.settle(name, [Nack(each.receipt, delay if failures else 0.0, "no") for each in received])


async def _shown(queue: Queue) -> list[tuple[str, int]]:
    """The id and the next attempt of each message; the delayed ones are due in an hour still."""
    shown = [each for each in await queue.peek(2 * MESSAGES) if isinstance(each, Waiting)]
    late = {each.id for each in shown if each.delay > HOUR / 2}
    assert late == {f"{number:05d}" for number in range(MESSAGES) if number % 3 != 2}, "delays were lost"
    return [(each.id, 1 + each.failures + int(each.headers.get("x_failures", 0))) for each in shown]


async def _taken(queue: Queue) -> list[tuple[str, int]]:
    """The same by receiving them all, until no more come."""
    found: list[tuple[str, int]] = []
    wait = 10.0
    while received := await queue.driver.receive(queue.spec.name, 100, wait):
        found += [(each.id, counted(each).attempt) for each in received]
        await queue.driver.settle(queue.spec.name, [Ack(each.receipt) for each in received])
        wait = 10.0 if len(found) < MESSAGES else 3.0
    return found


def _batch(folder: Path, options: list[str]) -> str:
    """The id of the one batch."""
    (batch,) = run_json("batches", *[part for option in options for part in ("-o", option)], folder=folder)
    return str(batch["id"])


async def _run(folder: Path, options: list[str], command: list[str], step: int) -> int:
    """Run a command until it is killed at a step, 0: to its end; its exit code."""
    given = [part for option in options for part in ("-o", option)]
    with (folder / "move.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "killed.py", f"{step}", *command, *given,
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _log(folder: Path) -> str:
    return (folder / "move.log").read_text(errors="replace")[-5000:]
