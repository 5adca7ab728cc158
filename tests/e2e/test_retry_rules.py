"""Failures that are not worth another attempt, in both languages and isolations: YAML in, dead letters out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tests.e2e.projects import write

pytestmark = pytest.mark.anyio

FILES = {
    "_index.yaml": """
namespace: app
entries:
  - {name: memory, kind: queue.driver.memory}
  - {name: dead, kind: queue.queue, driver: memory}
  - name: tasks
    kind: queue.queue
    driver: memory
    dead_letter: {queue: dead, max_attempts: 2}
    retry: {initial_delay: 0, jitter: 0, never: [LookupError, NotFound]}
  - {name: lua, kind: function.lua, source: file://work.lua, modules: [errors], isolation: ISOLATION}
  - {name: python, kind: function.python, source: file://work.py, method: work, isolation: ISOLATION}
  - {name: consumer, kind: queue.consumer, queue: tasks, func: FLAVOUR, lifecycle: {auto_start: true}}
""",
    "work.lua": """
return function(body)
    if body == "text" then return nil, "a text" end
    if body == "false" then return false end
    if body == "final" then error(errors.new({message = "no", kind = errors.INVALID, retryable = false})) end
    if body == "returned" then return nil, errors.new({message = "no", retryable = false}) end
    if body == "kind" then error(errors.new({message = "no", kind = errors.NOT_FOUND})) end
    error("oops")
end
""",
    "work.py": """
from tasuki import Retry
from tasuki.errors import HandlerError

def work(body):
    if body == "false":
        return False
    if body == "final":
        raise HandlerError("no", kind="Invalid", retryable=False)
    if body == "name":
        raise KeyError("gone")
    if body == "again":
        raise Retry()
    raise ValueError("oops")
""",
}


AGAIN, FINAL = ("max_attempts", 2), ("not_retryable", 1)
WHY = {
    "lua": {"oops": AGAIN, "text": AGAIN, "false": AGAIN, "final": FINAL, "returned": FINAL, "kind": FINAL},
    "python": {"oops": AGAIN, "false": AGAIN, "again": AGAIN, "final": FINAL, "name": FINAL},
}


@pytest.mark.parametrize("isolation", ["shared", "process"])
@pytest.mark.parametrize("flavour", WHY)
async def test_why_and_after_how_many_attempts(tmp_path: Path, isolation: str, flavour: str) -> None:
    text = FILES["_index.yaml"].replace("FLAVOUR", flavour).replace("ISOLATION", isolation)
    async with App.load(write(tmp_path, {**FILES, "_index.yaml": text})).worker() as app:
        for body in WHY[flavour]:
            await app.publish("app:tasks", body, id=body)
        dead = app._runtime.queue("app:dead")
        while len(letters := await dead.peek()) < len(WHY[flavour]):
            await asyncio.sleep(0.005)
    found = {each.id: (each.headers["x_dead_letter_reason"], each.headers["attempts"]) for each in letters}
    assert found == WHY[flavour]
