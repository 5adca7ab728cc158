"""When a handler without a limit has run for too long, as its worker says it: in its entry, its health and a metric."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App
from tasuki.consumers.reports.snapshot import FACTOR, LEAST, Describer, bound_of
from tasuki.observe.metrics import Histogram

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True

MakeApp = Callable[..., App]


def test_a_run_is_long_above_ten_times_the_usual_and_five_minutes() -> None:
    runs = Histogram()
    assert bound_of(runs) == LEAST == 300.0, "no run has ended yet"
    for _ in range(100):
        runs.observe(0.05)
    assert bound_of(runs) == LEAST
    for _ in range(10_000):
        runs.observe(59.0)
    assert FACTOR * 50 < bound_of(runs) <= FACTOR * 60


async def marked(app: App) -> tuple[list[float], list[dict[str, Any]], float]:
    """The bounds in the entry, the warnings of health, and the metric."""
    consumers = list(app._runtime.live().consumers.values())
    entry = Describer("1", app._runtime.clock)(consumers, app._runtime.clock.time())
    bounds = [message.bound for consumer in entry.consumers for message in consumer.messages]
    warnings = [check for check in app.health.report().as_dict()["checks"] if check["status"] == "warning"]
    return bounds, warnings, app.metrics.snapshot()["consumers"]["app:handle.consumer"]["running_long"]


@pytest.mark.parametrize(("limit", "is_told"), [({}, True), ({"handler_timeout": "1h"}, False)])
async def test_a_handler_without_a_limit_that_runs_for_long_is_told_of(
    make_app: MakeApp, limit: dict[str, Any], is_told: bool
) -> None:
    app, ends = make_app(), asyncio.Event()
    tasks = app.queue("tasks")

    @tasks.consumer(**limit)
    async def handle(body: Any) -> None:
        if body == "long":
            await ends.wait()

    async with app.worker():
        job = await app.publish("tasks", "long")
        await asyncio.sleep(LEAST - 1)
        assert await marked(app) == ([0.0], [], 0)
        await asyncio.sleep(2)
        bounds, warnings, count = await marked(app)
        assert (bounds, count) == (([LEAST], 1) if is_told else ([0.0], 0))
        texts = [check["text"] for check in warnings]
        said = f"handler app:handle has run for 5m1s (message {job.id}), expected at most 5m; it has no handler_timeout"
        assert texts == ([said] if is_told else [])
        ends.set()
        await asyncio.sleep(1)
        assert await marked(app) == ([], [], 0)
