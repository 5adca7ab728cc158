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


async def dead_letter_of(folder: Path, flavour: str, isolation: str, body: str) -> tuple[str, int]:
    """The reason for which the message was given up, and after how many attempts."""
    text = FILES["_index.yaml"].replace("FLAVOUR", flavour).replace("ISOLATION", isolation)
    async with App.load(write(folder, {**FILES, "_index.yaml": text})).worker() as app:
        await app.publish("app:tasks", body)
        dead = app._runtime.queue("app:dead")
        while not (letters := await dead.peek()):
            await asyncio.sleep(0.005)
        headers = letters[0].headers
        return str(headers["x_dead_letter_reason"]), int(headers["attempts"])


@pytest.mark.parametrize("isolation", ["shared", "process"])
@pytest.mark.parametrize(
    ("flavour", "body", "reason", "attempts"),
    [
        ("lua", "oops", "max_attempts", 2),
        ("lua", "text", "max_attempts", 2),
        ("lua", "false", "max_attempts", 2),
        ("lua", "final", "not_retryable", 1),
        ("lua", "returned", "not_retryable", 1),
        ("lua", "kind", "not_retryable", 1),
        ("python", "oops", "max_attempts", 2),
        ("python", "false", "max_attempts", 2),
        ("python", "again", "max_attempts", 2),
        ("python", "final", "not_retryable", 1),
        ("python", "name", "not_retryable", 1),
    ],
)
async def test_why_and_after_how_many_attempts(
    tmp_path: Path, isolation: str, flavour: str, body: str, reason: str, attempts: int
) -> None:
    assert await dead_letter_of(tmp_path, flavour, isolation, body) == (reason, attempts)
