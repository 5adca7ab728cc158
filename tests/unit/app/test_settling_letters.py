"""Letters that a tool holds are settled, all of them, however often it is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Release
from tasuki.dead.peek_by_receive import settle_all
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_two_interrupts_leave_no_letter_held(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "capabilities", replace(MemoryDriver.capabilities, max_batch=10))
    app = make_app()
    jobs = app.queue("jobs")
    async with app:
        await jobs.publish_many(list(range(95)))
        queue = app._runtime.queue("jobs")
        held = [each for _ in range(10) for each in await queue.driver.receive("jobs", 10, 0)]
        assert len(held) == 95
        settle, begun = queue.driver.settle, asyncio.Event()

        async def slow(name: str, batch: Any) -> Any:
            begun.set()
            await asyncio.sleep(1)
            return await settle(name, batch)

        monkeypatch.setattr(queue.driver, "settle", slow)
        working = asyncio.create_task(settle_all(queue, [Release(each.receipt) for each in held]))
        await begun.wait()
        for _ in range(3):
            working.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await working
        depth = await jobs.depth()
        assert (depth.ready, depth.in_flight) == (95, 0)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_error_of_the_broker_is_raised_unless_it_was_interrupted(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    app = make_app()
    app.queue("jobs")
    async with app:
        queue = app._runtime.queue("jobs")

        async def fail(name: str, batch: Any) -> Any:
            await asyncio.sleep(1)
            raise BrokerUnavailableError("gone")

        monkeypatch.setattr(queue.driver, "settle", fail)
        working = asyncio.create_task(settle_all(queue, [Release(1)]))
        await asyncio.sleep(0.1)
        if is_cancelled:
            working.cancel()
        with pytest.raises(asyncio.CancelledError if is_cancelled else BrokerUnavailableError):
            await working
