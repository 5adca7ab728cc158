"""Tasks from YAML, in both languages and isolations, sent by all kinds of publishers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tests.e2e.projects import write
from tests.support.process import run, run_json

pytestmark = pytest.mark.anyio

FILES = {
    "_index.yaml": """
namespace: app
entries:
  - {name: memory, kind: queue.driver.memory}
  - {name: done, kind: queue.queue, driver: memory}
  - {name: dead, kind: queue.queue, driver: memory}
  - name: jobs
    kind: queue.queue
    driver: memory
    dead_letter: {queue: dead, max_attempts: 2}
    retry: {initial_delay: 0, jitter: 0}
  - {name: lua, kind: function.lua, source: file://work.lua, method: work, modules: [queue], isolation: ISOLATION}
  - {name: forget, kind: function.lua, source: file://work.lua, method: forget, modules: [queue]}
  - {name: python, kind: function.python, source: file://work.py, method: work, isolation: ISOLATION}
  - {name: start, kind: function.lua, source: file://work.lua, method: start, modules: [queue]}
  - name: consumer
    kind: queue.consumer
    queue: jobs
    funcs:
      lua: {func: lua, on_give_up: forget}
      python: {func: python, retry: {max_attempts: 1, never: [KeyError]}, handler_timeout: 30s}
    lifecycle: {auto_start: true}
""",
    "work.lua": """
local queue = require("queue")
local function work(body)
    if body.text == "bad" then error("no good") end
    queue.publish("done", {"lua", body.text, body.times or 1})
end
local function forget(body, problem)
    queue.publish("done", {"forgotten", body.text, problem:match("no good")})
end
local function start()
    queue.publish("jobs", {text = "from lua"}, {message_type = "python"})
end
return {work = work, forget = forget, start = start}
""",
    "work.py": """
from datetime import UTC, datetime, timedelta
from tasuki import Context, Snooze

async def work(context: Context, text: str, times: int = 1) -> None:
    if text == "later" and context.attempt == 1:
        await context.publish("done", "x", delay=timedelta(days=1), ttl=None)
        await context.publish("done", "y", at=datetime.now(UTC) + timedelta(days=1))
        assert context.delivery.is_last_attempt
        raise Snooze(timedelta(days=1))
    if text == "bad":
        raise ValueError("no good")
    await context.publish("done", ["python", text, times, context.message.headers["message_type"]])
""",
}


async def results(folder: Path, isolation: str, *published: tuple[str, Any]) -> tuple[list[Any], dict[str, str]]:
    """What the functions published, sorted, and the reasons of dead letters by task."""
    files = {**FILES, "_index.yaml": FILES["_index.yaml"].replace("ISOLATION", isolation)}
    write(folder, files)
    app = App.load(folder)
    async with app.worker():
        for name, body in published:
            await app.publish("app:jobs", body, {"message_type": name})
        await app.call("app:start")
        while (await app.queue("app:jobs").info())["message_count"]:
            await asyncio.sleep(0.01)
        import msgspec

        done = [msgspec.json.decode(each.body) for each in await app.queue("app:done").peek(100)]
        dead = await app.queue("app:dead").peek(100)
    return sorted(done, key=str), {
        f"{each.headers['message_type']} {each.headers['attempts']}": str(each.headers["x_dead_letter_reason"])
        for each in dead
    }


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_durations_may_be_timedelta_and_times_datetime(tmp_path: Path, isolation: str) -> None:
    write(tmp_path, {**FILES, "_index.yaml": FILES["_index.yaml"].replace("ISOLATION", isolation)})
    app = App.load(tmp_path)
    async with app.worker():
        await app.publish("app:jobs", {"text": "later"}, {"message_type": "python"})
        while (await app.queue("app:jobs").info())["delayed"] != 1:
            await asyncio.sleep(0.01)
        assert (await app.queue("app:done").info())["delayed"] == 2
        assert not await app.queue("app:dead").peek()


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_each_message_finds_its_function_and_its_rules(tmp_path: Path, isolation: str) -> None:
    done, dead = await results(
        tmp_path,
        isolation,
        ("lua", {"text": "a", "times": 2}),
        ("python", {"text": "b"}),
        ("lua", {"text": "bad"}),
        ("python", {"text": "bad"}),
        ("python", {"text": "c", "more": 1}),
        ("ruby", {"text": "d"}),
    )
    assert done == [
        ["forgotten", "bad", "no good"],
        ["lua", "a", 2],
        ["python", "b", 1, "python"],
        ["python", "from lua", 1, "python"],
    ]
    # Two dead letters of python have one attempt: max_attempts: 1, and a body that does not fit.
    assert dead.keys() == {"lua 2", "python 1", "ruby 2"}
    assert (dead["lua 2"], dead["ruby 2"]) == ("max_attempts", "unknown_task")


JOBS = """
import sys
from pathlib import Path
from tasuki import App, Retries

app = App(f"sqlite:///{Path(__file__).with_name('q.db')}")
jobs = app.queue("jobs", dead_letter="jobs.dead", retry={"initial_delay": 0, "jitter": 0})


def note(*words):
    with Path(__file__).with_name("notes").open("a") as file:
        print(*words, file=file)


def forget(path: Path, error: Exception):
    note("forgotten", path, error)


@jobs.task(retry=Retries(2, backoff=0), on_give_up=forget)
def resize(path: Path, width: int = 100) -> None:
    note("resized", path, width)
    if width < 0:
        raise ValueError("negative")


if __name__ == "__main__":
    resize.send(Path("a.jpg"))
    resize.with_options(priority=0, headers={"tenant": "x"}).send(Path("b.jpg"), width=-1)
"""


@pytest.mark.e2e
def test_a_script_sends_what_a_worker_of_the_same_module_does(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    done = subprocess.run([sys.executable, "jobs.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    arguments = ("-p", "jobs:app", "--header", "message_type=resize")
    assert run("publish", "jobs", '{"path": "c.jpg", "width": 3}', *arguments, folder=tmp_path).returncode == 0
    assert run("publish", "jobs", '{"width": 3}', *arguments, folder=tmp_path).returncode == 0
    worked = run("run", "jobs:app", "--until-empty", "--log-format", "text", folder=tmp_path)
    assert worked.returncode == 0, worked.stderr
    assert sorted((tmp_path / "notes").read_text().splitlines()) == [
        "forgotten b.jpg negative",
        *("resized a.jpg 100", "resized b.jpg -1", "resized b.jpg -1", "resized c.jpg 3"),
    ]
    dead = run_json("peek", "jobs.dead", "-p", "jobs:app", folder=tmp_path)
    assert {message["headers"]["x_dead_letter_reason"] for message in dead} == {"max_attempts", "invalid"}
    assert "missing required field `path`" in worked.stderr


KILLED = """
import os
import signal
from pathlib import Path
from tasuki import App, Retries

app = App(f"sqlite:///{Path(__file__).with_name('q.db')}")
jobs = app.queue("jobs", dead_letter="jobs.dead", lease="2s")


def forget(number: int):
    notes = Path(__file__).with_name("notes")
    is_first = not notes.exists()
    with notes.open("a") as file:
        print(number, file=file)
    if is_first:
        os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(retry=Retries(1), on_give_up=forget)
def fail(number: int) -> None:
    raise ValueError("no")
"""


@pytest.mark.e2e
def test_a_worker_that_is_killed_while_it_gives_up_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(KILLED)
    arguments = ("-p", "jobs:app", "--header", "message_type=fail")
    assert run("publish", "jobs", '{"number": 7}', *arguments, folder=tmp_path).returncode == 0
    assert run("run", "jobs:app", "--until-empty", folder=tmp_path).returncode == -signal.SIGKILL
    assert run_json("peek", "jobs.dead", "-p", "jobs:app", folder=tmp_path) == []
    assert run("run", "jobs:app", "--until-empty", folder=tmp_path).returncode == 0
    (dead,) = run_json("peek", "jobs.dead", "-p", "jobs:app", folder=tmp_path)
    assert dead["body"] == {"number": 7}
    assert (tmp_path / "notes").read_text().splitlines() == ["7", "7"]
