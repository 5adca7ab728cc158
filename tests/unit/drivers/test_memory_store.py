"""The store of memory: what it forgets, and when; its limits, and its errors."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.state.store import CURRENT, Change
from tasuki.drivers.memory import store as module
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.store import MemoryStore, Shelf
from tasuki.drivers.toolkit.guard import Guard
from tasuki.errors import BrokerUnavailableError, ConflictError, StoreFullError, StoreLimitError
from tasuki.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


async def opened(shelf: Shelf | None = None) -> tuple[MemoryStore, Shelf, FakeClock]:
    clock, shelf = FakeClock(), shelf or Shelf()
    guard: Guard[str] = Guard("app:memory")
    guard.opened("a session")
    store = MemoryStore("state", guard, shelf, clock)
    await store.open()
    return store, shelf, clock


async def test_errors_name_the_store_the_driver_and_the_remedy() -> None:
    driver = MemoryDriver("app:memory")
    store = driver.store("state")
    with pytest.raises(BrokerUnavailableError, match="driver 'app:memory' is not open; open it first"):
        await store.open()
    await driver.open()
    with pytest.raises(BrokerUnavailableError, match="store 'state' of driver 'app:memory' is not open; open it first"):
        await store.get("key")
    await store.open()
    with pytest.raises(ConflictError, match="store 'state' of driver 'app:memory': key 'key' has version 0, not 7"):
        await store.put("key", b"", version=7)
    with pytest.raises(StoreLimitError, match=r"key 'xxxx.*' has 513 bytes, and must have 1 to 512, none of them NUL"):
        await store.put("x" * 513, b"")
    with pytest.raises(StoreLimitError, match="the value of key 'key' has 1048577 bytes, and may have 1048576 at most"):
        await store.put("key", bytes(2**20 + 1))
    with pytest.raises(StoreLimitError, match=r"key '.*' is no valid Unicode text"):
        await store.put("\ud800", b"")


async def test_deadlines_of_keys_that_are_written_over_and_over_do_not_pile_up() -> None:
    store, shelf, clock = await opened()
    for number in range(10_000):
        clock.advance(0.001)
        await store.put(f"key-{number % 10}", b"", ttl=60.0)
    assert len(shelf.deadlines) <= 2 * 10 + 64
    clock.advance(60.0)
    assert list((await store.list()).entries) == []
    assert (shelf.items, shelf.bytes) == ({}, 0)


async def test_a_deadline_ends_no_key_that_was_written_again() -> None:
    store, shelf, clock = await opened()
    await store.put("longer", b"", ttl=1.0)
    await store.put("longer", b"", ttl=5.0)
    await store.put("forever", b"", ttl=1.0)
    await store.put("forever", b"")
    await store.put("another", b"", ttl=1.0)
    await store.delete("another")
    await store.put("another", b"", ttl=5.0)
    clock.advance(1.0)
    assert [entry.key for entry in (await store.list()).entries] == ["another", "forever", "longer"]
    clock.advance(4.0)
    assert [entry.key for entry in (await store.list()).entries] == ["forever"]
    assert shelf.deadlines == []


async def test_full_buckets_and_empty_places_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 8)
    store, shelf, clock = await opened(Shelf())
    await store.take("spent", 10, rate=0.001, burst=10)
    await store.hold("held", "a", places=1, lease=1000.0)
    for number in range(100):
        await store.take(f"key-{number}", 1, rate=1.0, burst=10)
        await store.hold(f"key-{number}", "a", places=1, lease=1.0)
        clock.advance(1.0)
        assert len(shelf.buckets) + len(shelf.places) <= 14
    assert "spent" in shelf.buckets
    assert "held" in shelf.places
    assert (await store.take("spent", 10, rate=0.001, burst=10)).tokens == 0
    assert await store.hold("held", "b", places=1, lease=1.0) is None


async def test_what_is_needed_is_not_looked_through_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 8)
    store, shelf, _ = await opened(Shelf())
    swept = 0
    for number in range(1000):
        before = shelf.buckets
        await store.take(f"key-{number}", 1, rate=1e-6, burst=10)
        swept += shelf.buckets is not before
    assert len(shelf.buckets) == 1000
    assert swept <= 10


async def test_a_release_forgets_the_last_place() -> None:
    store, shelf, _ = await opened()
    await store.hold("key", "a", places=2, lease=60.0)
    await store.hold("key", "b", places=2, lease=60.0)
    await store.release("key", "a")
    assert list(shelf.places["key"]) == ["b"]
    await store.release("key", "b")
    assert shelf.places == {}


async def test_a_full_shelf_takes_other_values_and_no_more_keys() -> None:
    store, shelf, clock = await opened(Shelf(max_entries=2, max_bytes=1000))
    await store.put("a", b"", ttl=5.0)
    await store.put("b", b"")
    with pytest.raises(StoreFullError, match="store 'state' of driver 'app:memory' is full") as caught:
        await store.put("c", b"")
    assert caught.value.retryable
    await store.put("b", b"another")
    clock.advance(5.0)
    await store.put("c", b"")
    await store.delete("c")
    with pytest.raises(StoreFullError):
        await store.put("c", bytes(1000))
    await store.put("c", bytes(1000 - len("b" + "another" + "c")))
    with pytest.raises(StoreFullError):
        await store.put("b", b"another one")
    assert shelf.bytes == 1000
    await store.put("b", b"other")
    assert shelf.bytes == 998


async def test_objects_of_one_name_share_the_entries_and_not_the_closing() -> None:
    driver = MemoryDriver("memory")
    await driver.open()
    first, second, other = driver.store("state"), driver.store("state"), driver.store("other")
    for store in (first, second, other):
        await store.open()
    version = await first.put("key", b"value")
    assert await second.get("key") == ("key", b"value", version)
    assert await other.get("key") is None
    watch = second.watch()
    assert [await anext(watch), await anext(watch)] == [Change("key", b"value", version), CURRENT]
    await first.close()
    await second.put("key", b"more")
    assert await anext(watch) == Change("key", b"more", version + 1)
    await second.close()
    assert [change async for change in watch] == []


async def test_a_watch_that_ends_is_forgotten() -> None:
    store, shelf, _ = await opened()
    await store.put("key", b"")
    for _ in range(3):
        watch = store.watch()
        await anext(watch)
        await watch.aclose()  # type: ignore[attr-defined]  # a generator
    kept = store.watch()
    await anext(kept)
    assert len(shelf.watchers) == 1
    await store.close()
    assert shelf.watchers == []


async def test_a_value_is_a_copy() -> None:
    store, _, _ = await opened()
    value = bytearray(b"before")
    await store.put("key", value)  # type: ignore[arg-type]  # as callers without a type checker do
    value[:] = b"after!"
    found = await store.get("key")
    assert found is not None
    assert found.value == b"before"


async def test_verbs_in_many_threads_lose_nothing() -> None:
    store, _, _ = await opened()

    async def work(worker: int) -> None:
        for _ in range(200):
            while True:
                found = await store.get("counter")
                try:
                    count = int(found.value) if found else 0
                    await store.put("counter", b"%d" % (count + 1), version=found.version if found else 0)
                    break
                except ConflictError:
                    continue
            await store.take("bucket", 1, rate=1e-9, burst=10_000)
            await store.hold(f"place-{worker}", "a", places=1, lease=60.0)
            await store.list()
            await store.release(f"place-{worker}", "a")

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, work(worker)) for worker in range(4)))
    found = await store.get("counter")
    assert found is not None
    assert int(found.value) == 800
    assert (await store.take("bucket", 10_000, rate=1e-9, burst=10_000)).tokens == 10_000 - 800
