"""The seed's project and the examples run unchanged on every driver, by overrides of the one driver entry."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.contracts.driver import Received
from tasuki.errors import ProjectError, UnsupportedError
from tests.e2e import seed
from tests.e2e.projects import write
from tests.support.brokers.everywhere import AWS, DRIVERS, overrides
from tests.support.ports import free_port
from tests.support.process import run, run_json

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=[*DRIVERS, "valkey"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def renamed(*queues: str) -> list[str]:
    """A name at the broker that no other test has, for each queue."""
    return [f"{queue}:queue_name={queue.rpartition(':')[2]}_{uuid4().hex[:8]}" for queue in queues]


async def until(condition: Any, what: str) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what


PRIORITIES = """
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: driver}
  - {name: send, kind: function.lua, modules: [queue], source: file://send.lua}
"""
SEND = """
local queue = require("queue")
return function(priority)
  local _, err = queue.publish("app:tasks", priority, {}, {priority = priority})
  return err == nil
end
"""


async def test_code_that_publishes_with_priority(driver: str, tmp_path: Path) -> None:
    """It works on each driver that the check lets pass, without a line in the entry."""
    (tmp_path / "send.lua").write_text(SEND)
    folder = write(tmp_path, {"_index.yaml": PRIORITIES})
    app = App.load(folder, overrides=[*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks")])
    if driver == "sqs":
        with pytest.raises(ProjectError, match="hand out messages by priority"):
            app.check()
        return
    async with app:
        for priority in (1, 9):
            assert await app.call("app:send", priority)
        queue = app._runtime.queue("app:tasks")
        first: list[Received] = []
        async with asyncio.timeout(60):
            while not first:
                first = await queue.driver.receive(queue.spec.name, 1, 1.0)
        assert queue.decode(first[0]) == 9


def test_doctor_finds_each_broker_well(driver: str, tmp_path: Path) -> None:
    write(tmp_path, {"_index.yaml": PRIORITIES, "send.lua": "return function() end"})
    changes = [*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks")]
    document = run_json("doctor", *(f"--override={change}" for change in changes), folder=tmp_path)
    found = [each for each in document if each["what"] == "app:driver"]
    assert any(each["detail"].endswith(" answers") for each in found)
    clocks = [each["detail"] for each in found if each["detail"].startswith("clock: ")]
    shown = "within 1s of this machine" if driver in {"redis", "valkey", "postgres"} else "the broker shows none"
    assert clocks == ([] if driver == "sqlite" else [f"clock: {shown}"])


@pytest.mark.parametrize("name", ["amqp", "nats"])
async def test_a_priority_that_nobody_foresaw_is_refused_with_the_line_to_add(name: str, tmp_path: Path) -> None:
    if name not in [str(getattr(driver, "values", [driver])[0]) for driver in DRIVERS]:
        pytest.skip(f"no {name}")
    script = "return function() end"
    folder = write(tmp_path, {"_index.yaml": PRIORITIES.replace("file://send.lua", script)})
    app = App.load(folder, overrides=[*overrides(name, "app:driver", tmp_path), *renamed("app:tasks")])
    async with app:
        with pytest.raises(UnsupportedError) as caught:
            await app.publish("app:tasks", 1, priority=5)
    assert str(caught.value) == (
        "queue 'app:tasks' was declared without priorities; add 'requires: [priority]' to the entry 'app:tasks' "
        "(these drivers need no such line: memory, postgres, redis, sqlite)"
    )


async def test_the_seed(driver: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its YAML and its Lua, letter by letter: a value acks, an error nacks and comes again."""
    tasks = "app.queue:tasks"
    app = App.load(
        write(tmp_path, seed.PROJECT),
        overrides=[
            *overrides(driver, "app.queue:memory_driver", tmp_path),
            *renamed(tasks),
            f"{tasks}:retry.initial_delay=50ms",
        ],
    )
    seen: list[tuple[str, int]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "Processing":
                seen.append((record.task_id, record.attempt))  # type: ignore[attr-defined]

    keep = Keep()
    logging.getLogger("tasuki").addHandler(keep)
    caplog.set_level(logging.INFO, "tasuki")
    try:
        async with app.worker():
            await app.publish(tasks, {"id": "task-1"})
            await app.publish(tasks, {"id": "task-2", "failures": 2})
            await app.call("app.queue:publisher", {"size": 3})
            await until(lambda: len(seen) >= 5, "five deliveries")
            assert app._runtime.assembly is not None
            (consumer,) = app._runtime.assembly.consumers.values()
            await until(lambda: consumer.now.held == 0, "the last settlement")
        assert sorted(seen) == [("task-1", 1), ("task-123", 1), ("task-2", 1), ("task-2", 2), ("task-2", 3)]
        assert consumer.metrics.acked == 3
    finally:
        logging.getLogger("tasuki").removeHandler(keep)


async def survey(overrides: list[str], paths: list[str]) -> dict[str, Any]:
    """The report of examples/survey for these files, once all are handled and the broken one is a dead letter."""
    app = App.load(EXAMPLES / "survey", overrides=[*overrides, "survey:files:retry.initial_delay=50ms"])
    async with app.worker():
        await app.queue("survey:files").publish_many(paths)
        assert app._runtime.assembly is not None
        parser, tallier = (app._runtime.assembly.consumers[f"survey:{name}"] for name in ("parser", "tallier"))
        await until(lambda: parser.metrics.acked + parser.metrics.dead_lettered == len(paths), "all files")
        await until(lambda: tallier.metrics.acked == parser.metrics.acked, "all findings")
        await until(lambda: parser.now.held == tallier.now.held == 0, "the last settlements")
        report = await app.call("survey:report", 5)
    assert parser.metrics.dead_lettered == 1
    assert isinstance(report, dict)
    return report


async def test_the_survey(driver: str, tmp_path: Path) -> None:
    """Two handlers, Python and Lua, retries and a dead letter: the same report everywhere."""
    sources = Path(asyncio.__file__).parent
    broken = tmp_path / "broken.py"
    broken.write_text("def unfinished(:\n")
    paths = [*map(str, sorted(sources.glob("*.py"))), str(broken)]
    queues = renamed("survey:files", "survey:found", "survey:broken")
    report = await survey([*overrides(driver, "survey:driver", tmp_path), *queues], paths)
    assert report == await survey(["survey:driver:kind=queue.driver.memory"], paths)


PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 2},
     retry: {initial_delay: 50ms}}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handle.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, concurrency: 2, lifecycle: {auto_start: true}}
