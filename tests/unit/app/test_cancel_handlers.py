"""Cancel handlers of each kind, in real time: plain functions, scripts; and from sync code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tasuki import App, Context, Interrupted
from tasuki.contracts.state.jobs import Cancellation

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make_app(tmp_path: Path) -> AsyncIterator[Callable[[], App]]:
    """In real time, closed at the end."""
    apps: list[App] = []

    def make() -> App:
        apps.append(App("memory://", root=tmp_path))
        return apps[-1]

    yield make
    for app in apps:
        await app.close(0)


async def test_a_plain_handler_is_interrupted_in_its_thread(make_app: Callable[..., App]) -> None:
    app, started, ended = make_app(), threading.Event(), []

    @app.queue("jobs").consumer
    def work(body: int, context: Context) -> None:
        started.set()
        try:
            while True:
                pass
        except Interrupted:
            ended.append(context.cancelled)
            raise

    async with app.worker():
        await app.queue("jobs").publish(1, id="a")
        assert await asyncio.to_thread(started.wait, 30)
        assert await app.jobs.cancel("a", queue="jobs") == "running"
        await empty(app, "jobs")
    assert ended == [True]


def test_from_sync_code(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    app.queue("jobs")
    try:
        app.sync.publish("jobs", 1, id="a", delay="1h")
        assert app.sync.jobs.cancel("a", queue="jobs") == "waiting"
        assert app.sync.jobs.cancel_many(["a", "b"], queue="jobs") == Cancellation(not_found=2)
    finally:
        app.sync.close()


LUA = """
local queue = require("queue")
return function(body)
  if body == "wait" then
    local time = require("time")
    time.sleep("1h")
  end
  local outcome, err = queue.cancel("later", body)
  return { outcome = outcome, err = err and err:message(), cancelled = queue.cancelled() }
end
"""


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_a_script_cancels_and_is_cancelled(make_app: Callable[..., App], isolation: str) -> None:
    app = make_app()
    app.queue("later")
    app.entry("script", "function.lua", {"source": LUA, "modules": ["queue", "time"], "isolation": isolation})
    app.queue("jobs")
    app.entry("scripts", "queue.consumer", queue="jobs", func="script", lifecycle={"auto_start": True})
    async with app.worker():
        await app.publish("later", 1, id="a", delay="1h")
        assert await app.request("jobs", "a") == {"outcome": "waiting", "cancelled": False}
        assert (await app.request("jobs", ""))["err"] == "message ID required"
        await app.publish("jobs", "wait", id="w")
        while (await app.queue("jobs").info())["in_flight"] != 1:
            await asyncio.sleep(0.01)
        assert await app.jobs.cancel("w", queue="jobs") == "running"
        await empty(app, "jobs")


async def empty(app: App, queue: str) -> None:
    while (await app.queue(queue).info())["message_count"]:
        await asyncio.sleep(0.01)


async def test_results_and_progress_of_plain_functions_and_scripts(make_app: Callable[[], App]) -> None:
    app = make_app()
    jobs, scripts = app.queue("jobs", result="1h"), app.queue("scripts", result="1h")

    @jobs.consumer
    def work(body: int, context: Context) -> int:
        context.progress(body, 10)
        return body * 2

    source = "local queue = require('queue') return function(body) queue.progress(body) return { twice = body * 2 } end"
    for isolation in ("shared", "process"):
        app.entry(isolation, "function.lua", {"source": source, "modules": ["queue"], "isolation": isolation})
    app.entry("run", "queue.consumer", queue="scripts", func="process", lifecycle={"auto_start": True})
    other = app.queue("others", result="1h")
    app.entry("run_others", "queue.consumer", queue="others", func="shared", lifecycle={"auto_start": True})
    async with app.worker():
        for queue, expected in ((jobs, 8), (scripts, {"twice": 8}), (other, {"twice": 8})):
            job = await queue.publish(4)
            assert await job.result() == expected
            progress = await job.progress()
            assert progress is not None
            assert progress.done == 4
