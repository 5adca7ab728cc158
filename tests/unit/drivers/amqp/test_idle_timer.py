"""Idle timer: calls back when no receive asks, and only then."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.amqp.receiving.subscription import IdleTimer
from tasuki.drivers.amqp.session import idle_after

pytestmark = pytest.mark.anyio


async def test_it_calls_back_once_and_again_only_after_a_receive() -> None:
    told = asyncio.Event()
    timer = IdleTimer(lambda: 0.02, told.set)
    for _ in range(2):
        timer.wanted()
        assert timer.is_on
        async with asyncio.timeout(5):
            await told.wait()
        assert not timer.is_on
        told.clear()


async def test_repeated_receives_keep_it_from_calling_back() -> None:
    told: list[float] = []
    loop = asyncio.get_running_loop()
    timer = IdleTimer(lambda: 0.2, lambda: told.append(loop.time()))
    asked = loop.time()
    for _ in range(30):
        timer.wanted()
        asked = loop.time()
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.01)
    assert told[0] >= asked + 0.19


@pytest.mark.parametrize(("queues", "seconds"), [(0, 0.5), (1, 0.5), (100, 0.5), (2000, 10.0)])
def test_a_process_with_thousands_of_queues_may_be_later_for_each(queues: int, seconds: float) -> None:
    assert idle_after(queues) == pytest.approx(seconds)


async def test_the_time_is_that_of_now() -> None:
    idle, told = [3600.0], asyncio.Event()
    timer = IdleTimer(lambda: idle[0], told.set)
    idle[0] = 0.01
    timer.wanted()
    async with asyncio.timeout(30):
        await told.wait()


async def test_paused_and_ended_it_is_still() -> None:
    told: list[int] = []
    timer = IdleTimer(lambda: 0.01, lambda: told.append(1))
    timer.wanted()
    timer.pause()
    assert not timer.is_on
    timer.wanted()
    timer.end()
    timer.wanted()
    assert not timer.is_on
    await asyncio.sleep(0.03)
    assert not told
