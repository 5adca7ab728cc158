"""Unique messages of an app: from queues, tasks, sync code, handlers and requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.handler import Context
from tasuki.errors import PublishError
from tasuki.testing import TestApp
from tests.unit.app.doubling import Make, double

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True

LUA = """
version: "1.0"
namespace: app
entries:
  - {name: d, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: d}
  - {name: next, kind: queue.queue, driver: d}
  - name: forward
    kind: function.lua
    modules: [queue]
    source: |
      local queue = require("queue")
      return function(body)
        return queue.publish("app:next", body, nil, {unique = "k", unique_for = "running", on_conflict = "replace"})
      end
  - {name: consumer, kind: queue.consumer, queue: tasks, func: forward, lifecycle: {auto_start: true}}
"""


async def test_queues_and_tasks_take_the_options() -> None:
    app = App("memory://")
    jobs = app.queue("jobs", unique={"key": "header.tenant", "for": "running"})
    tasks = app.queue("tasks")

    @tasks.task
    def send(url: str) -> None: ...

    async with app:
        told = [await jobs.publish(1, {"tenant": "a"}), await app.publish("jobs", 2, {"tenant": "a"})]
        assert [each.outcome for each in told] == ["stored", "kept"]
        once = send.with_options(unique="mail", on_conflict="replace")
        told = [await once.publish("a"), await once.publish("b")]
        assert [each.outcome for each in told] == ["stored", "replaced"]
        many = await tasks.publish_many([once.message("c"), once.message("d")])
        assert [getattr(each, "outcome", None) for each in many] == ["replaced", "replaced"]
        assert (await tasks.depth()).ready == 1


def test_code_without_an_event_loop() -> None:
    app = App("memory://")
    app.queue("jobs")
    try:
        told = [app.sync.publish("jobs", number, unique="k", unique_for="10m") for number in range(2)]
        assert [each.outcome for each in told] == ["stored", "kept"]
        assert told[0].id == told[1].id
    finally:
        app.sync.close()


async def test_a_debounced_message_runs_once_with_the_last_body() -> None:
    app = App("memory://")
    jobs, done = app.queue("jobs"), []

    @jobs.consumer
    async def index(body: int) -> None:
        done.append(body)

    async with TestApp(app) as test:
        for number in range(5):
            await jobs.publish(number, unique="page-7", on_conflict="extend", delay="5s")
            await test.advance(3)
        assert done == []
        await test.advance(3)
        assert done == [4]


async def test_a_handler_gets_the_id_that_counts() -> None:
    app = App("memory://")
    jobs, ids = app.queue("jobs"), []
    app.queue("next")

    @jobs.consumer
    async def forward(body: Any, context: Context) -> None:
        ids.append(await context.publish("next", body, unique="k"))

    async with TestApp(app) as test:
        await jobs.publish_many([1, 2])
        await test.drain()
    assert len(set(ids)) == 1


async def test_a_request_that_another_message_is_kept_for_has_no_reply(make_app: Make) -> None:
    app = make_app()
    double(app, unique={"key": "header.tenant", "for": "10m"})
    async with app.worker():
        assert await app.request("tasks", 21, {"tenant": "a"}) == 42
        with pytest.raises(PublishError, match="has the unique key of this request and was kept, so there will be no"):
            await app.request("tasks", 21, {"tenant": "a"})


async def test_lua_gives_the_same_options(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(LUA)
    app = App.load(tmp_path)
    async with TestApp(app) as test:
        await app.publish("tasks", "first")
        await test.drain()
        await app.publish("tasks", "second")
        await test.drain()
        (waiting,) = await app._runtime.queue("next").peek()
        assert waiting.body == b'"second"'
