"""A broker whose data is put back to an earlier state while workers live: no message confirmed afterwards is lost."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import DriverError, TasukiError
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import broker_of, overrides
from tests.support.sqlite_files import backup, replace

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]

DURABLE = ("sqlite", "postgres", "redis", "nats", "amqp")
"""SQS keeps its data where no test puts it back, and the memory driver keeps none."""
MESSAGES = 8
SECONDS = 60.0

PROJECT = {
    "_index.yaml": f"""\
version: "1.0"
namespace: app
entries:
  - {{name: driver, kind: queue.driver.sqlite, lifecycle: {{auto_start: true}}}}
  - {{name: tasks, kind: queue.queue, driver: driver, lease: 4s}}
  - {{name: handle, kind: function.python, source: file://handle.py, method: handle}}
  - name: worker
    kind: queue.consumer
    queue: tasks
    func: handle
    concurrency: {MESSAGES}
    prefetch: {MESSAGES}
    lifecycle: {{auto_start: true}}
""",
    "handle.py": """\
import json
import os
import time

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(kind, body):
    os.write(history, json.dumps([os.environ["NAME"], kind, body]).encode() + b"\\n")


def handle(body: str) -> None:
    # Messages of before the restoration wait until the test lets them end; the second worker never ends one.
    note("begun", body)
    while os.environ["NAME"] == "second" or (body.startswith("held") and not os.path.exists(os.environ["GATE"])):
        time.sleep(0.02)
    note("ended", body)
""",
}


class Site:
    """The project's folder, its workers, and what their handlers have noted."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._folder = folder
        self._options = options
        self.gate = folder / "gate"
        self._history = folder / "history.jsonl"

    def worker(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tasuki", "run", str(self._folder)]
        for option in self._options:
            command += ["-o", option]
        environment = {**os.environ, "HISTORY": str(self._history), "GATE": str(self.gate), "NAME": name}
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def noted(self, name: str, kind: str) -> set[str]:
        lines = self._history.read_text().splitlines() if self._history.exists() else []
        return {body for who, what, body in map(json.loads, lines) if (who, what) == (name, kind)}

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            logs = "".join(log.read_text()[-3000:] for log in sorted(self._folder.glob("*.log")))
            assert time.monotonic() < end, f"waited in vain for {what}\n{logs}"
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("driver", DURABLE)
async def test_a_worker_that_lives_on_ends_no_message_that_was_published_after_a_restoration(
    driver: str, tmp_path: Path
) -> None:
    """The first worker holds messages whose numbers the broker gives again, to messages that the second one holds."""
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks")]
    site = Site(tmp_path, options)
    app = App.load(write(tmp_path, PROJECT), overrides=options)
    save, restore = _hooks(driver, tmp_path)
    async with app:
        first = site.worker("first")
        try:
            await _publish(app, "before")
            await site.until(lambda: len(site.noted("first", "ended")) == MESSAGES, "the first messages")
            await _settled(app)
            await asyncio.to_thread(save)
            await _publish(app, "held")
            await site.until(lambda: len(site.noted("first", "begun")) == 2 * MESSAGES, "the held messages")
            await asyncio.to_thread(restore)
            await _publish(app, "after")
            second = site.worker("second")
            await site.until(lambda: len(site.noted("second", "begun")) >= MESSAGES, "the second worker")
            site.gate.touch()
            held = {f"held-{number}" for number in range(MESSAGES)}
            await site.until(lambda: held <= site.noted("first", "ended"), "the end of the held messages")
            second.kill()
            second.wait()
            after = {f"after-{number}" for number in range(MESSAGES)}
            await site.until(lambda: after <= site.noted("first", "ended"), "the messages of after the restoration")
            await _settled(app)
        finally:
            first.terminate()
            assert first.wait(SECONDS) == 0


def _hooks(driver: str, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """What keeps a copy of the broker's data, and what puts it back."""
    broker = broker_of(driver)
    if broker is not None:
        return broker.save, broker.restore
    file, copy = folder / "queue.db", folder / "saved.db"
    return lambda: backup(file, copy), lambda: replace(copy, file)


async def _publish(app: App, word: str) -> None:
    """Publish until each message is confirmed; a message may be stored twice, as the broker may be away."""
    for number in range(MESSAGES):
        while True:
            try:
                await app.queue("tasks").publish(f"{word}-{number}")
                break
            except TasukiError:
                await asyncio.sleep(0.05)


async def _settled(app: App) -> None:
    """Wait until the queue is empty."""
    while True:
        try:
            depth = await app.queue("tasks").depth()
        except DriverError:
            depth = None
        if depth is not None and not depth.message_count:
            return
        await asyncio.sleep(0.05)
