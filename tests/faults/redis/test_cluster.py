"""The long campaign at Redis: primaries are frozen and killed in turn, behind a Sentinel and in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tests.faults.redis.rig import driver_at
from tests.support.brokers.broker import Broker
from tests.support.brokers.redis import MASTER, Redis, ReplicatedCluster, Sentinel, follows
from tests.support.brokers.rig import Work

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.cluster]

ROUNDS = 4
QUEUES = ("q", "r", "s", "t")


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(180.0):  # a busy Sentinel waits half a minute by itself
        while not await asyncio.to_thread(_holds, condition):
            await asyncio.sleep(0.05)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except OSError:
        return False


class Losses:
    """Messages that were confirmed while all was well: after clients had followed, and before the next loss."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._safe: set[str] = set()

    async def lose(self, server: Redis, replica: Redis, number: int) -> None:
        """Freeze or kill a primary, by turns, until its replica has taken over; then let it follow the new one."""
        await self._work.goes_on()
        if number % 2:
            await asyncio.to_thread(server.kill)
        else:
            server.freeze()
        await eventually(lambda: "role:master" in replica.ask("INFO", "replication"))
        await self._work.goes_on()
        known = len(self._work.confirmed)
        await self._work.goes_on()
        self._safe.update(self._work.confirmed[known:])
        if number % 2:
            await asyncio.to_thread(Broker.start, server)
        else:
            server.thaw()
        await eventually(lambda: follows(server))

    def check(self) -> None:
        """None of those is lost; what asynchronous replication lost is shown."""
        work = self._work
        print(
            f"confirmed {len(work.confirmed)}, lost by asynchronous replication {len(work.lost())}, "
            f"doubled {sum(count > 1 for count in work.delivered.values())}"
        )
        assert not self._safe - work.delivered.keys()


async def test_primaries_behind_a_sentinel(sentinel: Sentinel) -> None:
    fields: dict[str, Any] = {"addrs": f"127.0.0.1:{sentinel.port}", "master_name": MASTER}
    spec = QueueSpec("q", lease=2.0)
    pair = (sentinel.primary, sentinel.replica)
    async with driver_at(0, spec=spec, **fields) as publisher, driver_at(0, spec=spec, **fields) as consumer:
        async with Work(publisher, consumer) as work:
            losses = Losses(work)
            for number in range(ROUNDS):
                await losses.lose(*pair, number)
                pair = pair[::-1]
            await work.catches_up()
        losses.check()


async def test_masters_of_a_cluster(replicated: ReplicatedCluster) -> None:
    fields: dict[str, Any] = {"addrs": f"127.0.0.1:{replicated.port}", "is_cluster_mode": True}
    pairs = list(zip(replicated.nodes, replicated.replicas, strict=True))
    async with driver_at(0, **fields) as publisher, driver_at(0, **fields) as consumer:
        for name in QUEUES:
            for driver in (publisher, consumer):
                await driver.declare(QueueSpec(name, lease=2.0))
        async with Work(publisher, consumer, QUEUES) as work:
            losses = Losses(work)
            for number in range(ROUNDS):
                await losses.lose(*pairs[number % 3], number)
                pairs[number % 3] = pairs[number % 3][::-1]
            await work.catches_up()
        losses.check()
