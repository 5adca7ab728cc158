"""A batcher belongs to one event loop, until it is given to another one."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.errors import BrokerTimeoutError, LifecycleError
from tasuki.queues.batcher import Batcher
from tests.unit.queues.fake import FakeDriver, outgoing


def test_it_refuses_another_loop_until_it_moves_there() -> None:
    driver = FakeDriver()

    async def make() -> Batcher:
        return Batcher(driver, "tasks")

    async def use() -> None:
        with pytest.raises(LifecycleError, match="another event loop"):
            await batcher.publish(outgoing("a"), 1)
        batcher.use_running_loop()
        await batcher.publish(outgoing("b"), 1)

    batcher = asyncio.run(make())
    asyncio.run(use())
    assert driver.stored == ["b"]


def test_it_does_not_move_while_it_publishes() -> None:
    driver = FakeDriver()

    async def publish() -> Batcher:
        batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
        task = asyncio.create_task(batcher.publish(outgoing("a"), 1))
        await asyncio.sleep(0)
        with pytest.raises(LifecycleError, match="a publish of another event loop is under way"):
            await asyncio.to_thread(lambda: asyncio.run(move(batcher)))
        batcher.use_running_loop()  # it is here already
        driver.gate.set()
        await task
        return batcher

    async def move(batcher: Batcher) -> None:
        batcher.use_running_loop()

    asyncio.run(publish())
    assert driver.stored == ["a"]


def test_a_publish_has_an_end_also_after_a_loop_that_ended_early() -> None:
    driver = FakeDriver()

    async def once() -> Batcher:
        batcher = Batcher(driver, "tasks")
        await batcher.publish(outgoing("a"), 1)
        return batcher

    async def late() -> None:
        batcher.use_running_loop()
        driver.gate = asyncio.Event()
        async with asyncio.timeout(60):
            (result,) = await batcher.publish(outgoing("b"), 0.2)
        assert isinstance(result, BrokerTimeoutError)

    batcher = asyncio.run(once())
    asyncio.run(late())
