"""Batches that a Lua function handles, in the worker, in threads and in processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.message import DEAD_LETTER_REASON

pytestmark = pytest.mark.anyio

SETTLES = """
local queue = require("queue")
return function(bodies)
  local whole, problem = queue.message()
  assert(whole == nil and problem:message() == "a batch has many messages: use queue.messages()")
  local messages = assert(queue.messages())
  assert(#messages == #bodies)
  for index, msg in ipairs(messages) do
    assert(msg:body() == bodies[index] and msg:header("n") == index and msg:attempt() == 1)
    if msg:body() == "bad" then
      assert(msg:reject("bad"))
      local again, settled = msg:ack()
      assert(again == nil and settled:message() == "queue.Message already settled")
    elseif msg:body() == "ack" then
      assert(msg:ack())
    end
  end
end
"""

RESULTS = """
return function(bodies)
  local results = {}
  for index, body in ipairs(bodies) do
    results[index] = body ~= "bad"
  end
  return results
end
"""

HOMES: list[dict[str, Any]] = [{}, {"pool": {"workers": 2}}, {"isolation": "process"}]


@pytest.mark.parametrize("home", HOMES, ids=["worker", "threads", "process"])
@pytest.mark.parametrize(("source", "reason"), [(SETTLES, "rejected"), (RESULTS, "max_attempts")])
async def test_each_message_ends_as_the_script_says(
    tmp_path: Path, home: dict[str, Any], source: str, reason: str
) -> None:
    app = App("memory://", root=tmp_path)
    words = app.queue("words", dead_letter={"queue": "words.dead", "max_attempts": 1})
    app.entry("handle", "function.lua", source=source, modules=["queue"], **home)
    app.entry("words.consumer", "queue.consumer", queue="words", func="handle", batch={"size": 3, "wait": "1m"},
              lifecycle={"auto_start": True})  # fmt: skip
    await app.start()
    for number, word in enumerate(("ack", "bad", "nothing"), 1):
        await words.publish(word, {"n": number})
    await wait_until_empty(lambda: app._runtime.assembly, lambda id: id == "app:words.consumer")
    dead = app._runtime.queue("app:words.dead")
    assert [(dead.decode(each), each.headers[DEAD_LETTER_REASON]) for each in await dead.peek(10)] == [("bad", reason)]
    await app.close(1)


@pytest.mark.parametrize("home", HOMES, ids=["worker", "threads", "process"])
async def test_an_error_object_fails_its_message(tmp_path: Path, home: dict[str, Any]) -> None:
    app = App("memory://", root=tmp_path)
    words = app.queue("words", dead_letter={"queue": "words.dead", "max_attempts": 9})
    source = 'return function() return { 1, errors.new({ message = "no", retryable = false }) } end'
    app.entry("handle", "function.lua", source=source, **home)
    app.entry("words.consumer", "queue.consumer", queue="words", func="handle", batch={"size": 2, "wait": "1m"},
              lifecycle={"auto_start": True})  # fmt: skip
    await app.start()
    await words.publish_many(["good", "bad"])
    await wait_until_empty(lambda: app._runtime.assembly, lambda id: id == "app:words.consumer")
    dead = app._runtime.queue("app:words.dead")
    assert [dead.decode(each) for each in await dead.peek(10)] == ["bad"]
    await app.close(1)
