"""A function that sleeps within another one that runs elsewhere: the handler that called it ends, wherever it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.handlers.isolated import IsolatedPythonHandler
from tests.e2e.projects import write

pytestmark = pytest.mark.anyio

CODE = """
from pathlib import Path
from tasuki import Context

def note(folder, text):
    with (Path(folder) / "notes").open("a") as file:
        file.write(text + "\\n")

async def rest(folder: str, context: Context) -> str:
    try:
        await context.sleep(1.0)
    except Exception:
        note(folder, "an Exception in rest")
    return "rested"

async def handle(folder: str, context: Context) -> None:
    note(folder, "begins")
    try:
        note(folder, await context.call("rest", folder))
    except Exception as error:
        note(folder, f"an Exception: {error!r}")
    finally:
        note(folder, "ends")
"""
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver}
  - {name: rest, kind: function.python, source: file://code.py, method: rest, INNER}
  - {name: handle, kind: function.python, source: file://code.py, method: handle, OUTER}
  - {name: worker, kind: queue.consumer, queue: jobs, func: handle, lifecycle: {auto_start: true}}
"""
ELSEWHERE, HERE = "isolation: process", "meta: {}"


@pytest.mark.parametrize("inner", [HERE, ELSEWHERE], ids=["here", "elsewhere"])
@pytest.mark.parametrize("outer", [HERE, ELSEWHERE], ids=["from here", "from elsewhere"])
async def test_a_called_function_sleeps(outer: str, inner: str, tmp_path: Path) -> None:
    project = PROJECT.replace("INNER", inner).replace("OUTER", outer)
    write(tmp_path, {"_index.yaml": project, "code.py": CODE})
    app, notes = App.load(tmp_path), tmp_path / "notes"
    async with app.worker():
        await app.queue("app:jobs").publish(str(tmp_path))
        async with asyncio.timeout(30):
            while not notes.exists() or "rested" not in notes.read_text():
                await asyncio.sleep(0.01)
            while (await app.queue("app:jobs").info())["message_count"]:
                await asyncio.sleep(0.01)
            for handler in app._runtime.live().handlers.values():
                if isinstance(handler, IsolatedPythonHandler):
                    while any(worker.load for worker in handler._pool._workers):
                        await asyncio.sleep(0.01)
    lines = notes.read_text().splitlines()
    assert lines == ["begins", "ends", "begins", "rested", "ends"]
