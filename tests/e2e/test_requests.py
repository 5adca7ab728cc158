"""Request and reply between processes: a worker with handlers in two languages, and a requester."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import HandlerError
from tests.e2e import projects
from tests.support.process import environ, start, wait_until

pytestmark = pytest.mark.anyio

FILES = {
    "_index.yaml": """
namespace: app
entries:
  - {name: queues, kind: queue.driver.sqlite, path: queues.db}
  - {name: dead, kind: queue.queue, driver: queues}
  - {name: python, kind: queue.queue, driver: queues, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: lua, kind: queue.queue, driver: queues, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: apart, kind: queue.queue, driver: queues, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: away, kind: queue.queue, driver: queues, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: threads, kind: queue.queue, driver: queues, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: answers, kind: queue.queue, driver: queues}
  - {name: add, kind: function.python, source: file://handlers.py, method: add}
  - {name: greet, kind: function.lua, source: file://greet.lua, method: greet}
  - {name: add.apart, kind: function.python, source: file://handlers.py, method: add, isolation: process}
  - {name: greet.apart, kind: function.lua, source: file://greet.lua, method: greet, isolation: process}
  - {name: apart.consumer, kind: queue.consumer, queue: apart, func: add.apart, lifecycle: {auto_start: true}}
  - {name: away.consumer, kind: queue.consumer, queue: away, func: greet.apart, lifecycle: {auto_start: true}}
  - {name: greet.threads, kind: function.lua, source: file://greet.lua, method: greet, pool: {workers: 2}}
  - {name: threads.consumer, kind: queue.consumer, queue: threads, func: greet.threads, lifecycle: {auto_start: true}}
  - {name: python.consumer, kind: queue.consumer, queue: python, func: add, lifecycle: {auto_start: true}}
  - {name: lua.consumer, kind: queue.consumer, queue: lua, func: greet, lifecycle: {auto_start: true}}
""",
    "handlers.py": """
import time
from pathlib import Path

def add(body):
    while body.get("wait") and not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
    if body.get("fail"):
        raise ValueError("no numbers")
    return {"sum": sum(body["numbers"])}
""",
    "greet.lua": """
local function greet(body)
    if body.fail then
        error(errors.new({message = "nobody to greet", kind = errors.NOT_FOUND, retryable = false}))
    end
    return {text = "hello " .. body.name, tags = {"a", "b"}, nested = {n = 1.5, ok = true}}
end
return {greet = greet}
""",
}


async def test_requests_between_processes(tmp_path: Path) -> None:
    projects.write(tmp_path, FILES)
    with start("run", ".", folder=tmp_path) as worker:
        await asyncio.to_thread(worker.wait_for, "running")
        async with App.load(tmp_path) as first, App.load(tmp_path) as second:
            assert await first.request("app:python", {"numbers": [1, 2, 3]}) == {"sum": 6}
            greeting = {"text": "hello you", "tags": ["a", "b"], "nested": {"n": 1.5, "ok": True}}
            assert await second.request("app:lua", {"name": "you"}) == greeting
            assert await first.request("app:apart", {"numbers": [2, 3]}) == {"sum": 5}
            for queue in ("app:away", "app:threads"):
                assert await first.request(queue, {"name": "you"}) == greeting
            asked = [app.request("app:python", {"numbers": [n, n]}) for n in range(25) for app in (first, second)]
            assert [result["sum"] for result in await asyncio.gather(*asked)] == [2 * (n // 2) for n in range(50)]
            with pytest.raises(HandlerError, match="ValueError: no numbers"):
                await first.request("app:python", {"fail": True})
            with pytest.raises(HandlerError, match="nobody to greet") as caught:
                await first.request("app:lua", {"fail": True})
            assert (caught.value.kind, caught.value.retryable) == ("NotFound", False)
            both = [
                app.request("app:python", {"numbers": [n]}, reply_to="app:answers")
                for n, app in enumerate((first, second))
            ]
            assert [result["sum"] for result in await asyncio.gather(*both)] == [0, 1]
        assert worker.process.poll() is None


ASKER = """
import asyncio, sys
from tasuki import App

async def main():
    async with App.load(sys.argv[1]) as app:
        await app.request("app:python", {"numbers": [1]})
        print("answered", flush=True)
        await app.request("app:answers", 0)  # which nobody handles

asyncio.run(main())
"""


def reply_queues(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM queues WHERE name LIKE 'reply.%'")]


def test_whoever_is_killed_while_waiting_leaves_no_reply_queue(tmp_path: Path) -> None:
    projects.write(tmp_path, FILES)
    with start("run", ".", folder=tmp_path) as worker:
        worker.wait_for("running")
        command = [sys.executable, "-c", ASKER, str(tmp_path)]
        with subprocess.Popen(command, cwd=tmp_path, env=environ(), stdout=subprocess.PIPE) as asker:
            assert asker.stdout is not None
            assert asker.stdout.readline() == b"answered\n"
            assert len(reply_queues(tmp_path / "queues.db")) == 1
            asker.kill()
        wait_until(lambda: not reply_queues(tmp_path / "queues.db"), "the reply queue to go")


LATE_ASKER = """
import asyncio, sys
from tasuki import App

async def main():
    async with App.load(sys.argv[1]) as app:
        asked = [asyncio.create_task(app.request("app:python", {"numbers": [n], "wait": True})) for n in range(3)]
        await asyncio.wait(asked)

asyncio.run(main())
"""


def test_replies_to_a_killed_process_make_no_queue(tmp_path: Path) -> None:
    """The handler answers when the reply queue is gone."""
    projects.write(tmp_path, FILES)
    database = tmp_path / "queues.db"
    with start("run", ".", folder=tmp_path) as worker:
        worker.wait_for("running")
        command = [sys.executable, "-c", LATE_ASKER, str(tmp_path)]
        with subprocess.Popen(command, cwd=tmp_path, env=environ()) as asker:
            wait_until(lambda: messages(database) == 3, "the requests")
            asker.kill()
        wait_until(lambda: not reply_queues(database), "the reply queue to go")
        (tmp_path / "go").touch()
        wait_until(lambda: messages(database) == 0, "the requests to be handled")
        assert reply_queues(database) == []


def messages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
