"""Scripts that misbehave in many ways: a clear error, the message nacked, the worker alive."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.message import ATTEMPTS, DEAD_LETTER_REASON, LAST_ERROR

pytestmark = pytest.mark.anyio

# Name, the handler's code, and the text that its dead letter must have.
HOSTILE = [
    ("loops forever", "while true do end", ("longer than its 300ms", "hostile.lua:")),
    (
        "loops inside pcall",
        "while true do pcall(function() while true do end end) end",
        ("longer than its 300ms", "hostile.lua:"),
    ),
    ("recovers forever", "local function f() pcall(f) return f() end f()", ("longer than its 300ms",)),
    ("spends its instructions", "for i = 1, 1e12 do end", ("more than its 1000000 instructions", "hostile.lua:")),
    ("eats memory", "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end", ("memory",)),
    ("doubles a text", "local s = 'x' while true do s = s .. s end", ("memory",)),
    # The second time the stack of the first may not be collected yet: then it is the memory that does not suffice.
    ("recurses without end", "local function f(n) return 1 + f(n + 1) end f(1)", ("hostile.lua:4: ",)),
    ("raises nil", "error(nil)", ("nil",)),
    ("raises a table", "error({code = 7})", ("table value",)),
    (
        "raises a hostile table",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
        ("table value",),
    ),
    ("raises a function", "error(print)", ("function",)),
    ("raises a coroutine", "error(coroutine.create(function() end))", ("thread",)),
    ("returns a 30 MB error", "return nil, ('x'):rep(30 * 1024 * 1024)", ("xxxx",)),
    ("raises a 30 MB error", "error(('x'):rep(30 * 1024 * 1024))", ("hostile.lua:",)),
    (
        "publishes inside table.sort",
        "table.sort({3, 1, 2}, function(a, b) require('queue').publish('app:other', 1) return a < b end)",
        ("table.sort", "hostile.lua:"),
    ),
    (
        "matches a hopeless pattern",
        "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b') or error('no')",
        (),
    ),
    ("returns false", "return false", ("false",)),
    ("returns an error", "return nil, 'no such user'", ("no such user",)),
    ("calls what is not there", "process_task(body)", ("process_task", "hostile.lua:")),
]

SCRIPT = """
local function handler(body)
  if body.good then return true end
  {work}
end
return handler
"""


def project(folder: Path, url: str, work: str, instructions: int, time: str) -> App:
    (folder / "hostile.lua").write_text(SCRIPT.format(work=work))
    (folder / "_index.yaml").write_text(
        f"""
version: "1.0"
namespace: app
entries:
  - name: driver
    kind: queue.driver.{url}
  - name: tasks
    kind: queue.queue
    driver: driver
    dead_letter: {{queue: dead, max_attempts: 2}}
    retry: {{initial_delay: 10ms, jitter: 0}}
  - name: dead
    kind: queue.queue
    driver: driver
  - name: other
    kind: queue.queue
    driver: driver
  - name: handler
    kind: function.lua
    source: file://hostile.lua
    modules: [queue]
    limits: {{memory: 64MiB, time: {time}, instructions: {instructions}}}
  - name: consumer
    kind: queue.consumer
    queue: tasks
    func: handler
    concurrency: 4
    lifecycle: {{auto_start: true}}
"""
    )
    return App.load(folder)


@pytest.mark.parametrize("driver", ["memory", "sqlite"])
@pytest.mark.parametrize(("what", "work", "told"), HOSTILE, ids=[case[0] for case in HOSTILE])
async def test_a_hostile_script_costs_only_its_own_message(
    what: str, work: str, told: tuple[str, ...], driver: str, tmp_path: Path
) -> None:
    # What fills its memory gets the time to do so on a busy machine.
    limit = "30s" if "memory" in told or "MB" in what else "300ms"
    app = project(tmp_path, driver, work, 1_000_000 if "instructions" in what else 10**12, limit)
    async with app.worker(), asyncio.timeout(180):
        tasks = app.queue("tasks")
        await tasks.publish({"good": True})
        await tasks.publish({"good": False}, id="hostile")
        await tasks.publish({"good": True}, delay="20ms", publish_timeout=120)  # the script may hold up the loop by now
        assert app._runtime.assembly is not None
        await wait_until_empty(lambda: app._runtime.assembly)
        (dead,) = await app.queue("dead").peek()
        consumer = app._runtime.assembly.consumers["app:consumer"]
        assert consumer.metrics.acked == 2, "the good messages"
        assert consumer.metrics.dead_lettered == 1
        assert consumer.metrics.nacked == 1, "nacked once, dead-lettered at the second attempt"
    assert dead.id == "hostile"
    assert (dead.headers[DEAD_LETTER_REASON], dead.headers[ATTEMPTS]) == ("max_attempts", 2)
    error: Any = dead.headers.get(LAST_ERROR, "")
    assert 0 < len(error) <= 4096
    for part in told:
        assert part in error, f"{what}: {error[:300]}"
