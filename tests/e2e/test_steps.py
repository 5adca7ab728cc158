"""Steps of plain functions, in threads and in their own processes; and in the test of a handler alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import HandlerError
from tasuki.testing import RecordingContext
from tests.e2e.projects import write

pytestmark = pytest.mark.anyio

PLAIN = """
from pathlib import Path
from tasuki import Context

def effect(folder, name):
    with (Path(folder) / "effects").open("a") as file:
        file.write(name + "\\n")
    return {"name": name, "raw": b"x"}

def handle(body: str, context: Context) -> None:
    for name in ("one", "two"):
        assert context.sync.step(name, effect, body, name=name) == {"name": name, "raw": b"x"}
        if context.attempt == 1 and name == "one":
            raise ValueError("boom")
    try:
        context.step("three", effect, body, "three")
    except Exception as error:
        effect(body, str(error))
    try:
        context.sync.step("four", lambda: (1, 2))
    except Exception as error:
        effect(body, f"{error.kind}: {error}")
    effect(body, "end")
"""
ASYNC = (
    PLAIN.replace("def handle", "async def handle")
    .replace("context.sync.step", "await context.step")
    .replace('context.step("three"', 'context.sync.step("three"')
)

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver, retry: {initial_delay: 10ms}}
  - {name: handle, kind: function.python, source: file://handler.py, method: handle, ISOLATION}
  - {name: worker, kind: queue.consumer, queue: jobs, func: handle, lifecycle: {auto_start: true}}
"""


@pytest.mark.parametrize("isolation", ["none", "process"])
@pytest.mark.parametrize("handler", [PLAIN, ASYNC], ids=["plain", "async"])
async def test_steps_of_a_function_elsewhere(handler: str, isolation: str, tmp_path: Path) -> None:
    option = "isolation: process" if isolation == "process" else "meta: {}"
    write(tmp_path, {"_index.yaml": PROJECT.replace("ISOLATION", option), "handler.py": handler})
    app, effects = App.load(tmp_path), tmp_path / "effects"
    async with app.worker():
        await app.queue("app:jobs").publish(str(tmp_path))
        async with asyncio.timeout(30):
            while not effects.exists() or "end" not in effects.read_text().splitlines():
                await asyncio.sleep(0.01)
    one, two, misplaced, refused, end = effects.read_text().splitlines()
    assert (one, two, end) == ("one", "two", "end")
    assert "context.sync.step('three'" in misplaced or "await context.step('three'" in misplaced
    assert refused.startswith("Invalid: step 'four': its result cannot be recorded: a value of type tuple cannot be")


async def test_a_test_of_a_handler_gives_and_sees_steps() -> None:
    from tasuki.message import Message

    context = RecordingContext(Message("1", b"", {}))
    context.steps["one"] = 1
    assert await context.step("one", int) == 1
    assert await context.step("two", int, "2") == 2
    assert context.steps == {"one": 1, "two": 2}
    with pytest.raises(HandlerError, match="step 'two' is used twice"):
        await context.step("two", int)
    with pytest.raises(HandlerError, match="no delivery found"):
        await RecordingContext().step("one", int)