""",
    "handle.py": """\
from pathlib import Path


def handle(body):
    if body == "bad" and not Path("mended").exists():
        raise ValueError("bad as ever")
    with open("notes", "a") as notes:
        notes.write(f"{body}\\n")
""",
}


@pytest.mark.e2e
def test_the_command_line(driver: str, tmp_path: Path) -> None:
    """Publish, run until empty, look at the dead letter, send it back: each command its own process."""
    if driver == "memory":
        pytest.skip("a memory queue lives in one process")
    folder = write(tmp_path, PROJECT)
    swap = [
        part
        for override in (*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks", "app:dead"))
        for part in ("-o", override)
    ]
    for body in ("good", "bad", "better"):
        done = run("publish", "tasks", f'"{body}"', *swap, folder=folder)
        assert done.returncode == 0, done.stderr
    done = run("run", "--until-empty", *swap, folder=folder)
    assert done.returncode == 0, done.stderr
    assert sorted((folder / "notes").read_text().split()) == ["better", "good"]
    # RabbitMQ tells no other number without a store.
    assert run_json("info", "dead", *swap, folder=folder)["ready"] == 1
    [group] = run_json("dead", *swap, folder=folder)["groups"]
    assert (group["type"], group["place"].rpartition(":")[2]) == ("ValueError", "handle")
    done = run("redrive", "dead", "--where", "type != 'ValueError'", *swap, folder=folder)
    assert (done.returncode, done.stdout) == (0, "0 messages of app:dead sent back\n"), done.stderr
    (folder / "mended").touch()
    done = run("redrive", "dead", "--where", "error contains 'bad as ever'", *swap, folder=folder)
    assert (done.returncode, done.stdout) == (0, "1 message of app:dead sent back\n"), done.stderr
    assert run("run", "--until-empty", *swap, folder=folder).returncode == 0
    assert sorted((folder / "notes").read_text().split()) == ["bad", "better", "good"]
    assert run_json("info", "dead", *swap, folder=folder)["ready"] == 0


AWAY = {
    "redis": {"url": "redis://user:hidden-pass@127.0.0.1:{port}"},
    "amqp": {"url": "amqp://user:hidden-pass@127.0.0.1:{port}/"},
    "postgres": {"url": "postgresql://user:hidden-pass@127.0.0.1:{port}/db"},
    "nats": {"servers": "nats://user:hidden-pass@127.0.0.1:{port}"},
    "sqs": {"endpoint": "http://127.0.0.1:{port}"},
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", AWAY)
def test_a_broker_that_is_away_is_told_by_its_address(name: str, tmp_path: Path) -> None:
    os.environ.update(AWS)
    port = str(free_port())
    fields = {"kind": f"queue.driver.{name}", **AWAY[name]}
    swap = [part for field, text in fields.items() for part in ("-o", f"app:driver:{field}={text.format(port=port)}")]
    folder = write(tmp_path, PROJECT)
    for command in (["publish", "tasks", "1"], ["info", "tasks"], ["queues"]):
        done = run(*command, *swap, folder=folder)
        assert done.returncode == 4, done.stderr
        assert port in done.stderr.splitlines()[-1], done.stderr
        assert "hidden-pass" not in done.stderr + done.stdout
