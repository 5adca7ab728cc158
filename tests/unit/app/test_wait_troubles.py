"""Sleeps and waits beside the other features: task groups, transactions, groups of messages, keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App, Context
from tests.unit.app.test_steps import until

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_a_sleep_in_a_task_group_ends_the_handler(make_app: Callable[..., App]) -> None:
    app, ends = make_app(), list[Any]()
    app.queue("dead")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        async with asyncio.TaskGroup() as outer:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(context.sleep("3m"))
            if body:
                outer.create_task(context.wait_for("go", body, "1m", default=None))
        if body:
            ends.append(context.attempt)

    async with app.worker():
        await jobs.publish(1)
        await until(lambda: ends == [1])


async def test_a_failure_beside_a_sleep_in_a_task_group_is_a_failure(make_app: Callable[..., App]) -> None:
    app = make_app()
    dead = app.queue("dead")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})

    async def fail() -> None:
        raise ValueError("boom")

    @jobs.consumer
    async def work(body: int, context: Context) -> None:
        results = await asyncio.gather(context.sleep("3m"), fail(), return_exceptions=True)
        raise BaseExceptionGroup("both", [each for each in results if each is not None])

    async with app.worker():
        await jobs.publish(1)
        async with asyncio.timeout(60):
            while not (await dead.info())["message_count"]:
                await asyncio.sleep(1)
