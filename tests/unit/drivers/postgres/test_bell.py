"""Rings wake those that wait, also when they come between looking and waiting."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.postgres.bell import Bell

pytestmark = pytest.mark.anyio


async def test_a_ring_wakes_all_that_wait_on_its_queue() -> None:
    bell = Bell()
    mine = [asyncio.create_task(bell.wait("q", bell.count("q"), 60.0)) for _ in range(3)]
    other = asyncio.create_task(bell.wait("other", bell.count("other"), 60.0))
    await asyncio.sleep(0)
    bell.ring("q")
    await asyncio.wait_for(asyncio.gather(*mine), 5.0)
    assert not other.done()
    bell.ring_all()
    await asyncio.wait_for(other, 5.0)


async def test_a_ring_between_looking_and_waiting_is_not_missed() -> None:
    bell = Bell()
    count = bell.count("q")
    bell.ring("q")
    await asyncio.wait_for(bell.wait("q", count, 60.0), 5.0)


async def test_a_wait_ends_by_itself_and_leaves_nothing() -> None:
    bell = Bell()
    await bell.wait("q", bell.count("q"), 0.0)
    await bell.wait("q", bell.count("q"), -1.0)
    waiting = asyncio.create_task(bell.wait("q", bell.count("q"), 60.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not bell._waiting["q"]
    bell.ring("q")
