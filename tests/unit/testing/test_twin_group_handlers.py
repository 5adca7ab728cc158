"""Groups that handlers publish, in a twin: days take no time, and faults change nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


def site() -> tuple[App, Any, list[Any]]:
    """An app, its task that publishes a group, and the list of its effects."""
    app, done = App("memory://"), list[Any]()
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 3})
    app.queue("dead")

    @jobs.task
    async def part(context: Context, days: float) -> float:
        await context.sleep(timedelta(days=days))
        return days

    @jobs.task
    async def end(what: list[float], unit: str) -> None:
        done.append((what, unit))

    @jobs.task
    async def split(context: Context, count: int) -> None:
        await context.group([part.message(number) for number in range(count)], then=end.filled("d"), name="parts")
        done.append(f"attempt {context.attempt}")
        if context.attempt == 1:
            raise ValueError("boom")

    @jobs.task
    def plain(context: Context, count: int) -> None:
        context.sync.group([part.message(number) for number in range(count)], then=end.filled("d"), name="parts")

    return app, {"split": split, "plain": plain}, done


async def test_a_group_of_a_handler_takes_days() -> None:
    app, tasks, done = site()
    async with TestApp(app) as t:
        await tasks["split"].publish(4)
        await t.advance("2d")
        assert done == ["attempt 1", "attempt 2"]
        await t.advance("2d")
        assert done == ["attempt 1", "attempt 2", ([0, 1, 2, 3], "d")]


def test_a_group_of_a_plain_handler_without_a_loop() -> None:
    app, tasks, done = site()
    with TestApp(app) as t:
        tasks["plain"].send(2)
        t.sync.advance("2d")
    assert done == [([0, 1], "d")]


async def test_one_run_of_a_handler_publishes_it() -> None:
    app, tasks, done = site()
    async with TestApp(app) as t:
        with pytest.raises(ValueError, match="boom"):
            await t.run(tasks["split"], 2)
        await t.advance("2d")
        assert done == ["attempt 1", ([0, 1], "d")]
