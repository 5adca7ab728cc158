"""Shared workers over arbitrary pools and arrivals: never more than the limit, all handled, no consumer passed over."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasuki.consumers.handling.pool import PoolWorker
from tasuki.consumers.handling.shared import Share, SharedPool, SharedWorkers
from tasuki.contracts.driver import Received
from tasuki.testing.clock import FakeClock


class Item:
    """Stands for a delivery."""

    def __init__(self, pool: int) -> None:
        self.pool = pool
        self.received = Received("", b"", {}, "")


class Pools:
    """Pools of (concurrency, weight), and what they start."""

    def __init__(self, most: int, pools: list[tuple[int, int]]) -> None:
        self.workers = SharedWorkers(most)
        self.most = most
        self.limits = [concurrency for concurrency, _ in pools]
        self.running: list[tuple[int, asyncio.Future[None]]] = []
        self.started: list[int] = []
        self.pools = [
            SharedPool(
                Share(self.workers, weight=weight),
                str(number),
                concurrency,
                self.execute,
                lambda: None,
                monotonic=FakeClock().monotonic,
            )
            for number, (concurrency, weight) in enumerate(pools)
        ]

    async def execute(self, item: Any, worker: PoolWorker) -> None:
        done = asyncio.get_running_loop().create_future()
        self.running.append((item.pool, done))
        self.started.append(item.pool)
        self.check()
        await done

    def check(self) -> None:
        busy = [pool for pool, _ in self.running]
        assert len(busy) <= self.most
        assert all(busy.count(number) <= limit for number, limit in enumerate(self.limits))

    async def quiet(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)
        assert len(self.running) == self.workers.running

    async def arrive(self, number: int, count: int) -> None:
        items: list[Any] = [Item(number) for _ in range(count)]
        self.pools[number].offer(items)
        await self.quiet()

    async def end(self, which: int) -> None:
        if self.running:
            _, done = self.running.pop(which % len(self.running))
            done.set_result(None)
            await self.quiet()

    def waiting(self) -> list[int]:
        return [number for number, pool in enumerate(self.pools) if pool.can_start]


SHAPES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4)
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 6)), max_size=25)


@given(st.integers(1, 5), SHAPES, STEPS)
def test_all_is_handled_and_a_free_place_is_used(
    most: int, shape: list[tuple[int, int]], steps: list[tuple[bool, int, int]]
) -> None:
    async def work() -> None:
        pools, total = Pools(most, shape), 0
        for arrives, number, count in steps:
            if arrives:
                await pools.arrive(number % len(shape), count)
                total += count
            else:
                await pools.end(number)
            assert not pools.waiting() or len(pools.running) == most  # no place is left free
        while pools.running:
            await pools.end(0)
        assert (len(pools.started), pools.workers.running) == (total, 0)

    asyncio.run(work())


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(0, 20))
def test_no_waiting_queue_is_passed_over(weights: list[int], before: int) -> None:
    """Between two starts of a queue the others start as often as their weights say, however busy they were before."""

    async def work() -> None:
        pools = Pools(1, [(1, weight) for weight in weights])
        await pools.arrive(0, 200)
        for _ in range(before):
            await pools.end(0)
        for number in range(1, len(weights)):
            await pools.arrive(number, 200)
        pools.started.clear()
        for _ in range(100):
            await pools.end(0)
        for number, weight in enumerate(weights):
            share = 100 * weight / sum(weights)
            assert abs(pools.started.count(number) - share) <= len(weights)
        for pool in pools.pools:
            pool.take_back()

    asyncio.run(work())
