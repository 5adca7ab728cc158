"""Pause, resume and scale over several worker processes, on every driver that has a store."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from tasuki import App
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.cli_project import notes, write_project
from tests.support.process import Process, run, run_json, start, wait_until

T = TypeVar("T")
WITH_STORES = [driver for driver in DRIVERS if driver not in ("memory", "amqp", "sqs")]
OBEYED = 2.0
"""Seconds after which every worker has obeyed."""
MESSAGES = 40

HANDLER = """
import os, time

def handle(body):
    note(f"start {os.getpid()} {body}")
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
    note(f"done {body}")
"""


class Fleet:
    """A project on one driver, and its worker processes."""

    def __init__(self, driver: str, folder: Path, stack: ExitStack, **options: Any) -> None:
        self.driver = driver
        self.folder = write_project(folder, HANDLER, **options)
        self.changes = [
            *overrides(driver, "app:driver", folder),
            *(f"app:{name}:queue_name={name}_{uuid4().hex[:8]}" for name in ("tasks", "dead")),
        ]
        self.options = [f"--override={change}" for change in self.changes]
        self._stack = stack

    def worker(self) -> Process:
        worker = self._stack.enter_context(start("run", "--log-format", "json", *self.options, folder=self.folder))
        worker.wait_for("running; stop with")
        return worker

    def act(self, work: Callable[[App], Awaitable[T]]) -> T:
        async def act() -> T:
            async with App.load(self.folder, overrides=self.changes) as app:
                return await work(app)

        return asyncio.run(act())

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.act(lambda app: app._runtime.queue("tasks").info())
        return found

    def wait_for_ready(self, count: int) -> None:
        """Wait until this many messages are free for any worker; NATS counts released ones as in flight till then."""
        if self.driver != "nats":
            wait_until(lambda: self.info()["ready"] == count, "the release of prefetched messages")

    def publish(self, *bodies: int) -> None:
        self.act(lambda app: app._runtime.queue("tasks").publish_many(list(bodies)))

    def noted(self, word: str) -> list[str]:
        return [line for line in notes(self.folder) if line.startswith(word)]

    def go(self, does: bool = True) -> None:
        file = self.folder / "go"
        file.touch() if does else file.unlink()


@pytest.fixture(params=WITH_STORES)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with ExitStack() as stack:
        yield Fleet(request.param, tmp_path, stack)


def said(worker: Process, text: str) -> str:
    """A line of the log that holds a text, also one from before the worker ran."""
    return next((line for line in worker.lines if text in line), "") or worker.wait_for(text)


def time_of(worker: Process, text: str) -> float:
    """When a worker logged this, in Unix seconds."""
    return datetime.fromisoformat(json.loads(said(worker, text))["time"]).timestamp()


def test_all_workers_pause_and_go_on_and_nothing_is_lost(fleet: Fleet) -> None:
    fleet.publish(*range(MESSAGES))
    workers = [fleet.worker(), fleet.worker()]
    wait_until(lambda: len(fleet.noted("start")) == 2, "a message in each process")
    paused = fleet.act(lambda app: app.workers.pause("tasks", reason="429"))
    for worker in workers:
        assert time_of(worker, "paused until it is resumed") - paused.at < OBEYED
    fleet.wait_for_ready(MESSAGES - 2)
    fleet.go()
    wait_until(lambda: len(fleet.noted("done")) == 2, "the end of the running handlers")
    workers[0].send(signal.SIGTERM)
    assert workers[0].wait() == 0, workers[0].output
    workers += [fleet.worker(), fleet.worker()]  # one for the stopped one, and one that starts later
    for worker in workers[2:]:
        said(worker, "paused until it is resumed")
    fleet.publish(MESSAGES)
    fleet.wait_for_ready(MESSAGES - 1)
    assert len(fleet.noted("start")) == 2, "nothing is handled while it is paused"
    fleet.act(lambda app: app.workers.resume("tasks"))
    for worker in workers[1:]:
        worker.wait_for("resumed")
    wait_until(lambda: len(fleet.noted("done")) == MESSAGES + 1, "the rest")
    assert sorted(int(line.split()[1]) for line in fleet.noted("done")) == list(range(MESSAGES + 1))
    wait_until(lambda: fleet.info()["message_count"] == 0, "the last settlements")


def test_a_pause_outlives_all_workers_and_ends_by_itself(fleet: Fleet) -> None:
    fleet.go()
    worker = fleet.worker()
    fleet.act(lambda app: app.workers.pause("consumer"))
    worker.wait_for("paused until it is resumed")
    worker.kill()
    fleet.publish(1)
    worker = fleet.worker()
    said(worker, "paused until it is resumed")
    assert not fleet.noted("start")
    paused = fleet.act(lambda app: app.workers.pause("consumer", "2s"))
    assert paused.until is not None
    assert paused.until <= time_of(worker, '"resumed"') < paused.until + 2 * OBEYED
    wait_until(lambda: fleet.noted("done 1"), "the message")


def test_scaling_without_a_restart_and_for_later_workers(fleet: Fleet) -> None:
    workers = [fleet.worker(), fleet.worker()]
    scaled = fleet.act(lambda app: app.workers.scale("consumer", 3))
    assert scaled is not None
    for worker in workers:
        assert time_of(worker, "handles 3 messages") - scaled.at < OBEYED
    workers.append(fleet.worker())
    said(workers[-1], "handles 3 messages")
    fleet.publish(*range(9 + 9))
    # A worker holds up to 30 messages now, so one process may have them all: three run in each that has any.
    wait_until(lambda: len(fleet.noted("start")) in (3, 6, 9), "three handlers in a process")
    fleet.act(lambda app: app.workers.scale("consumer", 0))
    for worker in workers:
        worker.wait_for("scaled to 0")
    pids = [line.split()[1] for line in fleet.noted("start")]
    assert all(pids.count(pid) == 3 for pid in pids)
    fleet.go()
    fleet.act(lambda app: app.workers.scale("consumer", None))
    wait_until(lambda: len(fleet.noted("done")) == 18, "the rest")


def test_the_commands(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet("sqlite", tmp_path, stack)
        fleet.go()
        assert json.loads(run("queues", "--json", *fleet.options, folder=tmp_path).stdout)
        assert not (tmp_path / "queue.db").exists(), "reading makes no file"
        worker = fleet.worker()
        paused = run("pause", "tasks", "--for", "1h", "--reason", "429", *fleet.options, folder=tmp_path)
        assert paused.stdout.startswith("queue app:tasks is paused until ")
        assert paused.stdout.endswith(": 429\n")
        worker.wait_for("paused until")
        run_json("publish", "tasks", "1", *fleet.options, folder=tmp_path)
        shown = run("queues", *fleet.options, folder=tmp_path)
        assert "app:tasks is paused until " in shown.stderr
        info = run_json("info", "tasks", *fleet.options, folder=tmp_path)
        assert (info["ready"], info["paused"]["reason"]) == (1, "429")
        assert run_json("scale", "consumer", "4", *fleet.options, folder=tmp_path)["concurrency"] == 4
        worker.wait_for("handles 4 messages")
        (row, _) = run_json("queues", *fleet.options, folder=tmp_path)
        assert row["orders"] == {"app:consumer": {"concurrency": 4}}
        assert run_json("resume", "tasks", *fleet.options, folder=tmp_path)["was"]["reason"] == "429"
        wait_until(lambda: fleet.noted("done 1"), "the message")
        again = run("resume", "tasks", *fleet.options, folder=tmp_path)
        assert again.stdout == "queue app:tasks was not paused\n"
        assert run("scale", "consumer", "--reset", *fleet.options, folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["pause", "taskz"], 1, "queue, consumer or schedule 'taskz' is not defined; did you mean 'tasks'?"),
        (["pause", "tasks", "--for", "0"], 1, "a pause of '0' is none"),
        (["pause", "tasks", "--until", "2020-01-01T00:00Z"], 1, "is over: it is "),
        (["pause", "tasks", "--until", "2020-01-01"], 2, "has no time zone"),
        (["pause", "tasks", "--for", "1s", "--until", "2100-01-01T00:00Z"], 2, "not both"),
        (["scale", "tasks", "3"], 1, "consumer 'tasks' is not defined"),
        (["scale", "consumer", "1001"], 2, "1001"),
        (["scale", "consumer"], 2, "give N or --reset"),
        (["pause", "tasks", "-o", "app:driver:kind=queue.driver.memory"], 1, "it lives in the memory of the process"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, arguments: list[str], code: int, problem: str) -> None:
    write_project(tmp_path, "def handle(body): pass")
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, problem in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("driver", ["amqp", "sqs"])
def test_a_queue_without_a_state_says_what_to_write(driver: str, tmp_path: Path) -> None:
    if driver not in DRIVERS:
        pytest.skip(f"no {driver}")
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        done = run("pause", "tasks", *fleet.options, folder=tmp_path)
    assert done.returncode == 1
    assert "queue 'app:tasks' has no state" in done.stderr
    assert "write 'state: <id of a store>'" in done.stderr
