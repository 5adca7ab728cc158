from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.redis.waiting import Waiters, woken

pytestmark = pytest.mark.anyio


async def test_the_one_that_waited_longest_is_woken():
    waiters = Waiters()
    first, second, other = waiters.join(b"q"), waiters.join(b"q"), waiters.join(b"r")
    waiters.wake(b"q")
    assert [waiter.done() for waiter in (first, second, other)] == [True, False, False]
    waiters.wake(b"q")
    assert [waiter.done() for waiter in (first, second, other)] == [True, True, False]
    waiters.wake(b"q")
    waiters.wake(b"unknown")


async def test_who_has_left_or_was_cancelled_is_not_woken():
    waiters = Waiters()
    first, second, third = (waiters.join(b"q") for _ in range(3))
    waiters.leave(b"q", first)
    second.cancel()
    waiters.wake(b"q")
    assert not first.done()
    assert third.done()
    for waiter in (first, second, third):
        waiters.leave(b"q", waiter)


async def test_all_are_woken():
    waiters = Waiters()
    waiting = [waiters.join(channel) for channel in (b"q", b"q", b"r")]
    waiting[0].cancel()
    waiters.wake_all()
    assert all(waiter.done() for waiter in waiting)


async def test_a_wait_ends_by_itself():
    waiters = Waiters()
    async with asyncio.timeout(5):
        await woken(waiters.join(b"q"), 0.01)
        await woken(waiters.join(b"q"), -1.0)
