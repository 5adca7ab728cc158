"""A store at Redis: what it leaves at the server, full memory, few rights, lost data and failovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from tasuki.contracts.state.store import CURRENT, Change, Store
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.errors import DriverError, StoreFullError
from tests.faults.redis.rig import driver_at
from tests.faults.redis.test_access import RIGHTS
from tests.support.brokers.redis import MASTER, Redis, Sentinel

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(200)]

NAMES = "{tasuki:state}:store::names"
PATIENCE = 60.0
T = TypeVar("T")


async def opened(driver: RedisDriver) -> Store:
    store = driver.store("state")
    await store.open()
    return store


async def back(act: Callable[[], Awaitable[T]]) -> T:
    """What it returns, as soon as a server answers again."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return await act()
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_a_put_removes_expired_keys(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        store = await opened(driver)
        # At once: on a slow machine each of ten puts would remove the keys before it.
        await store.put_all([(f"key-{number}", b"") for number in range(10)], ttl=0.001)
        end = await store.time() + 0.002
        while await store.time() < end:
            pass
        assert broker.ask("ZCARD", NAMES) == ":10"
        await store.put("stays", b"")
        assert broker.ask("ZCARD", NAMES) == ":1"
        assert broker.ask("HLEN", "{tasuki:state}:store::values") == ":1"


async def test_a_watch_has_expired_keys_removed(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        store = await opened(driver)
        version = await store.put("key", b"", ttl=0.3)
        async with aclosing(store.watch()) as changes:  # type: ignore[type-var]  # watches are generators
            assert await anext(changes) == Change("key", b"", version)
            assert await anext(changes) is CURRENT
            assert await anext(changes) == Change("key", None, version)
        assert broker.ask("EXISTS", NAMES) == ":0"


async def test_buckets_and_places_go_by_themselves(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        store = await opened(driver)
        await store.take("key", 1, rate=20.0, burst=1)
        await store.hold("key", "holder", places=1, lease=0.05)
        end = time.monotonic() + PATIENCE
        while broker.ask("EXISTS", "{tasuki:state}:store:bucket:key", "{tasuki:state}:store:places:key") != ":0":
            assert time.monotonic() < end


async def test_only_a_put_needs_room(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        store = await opened(driver)
        await store.put("key", b"")
        broker.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreFullError, match="store 'state' of driver 'test' is full"):
            await store.put("key", b"new")
        await opened(driver)
        assert (await store.take("bucket", 1, rate=1.0, burst=3)).tokens == 1
        await store.give("bucket", 1, rate=1.0, burst=3)
        assert await store.hold("place", "holder", places=1, lease=60.0) is not None
        await store.release("place", "holder")
        assert await store.delete("key")


async def test_few_rights_suffice(broker: Redis) -> None:
    broker.ask("ACL", "SETUSER", "worker", "on", ">word", *RIGHTS)
    fields: dict[str, Any] = {"username": "worker", "password": "word", "addrs": f"127.0.0.1:{broker.port}"}
    async with driver_at(broker.port, **fields) as driver:
        store = await opened(driver)
        async with aclosing(store.watch("part/")) as changes:  # type: ignore[type-var]
            assert await anext(changes) is CURRENT
            version = await store.put("part/key", bytes(10_000), ttl=60.0)
            assert await anext(changes) == Change("part/key", bytes(10_000), version)
            await store.delete("part/key")
            assert await anext(changes) == Change("part/key", None, version)
        await store.put("expires", b"", ttl=0.001)
        assert (await store.list()).cursor == ""
        assert (await store.take("key", 1, rate=1.0, burst=1)).tokens == 1
        await store.give("key", 1, rate=1.0, burst=1)
        await store.hold("key", "holder", places=1, lease=60.0)
        await store.release("key", "holder")


async def test_versions_rise_after_all_data_was_lost(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        store = await opened(driver)
        before = await store.put("key", b"")
        broker.ask("FLUSHALL")
        assert await store.get("key") is None
        assert await store.put("key", b"", version=0) > before


async def test_a_store_of_another_layout_is_refused(broker: Redis) -> None:
    broker.ask("HSET", "{tasuki:state}:store", "version", "9")
    async with driver_at(broker.port) as driver:
        with pytest.raises(
            DriverError, match="store 'state' at Redis has layout 9, and this version of Tasuki needs layout 1"
        ):
            await opened(driver)


async def test_a_watch_goes_on_after_a_failover(sentinel: Sentinel) -> None:
    fields: dict[str, Any] = {"addrs": f"127.0.0.1:{sentinel.port}", "master_name": MASTER}
    async with driver_at(0, **fields) as driver:
        store = await opened(driver)
        await store.put("key", b"old")
        async with aclosing(store.watch()) as changes:  # type: ignore[type-var]
            assert (await anext(changes)).value == b"old"
            assert await anext(changes) is CURRENT
            await asyncio.to_thread(sentinel.primary.kill)
            version = await back(lambda: store.put("key", b"new"))
            assert await anext(changes) == Change("key", b"new", version)
