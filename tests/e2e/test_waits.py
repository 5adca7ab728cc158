"""Sleeps and waits of functions of every kind, wherever they run, and the command that gives a signal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.errors import HandlerError
from tasuki.flow.signals import give, packed_value, topic_of
from tests.e2e.projects import write
from tests.support.brokers.sqs import SQS
from tests.support.process import run, run_json

pytestmark = pytest.mark.anyio
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}

HEAD = """
from pathlib import Path
from tasuki import Context
from tasuki.errors import WaitTimeoutError

def note(folder, text):
    with (Path(folder) / "effects").open("a") as file:
        file.write(text + "\\n")
    return text

def write(body):
    return note(*body)
"""
PLAIN = (
    HEAD
    + """
def handle(body: str, context: Context) -> None:
    note(body, "begin")
    context.sync.step("one", note, body, "one")
    try:
        context.sync.sleep(0.05)
    except Exception:
        note(body, "an Exception")
    value = context.sync.wait_for("approved", 7, "1h")
    context.sync.step("two", note, body, f"two {value}")
    try:
        context.sync.wait_for("paid", 7, 0.05)
    except WaitTimeoutError as error:
        note(body, str(error))
    note(body, f"end {context.attempt}")
"""
)
ASYNC = PLAIN.replace("def handle", "async def handle").replace("context.sync.", "await context.")
LUA = """
local handler = {}
local note

function handler.main(body)
  funcs.call("app:note", { body, "begin" })
  local one, err = context.step("one", funcs.call, "app:note", { body, "one" })
  assert(one == "one" and err == nil, tostring(one) .. tostring(err))
  pcall(function()
    context.sleep(0.05)
  end)
  local value, err = context.wait_for("approved", 7, "1h")
  assert(err == nil)
  context.step("two", function(what)
    return funcs.call("app:note", { body, "two " .. what })
  end, "{'by': '" .. value.by .. "'}")
  local none, err = context.wait_for("paid", 7, 0.05, "pay")
  assert(none == nil and err:kind() == "Timeout")
  funcs.call("app:note", { body, err:message() })
  funcs.call("app:note", { body, "end " .. queue.message():attempt() })
end

return handler
"""

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver, retry: {initial_delay: 10ms}}
  - {name: note, kind: function.python, source: file://note.py, method: write}
  - {name: worker, kind: queue.consumer, queue: jobs, func: handle, lifecycle: {auto_start: true}}
"""
PYTHON = "  - {name: handle, kind: function.python, source: file://handler.py, method: handle, ISOLATION}\n"
SCRIPT = (
    "  - {name: handle, kind: function.lua, source: file://handler.lua, method: main, "
    "modules: [context, funcs, queue], ISOLATION}\n"
)


@pytest.mark.parametrize("isolation", ["meta: {}", "isolation: process", "pool: {workers: 1}"])
@pytest.mark.parametrize("handler", [PLAIN, ASYNC, LUA], ids=["plain", "async", "lua"])
async def test_pauses_of_a_function_elsewhere(handler: str, isolation: str, tmp_path: Path) -> None:
    if handler is not LUA and "pool" in isolation:
        pytest.skip("pools are for Lua")
    entries = PROJECT + (SCRIPT if handler is LUA else PYTHON).replace("ISOLATION", isolation)
    files = {"_index.yaml": entries, "note.py": HEAD}
    write(tmp_path, {**files, "handler.lua" if handler is LUA else "handler.py": handler})
    app, effects = App.load(tmp_path), tmp_path / "effects"
    async with app.worker():
        await app.queue("app:jobs").publish(str(tmp_path))
        async with asyncio.timeout(20):
            while not effects.exists() or effects.read_text().count("begin") < 2:
                await asyncio.sleep(0.01)
            assert await app.signal("approved", 7, {"by": "kana"})
            while "end" not in effects.read_text():
                await asyncio.sleep(0.01)
    lines = [line for line in effects.read_text().splitlines() if line != "begin"]
    assert lines == ["one", "two {'by': 'kana'}", lines[2], "end 1"]
    assert lines[2].startswith("no signal 'paid' for '7' came within 50ms")


CODE = """
from tasuki import App, Context

app = App()
jobs = app.queue("jobs", result="1h")

@jobs.consumer
async def work(body: int, context: Context) -> object:
    return await context.wait_for("approved", body, "1h")
"""


@pytest.mark.e2e
def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(CODE)
    assert run("signal", "approved", "7", '{"by": "kana"}', folder=tmp_path).stdout == "given\n"
    assert run("signal", "approved", "7", folder=tmp_path).stdout == "given before: the first one counts\n"
    assert run_json("signal", "approved", "8", folder=tmp_path) == {"event": "approved", "key": "8", "first": True}
    assert "is no JSON" in run("signal", "approved", "9", "{", folder=tmp_path).stderr
    run_json("publish", "jobs", "7", "--id", "seven", folder=tmp_path)
    assert run("run", "--until-empty", folder=tmp_path).returncode == 0
    assert run("result", "seven", "--queue", "jobs", folder=tmp_path).stdout == '{"by": "kana"}\n'


async def test_a_queue_in_memory_hears_of_a_signal_that_another_process_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is in a file, where any process may write, and no call wakes the message."""
    monkeypatch.setattr("tasuki.flow.steps._POLL", 0.1)
    app, got = App("memory://"), asyncio.Event()
    app.entry("file", "queue.driver.sqlite", {"path": str(tmp_path / "state.db")})
    app.entry("state", "store.sqlite", {"driver": "file"})
    jobs = app.queue("jobs", state="state")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        await context.wait_for("approved", body, "1h")
        got.set()

    async with app.worker():
        await jobs.publish(7)
        async with asyncio.timeout(10):
            while not (await jobs.info())["delayed"]:
                await asyncio.sleep(0.01)
            topic = topic_of("approved", 7)
            store = await app._runtime.assembly.state_of("app:jobs").store()  # type: ignore[union-attr]
            assert await give(store, topic, packed_value(topic, True), "another process")
            await got.wait()


async def test_a_message_whose_pauses_sqs_would_count_is_refused_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key in a FIFO queue each check for the signal would be an attempt, and the last one a dead letter."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    app, got = App("memory://"), dict[int, str]()
    app.entry("sqs", "queue.driver.sqs", {"endpoint": f"http://127.0.0.1:{SQS.shared().port}"})
    app.entry("file", "queue.driver.sqlite", {"path": str(tmp_path / "state.db")})
    app.entry("state", "store.sqlite", {"driver": "file"})
    app.queue("dead", driver="sqs", queue_name=f"dead-{os.getpid()}")
    options: Any = {"driver": "sqs", "state": "state", "ordering": "key", "dead_letter": {"queue": "dead"}}
    jobs = app.queue("jobs", queue_name=f"waits-{os.getpid()}", **options)

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        try:
            await context.sleep("500ms")
        except HandlerError as error:
            got[body] = str(error)
        else:
            got[body] = f"slept, attempt {context.attempt}"

    async with app.worker():
        await jobs.publish(1, key="a")
        await jobs.publish(2)
        async with asyncio.timeout(20):
            while len(got) < 2:
                await asyncio.sleep(0.05)
    assert "each delivery of a message with a key counts as an attempt in queue 'app:jobs'" in got[1]
    assert got[2] == "slept, attempt 1"
