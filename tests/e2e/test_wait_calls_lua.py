"""A script that calls a function which sleeps: it ends, wherever they run, and comes again after the sleep."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.handler import Handler
from tasuki.handlers.isolated import IsolatedPythonHandler
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler
from tasuki.handlers.lua.remote.shared import ThreadedLuaHandler
from tests.e2e.projects import write

pytestmark = pytest.mark.anyio

PYTHON = """
from pathlib import Path
from tasuki import Context

def note(body: list[str]) -> None:
    folder, text = body
    with (Path(folder) / "notes").open("a") as file:
        file.write(text + "\\n")

async def rest(folder: str, context: Context) -> str:
    await context.sleep(1.0)
    return "rested"
"""
LUA = """
local context, funcs = require("context"), require("funcs")

local function note(folder, text)
  local _, err = funcs.call("app:note", { folder, text })
  assert(not err, tostring(err))
end

local function rest_in_lua(folder)
  context.sleep("1s")
  return "rested"
end

local function handle(folder)
  note(folder, "begins")
  local went_on, value, err = pcall(funcs.call, "app:REST", folder)
  note(folder, string.format("%s %s %s", went_on, value, err))
  return true
end

return { handle = handle, rest_in_lua = rest_in_lua }
"""
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver}
  - {name: note, kind: function.python, source: file://code.py, method: note}
  - {name: rest, kind: function.python, source: file://code.py, method: rest, INNER}
  - {name: rest_in_lua, kind: function.lua, source: file://code.lua, method: rest_in_lua, modules: [context, funcs],
     INNER}
  - {name: handle, kind: function.lua, source: file://code.lua, method: handle, modules: [context, funcs], OUTER}
  - {name: worker, kind: queue.consumer, queue: jobs, func: handle, lifecycle: {auto_start: true}}
"""
HERE, PROCESS, THREADS = "meta: {}", "isolation: process", "pool: {workers: 2}"


def under_way(handler: Handler) -> int:
    """Calls that the processes or threads of a handler still have."""
    if isinstance(handler, IsolatedLuaHandler | IsolatedPythonHandler):
        return sum(worker.load for worker in handler._pool._workers)
    return sum(thread.load for thread in handler._threads) if isinstance(handler, ThreadedLuaHandler) else 0


@pytest.mark.parametrize("outer", [HERE, PROCESS, THREADS])
@pytest.mark.parametrize(
    ("inner", "rest"),
    [(HERE, "rest"), (PROCESS, "rest"), (HERE, "rest_in_lua"), (PROCESS, "rest_in_lua"), (THREADS, "rest_in_lua")],
)
async def test_a_script_calls_a_function_that_sleeps(outer: str, inner: str, rest: str, tmp_path: Path) -> None:
    project = PROJECT.replace("OUTER", outer).replace("INNER", inner if inner != THREADS else HERE, 1)
    project = project.replace("INNER", inner)
    write(tmp_path, {"_index.yaml": project, "code.py": PYTHON, "code.lua": LUA.replace("REST", rest)})
    app, notes = App.load(tmp_path), tmp_path / "notes"
    async with app.worker():
        await app.queue("app:jobs").publish(str(tmp_path))
        async with asyncio.timeout(60):
            while not notes.exists() or "rested" not in notes.read_text():
                await asyncio.sleep(0.01)
            while (await app.queue("app:jobs").info())["message_count"]:
                await asyncio.sleep(0.01)
            while any(under_way(handler) for handler in app._runtime.live().handlers.values()):
                await asyncio.sleep(0.01)
    assert notes.read_text().splitlines() == ["begins", "begins", "true rested nil"]
