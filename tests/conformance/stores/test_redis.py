"""The stores of the Redis driver keep the contract: at Redis, at Valkey, behind a Sentinel and in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tasuki.contracts.state.store import Store
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.conformance.test_redis import _version
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.redis import MASTER, Cluster, Redis, Sentinel, Valkey
from tests.support.settings import parsed


class TestRedisStore(Proxied, StoreConformance):
    takes_clock = False
    shared_broker: ClassVar[type[Redis]] = Redis

    def make_driver(self, place: Path, clock: ShiftedClock) -> RedisDriver:
        found = address(self.shared_broker, place)
        url = f"redis://127.0.0.1:{found['port']}"
        return RedisDriver("redis", parsed(RedisSettings, url=url, prefix=found["name"]), clock)

    def version(self) -> str:
        return _version(self.shared_broker)

    async def restart(self, place: Path) -> None:
        await asyncio.to_thread(self.shared_broker.shared().restart)

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        limit = self.shared_broker.shared().ask
        assert await asyncio.to_thread(limit, "CONFIG", "SET", "maxmemory", "1") == "+OK"
        try:
            yield
        finally:
            await asyncio.to_thread(limit, "CONFIG", "SET", "maxmemory", "0")


@pytest.mark.variant
class TestValkeyStore(TestRedisStore):
    shared_broker = Valkey


@pytest.mark.variant
class TestStoreBehindSentinel(StoreConformance):
    takes_clock = False

    def version(self) -> str:
        return _version(Sentinel, " behind a Sentinel")

    def make_driver(self, place: Path, clock: ShiftedClock) -> RedisDriver:
        found = address(Sentinel, place)
        addrs = [f"127.0.0.1:{found['port']}"]
        return RedisDriver("redis", RedisSettings(addrs=addrs, master_name=MASTER, prefix=found["name"]), clock)


@pytest.mark.variant
class TestStoreInCluster(StoreConformance):
    takes_clock = False

    def version(self) -> str:
        return _version(Cluster, " in a cluster of three")

    def make_driver(self, place: Path, clock: ShiftedClock) -> RedisDriver:
        found = address(Cluster, place)
        addrs = f"127.0.0.1:{found['port']}"
        return RedisDriver("redis", RedisSettings(addrs=addrs, is_cluster_mode=True, prefix=found["name"]), clock)

    async def restart(self, place: Path) -> None:
        await asyncio.to_thread(Cluster.shared().restart)
