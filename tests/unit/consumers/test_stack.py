"""Where a task stands."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tasuki.consumers.handling.stack import stack_of

pytestmark = pytest.mark.anyio


def names(task: asyncio.Task[Any], here: Any = None) -> list[str]:
    return [frame.name for frame in stack_of(task, here)]


async def test_one_that_waits_stands_where_it_waits() -> None:
    over = asyncio.Event()

    async def work() -> None:
        await handle()

    async def handle() -> None:
        await over.wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    assert names(task) == names(task, sys._getframe()) == ["work", "handle", "wait"]
    over.set()
    await task
    assert names(task) == []


async def test_one_that_computes_stands_in_what_it_called() -> None:
    """As QUIT finds it when a handler holds up the loop."""
    found: list[list[str]] = []

    async def work() -> None:
        await handle()

    async def handle() -> None:
        compute()

    def compute() -> None:
        found.append(names(task, sys._getframe()))
        found.append(names(task))

    task = asyncio.create_task(work())
    await task
    assert found == [["work", "handle", "compute"], ["work"]]
