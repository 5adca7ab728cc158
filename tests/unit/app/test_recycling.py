"""When a process ends in order: the limits, and the messages that count."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from tasuki import App
from tasuki.app.lifecycle.running import recycle
from tasuki.contracts.recycling import Limits
from tasuki.system.process import resident_bytes

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]
MIB = 2**20


def never() -> int:
    raise AssertionError("memory is asked for only where it is limited")


@pytest.mark.parametrize(
    ("limits", "messages", "age", "why"),
    [
        (Limits(), 10**9, 1e9, ""),
        (Limits(messages=3), 2, 0, ""),
        (Limits(messages=3), 3, 0, "it has handled 3 messages (at most 3)"),
        (Limits(age=60), 0, 59, ""),
        (Limits(age=60), 0, 60, "it has run for 1m (at most about 1m)"),
        (Limits(memory=64 * MIB), 0, 0, "it holds 100 MiB of memory (at most 64MiB)"),
        (Limits(memory=128 * MIB), 0, 0, ""),
    ],
)
def test_the_first_limit_that_is_reached_says_so(limits: Limits, messages: int, age: float, why: str) -> None:
    memory = never if limits.memory is None else lambda: 100 * MIB
    assert limits.reached(messages, memory, age) == why
    assert bool(limits) == (limits != Limits())


def test_processes_that_start_together_do_not_all_end_together() -> None:
    assert [Limits(age=100).spread(share).age for share in (0, 0.5, 1)] == [100, 95, 90]
    assert Limits(messages=5).spread(1) == Limits(messages=5)


async def test_what_a_replaced_consumer_has_handled_counts(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("tasks")

    @queue.consumer
    async def handle(body: int) -> None: ...

    async with app.worker():
        app._runtime.stop_requested = asyncio.Event()
        running = asyncio.create_task(recycle(app._runtime, Limits(messages=3), never))
        await queue.publish_many([1, 2])
        await asyncio.sleep(5)
        app._runtime.overrides.append("app:handle.consumer:concurrency=4")
        assert await app.reload()
        await queue.publish(3)
        assert await running == "it has handled 3 messages (at most 3)"


async def test_age_and_memory(make_app: Make) -> None:
    app = make_app()
    async with app.worker():
        app._runtime.stop_requested = asyncio.Event()
        started = app._runtime.clock.monotonic()
        assert await recycle(app._runtime, Limits(age=100), never) == "it has run for 1m30s (at most about 1m40s)" or (
            90 <= app._runtime.clock.monotonic() - started <= 101
        )
        assert (await recycle(app._runtime, Limits(memory=MIB), lambda: 2 * MIB)).startswith("it holds 2 MiB")


def test_the_memory_of_a_process() -> None:
    assert resident_bytes() > 5 * MIB
    assert resident_bytes(os.getppid()) >= 0
    assert resident_bytes(2**30) == 0
