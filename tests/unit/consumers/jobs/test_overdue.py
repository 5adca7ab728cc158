"""How often a consumer looks for handlers that run too long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from tasuki.consumers.handling.pool import Worker
from tasuki.consumers.jobs.timeouts import Timeouts
from tasuki.observe.events import EventRing

pytestmark = pytest.mark.anyio


async def test_a_limit_of_milliseconds_makes_no_more_sweeps() -> None:
    sweeps = 0

    def overdue() -> Iterable[Worker]:
        nonlocal sweeps
        sweeps += 1
        return ()

    async with asyncio.TaskGroup() as group:
        timeouts = Timeouts(overdue, EventRing(lambda: 0.0), lambda work: tasks.append(group.create_task(work)))
        tasks: list[asyncio.Task[None]] = []
        for limit in (None, 0.01, 0.001, 60.0):
            timeouts.keep(limit)
        await asyncio.sleep(10.05)
        (task,) = tasks
        task.cancel()
    assert sweeps == 100
