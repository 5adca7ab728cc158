"""The Redis driver keeps the contract: at Redis, at Valkey, behind a Sentinel and in a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.scripts import place as place_of
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tasuki.testing.conformance.driver.clauses import Clauses
from tasuki.testing.conformance.driver.moving import Moving
from tasuki.testing.conformance.driver.transferring import Transferring
from tasuki.testing.conformance.queues.by_id import ById
from tasuki.testing.conformance.queues.inspecting import Counting
from tasuki.testing.conformance.queues.lanes import Lanes
from tasuki.testing.conformance.queues.limits import Limits
from tasuki.testing.conformance.queues.turns import Turns
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.redis import MASTER, Cluster, Redis, Sentinel, Valkey
from tests.support.brokers.versions import version_of
from tests.support.settings import parsed


def _version(broker: type[Redis], how: str = "") -> str:
    name = "Valkey" if broker is Valkey else "Redis"
    return version_of(name, [broker.shared().binary(broker.program), "--version"]) + how


class TestRedis(Proxied, DriverConformance):
    takes_clock = False
    real_seconds = 1.5
    shared_broker: ClassVar[type[Redis]] = Redis

    def make_driver(self, place: Path, clock: ShiftedClock) -> RedisDriver:
        found = address(self.shared_broker, place)
        return RedisDriver(
            "redis", parsed(RedisSettings, url=f"redis://127.0.0.1:{found['port']}", prefix=found["name"]), clock
        )

    def version(self) -> str:
        return _version(self.shared_broker)

    async def misplace(self, place: Path, queue: str) -> None:
        """Take them out of the set of the ready ones; the next receive searches, as one does every half minute."""
        keys = [key.decode() for key in place_of(address(self.shared_broker, place)["name"], QueueSpec(queue)).keys]
        broker = self.shared_broker.shared()
        assert broker.ask("DEL", keys[2]) == ":1"
        broker.ask("HDEL", keys[0], "strays")

    async def restart(self, place: Path) -> None:
        await asyncio.to_thread(self.shared_broker.shared().restart)


@pytest.mark.variant
class TestValkey(TestRedis):
    shared_broker = Valkey


@pytest.mark.variant
class TestBehindSentinel(Clauses, Counting, ById, Transferring):
    takes_clock = False
    real_seconds = 1.5

    def version(self) -> str:
        return _version(Sentinel, " behind a Sentinel")

    def make_driver(self, place: Path, clock: ShiftedClock) -> RedisDriver:
        found = address(Sentinel, place)
        addrs = [f"127.0.0.1:{found['port']}"]
        return RedisDriver("redis", RedisSettings(addrs=addrs, master_name=MASTER, prefix=found["name"]), clock)


@pytest.mark.variant
class TestInCluster(Clauses, Counting, ById, Lanes, Limits, Moving, Transferring, Turns):
    takes_clock = False
    real_seconds = 1.5

    def version(self) -> str:
        return _version(Cluster, " in a cluster of three")

    def make_driver(self, place: Path, clock: ShiftedClock) -> RedisDriver:
        found = address(Cluster, place)
        addrs = f"127.0.0.1:{found['port']}"
        return RedisDriver("redis", RedisSettings(addrs=addrs, is_cluster_mode=True, prefix=found["name"]), clock)

    async def restart(self, place: Path) -> None:
        await asyncio.to_thread(Cluster.shared().restart)
