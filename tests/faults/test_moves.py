"""Workers killed between any two steps: no dead letter and no reply is lost, or doubled where a move is one step."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tasuki import App
from tasuki.message import CORRELATION_ID, REPLY_TO
from tasuki.queues.messages.message_builder import Envelope
from tasuki.queues.result import Confirmed
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import DRIVERS, overrides

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
"""The long form: ``make kills``."""

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]

ATOMIC = ("sqlite", "postgres", "redis")
MESSAGES = 2000 if IS_CAMPAIGN else 40
SHORT = {driver: [1, 2, 4, 7] if driver in ATOMIC else [2, 3] for driver in DRIVERS if driver != "memory"}
LONG = {driver: random.Random(driver).choices(range(1, 40), k=40) for driver in DRIVERS if driver != "memory"}
KILLED_AT = LONG if IS_CAMPAIGN else SHORT
"""After which step each worker is killed: a step is the begin or the end of a publish, a settlement or a move."""

PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver, lease: 2s, dead_letter: {queue: dead, max_attempts: 1000}}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: replies, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handle.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, concurrency: 4, lifecycle: {auto_start: true}}
""",
    "handle.py": """\
import os
import signal

from tasuki import Reject
from tasuki.contracts.driver import Driver

left = int(os.environ["KILLED_AT"])


def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(verb):
    async def run(self, *arguments):
        step()
        answer = await verb(self, *arguments)
        step()
        return answer

    return run


def drivers(kind):
    for one in kind.__subclasses__():
        yield one
        yield from drivers(one)


if left:
    for kind in drivers(Driver):
        for name in ("publish", "settle", "move"):
            if name in vars(kind):
                setattr(kind, name, watched(vars(kind)[name]))


def handle(body: int) -> int:
    if body % 2:
        raise Reject("odd")
    return body
""",
}


@pytest.mark.parametrize("driver", KILLED_AT)
async def test_a_kill_between_two_steps_loses_and_doubles_nothing(driver: str, tmp_path: Path) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks", "app:dead", "app:replies")]
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    async with app:
        results = await app.queue("tasks").publish_many([_message(number) for number in range(MESSAGES)])
        assert all(isinstance(result, Confirmed) for result in results)
        killed = [await _work(tmp_path, options, step) for step in KILLED_AT[driver]]
        assert await _work(tmp_path, options, 0) == 0, _log(tmp_path)
        letters = Counter([int(body) for body, _ in await _taken(app, "app:dead")])
        replies = Counter([int(str(headers[CORRELATION_ID])) for _, headers in await _taken(app, "app:replies")])
    assert sorted(letters) == list(range(1, MESSAGES, 2)), f"dead letters were lost\n{_log(tmp_path)}"
    assert sorted(replies) == list(range(0, MESSAGES, 2)), f"replies were lost\n{_log(tmp_path)}"
    if driver in ATOMIC:
        assert (letters.total(), replies.total()) == (len(letters), len(replies)), "some came twice"
    assert set(killed) <= {-signal.SIGKILL, 0}, f"ended otherwise: {killed}\n{_log(tmp_path)}"
    assert killed.count(0) <= len(killed) / 4, "too little work was left to kill"


def _message(number: int) -> Envelope[int]:
    """Even numbers are requests, odd ones are rejected."""
    headers = {} if number % 2 else {REPLY_TO: "replies", CORRELATION_ID: f"{number}"}
    return Envelope(body=number, headers=headers)


async def _work(folder: Path, options: list[str], step: int) -> int:
    """Run a worker until it is killed at a step, or everything is handled; its exit code."""
    command = [sys.executable, "-m", "tasuki", "run", "--until-empty"]
    command += [part for option in options for part in ("-o", option)]
    with (folder / "worker.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "KILLED_AT": f"{step}"},
        )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _taken(app: App, queue: str) -> list[tuple[bytes, Mapping[str, object]]]:
    """All that is in a queue, received until nothing comes."""
    target = app._runtime.queue(queue)
    taken: list[tuple[bytes, Mapping[str, object]]] = []
    while got := await target.driver.receive(target.spec.name, 100, 2.0):
        taken += [(one.body, dict(one.headers)) for one in got]
    return taken


def _log(folder: Path) -> str:
    return (folder / "worker.log").read_text(errors="replace")[-5000:]
