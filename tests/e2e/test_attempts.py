"""Failed attempts: recorded through each driver with a store, from each kind of handler, as each reader shows them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.errors import UnsupportedError
from tasuki.queues.dead.letter import Letter
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

PYTHON = """\
import asyncio


def charge(body):
    raise ConnectionError(f"postgres://me:hunter2@db refused {body}")


async def coroutine(body):
    charge(body)


def thread(body):
    charge(body)


async def batch(bodies):
    return [ConnectionError(f"postgres://me:hunter2@db refused {each}") for each in bodies]
"""
LUA = """\
local function charge(body)
  error("postgres://me:hunter2@db refused " .. tostring(body))
end
return function(body)
  charge(body)
end
"""
KINDS = {
    "coroutine": "function.python, source: file://handlers.py, method: coroutine",
    "thread": "function.python, source: file://handlers.py, method: thread",
    "isolated": "function.python, source: file://handlers.py, method: coroutine, isolation: process",
    "batch": "function.python, source: file://handlers.py, method: batch",
    "lua": "function.lua, source: file://charge.lua",
    "lua_isolated": "function.lua, source: file://charge.lua, isolation: process",
}
PLACES = {
    "coroutine": "handlers.py:charge",
    "thread": "handlers.py:charge",
    "isolated": "handlers.py:charge",
    "batch": "",
    "lua": "charge.lua:charge",
    "lua_isolated": "charge.lua:charge",
}


def project(folder: Path, driver: str) -> App:
    id = uuid4().hex[:8]
    entries = ["{name: driver, kind: queue.driver.memory}"]
    entries.append(f"{{name: dead, kind: queue.queue, driver: driver, queue_name: dead_{id}}}")
    for name, kind in KINDS.items():
        entries.append(f"{{name: {name}_func, kind: {kind}}}")
        entries.append(
            f"{{name: {name}, kind: queue.queue, driver: driver, queue_name: {name}_{id}, "
            "dead_letter: {queue: dead, max_attempts: 2}, retry: {initial_delay: 10ms}}"
        )
        size = ", batch: {size: 10}" if name == "batch" else ""
        entries.append(
            f"{{name: {name}_consumer, kind: queue.consumer, queue: {name}, func: {name}_func, "
            f"lifecycle: {{auto_start: true}}{size}}}"
        )
    lines = "\n".join(f"  - {entry}" for entry in entries)
    (folder / "_index.yaml").write_text(f'version: "1.0"\nnamespace: app\nentries:\n{lines}\n')
    (folder / "handlers.py").write_text(PYTHON)
    (folder / "charge.lua").write_text(LUA)
    return App.load(folder, overrides=overrides(driver, "app:driver", folder))


async def letters(app: App, count: int) -> list[Letter]:
    async with asyncio.timeout(60):
        while len(found := (await app.dead.letters("dead")).letters) < count:
            await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize("driver", [each for each in DRIVERS if each not in ("amqp", "sqs")])
async def test_each_handler_on_each_driver(driver: str, tmp_path: Path) -> None:
    async with project(tmp_path, driver).worker() as app:
        ids = {name: (await app.publish(name, 7)).id for name in KINDS}
        found = {letter.id: letter for letter in await letters(app, len(KINDS))}
        for name, id in ids.items():
            records = found[id].attempt_records
            assert [each.attempt for each in records] == [1, 2], name
            for each in records:
                assert each.place == PLACES[name], name
                assert "postgres://me:***@db refused 7" in each.message, name
                assert "hunter2" not in each.traceback + each.message, name
                assert ("charge" in each.traceback) is (name != "batch"), (name, each.traceback)
                assert each.worker
            async with asyncio.timeout(10):
                while await app.jobs.attempts(name, id) != records:
                    await asyncio.sleep(0.05)
            explained = await app.jobs.explain(name, id)
            assert "attempt 2 failed" in explained.causes[0].text
        for name in (*KINDS, "dead"):
            await app._runtime.queue(f"app:{name}").delete()


async def test_a_queue_without_a_store_says_so(tmp_path: Path) -> None:
    app = App("amqp://guest:guest@127.0.0.1:1/")
    app.queue("mails")
    with pytest.raises(UnsupportedError, match=r"'app:mails' keeps no records of failed attempts.*state"):
        async with app:
            await app.jobs.attempts("mails", "1")
