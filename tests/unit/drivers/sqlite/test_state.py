"""The store of SQLite beyond the contract: leftovers in the file, missed changes, a full disk, a removed file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.state.store import CURRENT, Change, Store
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.state import changing, reader
from tasuki.errors import BrokerUnavailableError, StoreFullError
from tasuki.testing.conformance import ShiftedClock
from tests.unit.drivers.sqlite.conftest import connection_of, message

pytestmark = pytest.mark.anyio

TABLES = ("store_entries", "store_removals", "store_buckets", "store_places")


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def driver(make: Callable[..., Any], clock: ShiftedClock) -> SQLiteDriver:
    opened: SQLiteDriver = await make(clock=clock)
    return opened


@pytest.fixture
async def store(driver: SQLiteDriver) -> AsyncIterator[Store]:
    store = driver.store("state")
    await store.open()
    yield store
    await store.close()


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def fill(store: Store) -> None:
    await store.put("short", b"", ttl=1.0)
    await store.take("bucket", 1, rate=1.0, burst=1)
    await store.hold("place", "a", places=1, lease=1.0)
    await store.put("gone", b"")
    await store.delete("gone")


async def test_what_is_over_goes_out_of_the_file(
    store: Store, driver: SQLiteDriver, path: Path, clock: ShiftedClock
) -> None:
    await fill(store)
    assert [count(path, table) for table in TABLES] == [1, 1, 1, 1]
    clock.advance(2.0)
    await driver.publish("q", [message()])  # any transaction of any process
    assert [count(path, table) for table in TABLES] == [0, 2, 0, 0]
    clock.advance(2 * changing.KEPT)
    await driver.publish("q", [message()])
    assert count(path, "store_removals") == 0


async def test_a_sweep_is_bounded(
    store: Store, driver: SQLiteDriver, path: Path, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "SWEPT", 3)
    for number in range(8):
        await store.put(f"k{number}", b"", ttl=10.0)
        await store.hold(f"h{number}", "a", places=1, lease=10.0)
        await store.take(f"b{number}", 1, rate=0.1, burst=1)
    clock.advance(20.0)
    for left in (5, 2, 0):
        await driver.publish("q", [message()])
        assert [count(path, table) for table in TABLES if table != "store_removals"] == [left] * 3
        clock.advance(2.0)


async def test_puts_with_a_ttl_remove_expired_rows(store: Store, path: Path, clock: ShiftedClock) -> None:
    await store.put("first", b"")  # the sweep of this second is over
    for number in range(4):
        await store.put(f"k{number}", b"", ttl=0.1)
    clock.advance(0.2)
    await store.put("new", b"", ttl=10.0)
    await store.put("newer", b"", ttl=10.0)
    assert count(path, "store_entries") == 3


async def test_a_watch_that_was_asleep_for_long_lists_all_keys(store: Store, driver: SQLiteDriver, path: Path) -> None:
    first, second = [await store.put(key, b"") for key in ("a", "b")]
    watch = store.watch()
    assert [await anext(watch) for _ in range(3)] == [Change("a", b"", first), Change("b", b"", second), CURRENT]
    reader = driver._readers.get()
    with reader.at_work:  # as if its process had been stopped
        await store.delete("a")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM store_removals")
    assert await anext(watch) == Change("a", None, first)


async def test_a_watch_agrees_with_get_when_the_clock_is_set_back(store: Store, clock: ShiftedClock) -> None:
    watch = store.watch()
    assert await anext(watch) is CURRENT
    version = await store.put("a", b"", ttl=1.0)
    assert await anext(watch) == Change("a", b"", version)
    clock.advance(2.0)
    assert await anext(watch) == Change("a", None, version)
    clock.advance(-1.5)
    assert await store.get("a")
    assert await anext(watch) == Change("a", b"", version)


async def test_a_page_ends_before_it_fills_the_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_PAGE_BYTES", 10)
    for key in "abc":
        await store.put(key, b"123456")
    page = await store.list()
    assert ([entry.key for entry in page.entries], page.cursor) == (["a"], "a")
    assert [entry.key for entry in (await store.list(after="b")).entries] == ["c"]


async def test_a_full_disk_takes_no_new_entry(
    store: Store, driver: SQLiteDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("old", b"")
    await store.hold("place", "a", places=1, lease=60.0)
    monkeypatch.setattr(driver._guard.get()._database.room, "admits", lambda *_: False)
    with pytest.raises(StoreFullError, match=r"store 'state' of driver 'sqlite'.*disk is full") as caught:
        await store.put("new", b"")
    assert caught.value.retryable
    assert caught.value.outcome == "rejected"
    assert await store.delete("old")
    await store.release("place", "a")
    assert await store.hold("place", "b", places=1, lease=60.0)


async def test_a_removed_file_is_made_again(store: Store, path: Path) -> None:
    version = await store.put("a", b"")
    watch = store.watch()
    assert [await anext(watch), await anext(watch)] == [Change("a", b"", version), CURRENT]
    for name in (path, f"{path}-wal", f"{path}-shm"):
        os.unlink(name)
    with pytest.raises(BrokerUnavailableError, match="removed"):
        await store.get("a")
    assert await anext(watch) == Change("a", None, version)
    assert await store.get("a") is None
    later = await store.put("a", b"new")
    assert later > version, "a version from before means nothing in the new file"
    assert await anext(watch) == Change("a", b"new", later)


async def test_a_watch_of_a_replaced_file_takes_its_lower_versions(
    store: Store, driver: SQLiteDriver, path: Path, clock: ShiftedClock
) -> None:
    version = await store.put("a", b"old")
    watch = store.watch()
    assert [await anext(watch), await anext(watch)] == [Change("a", b"old", version), CURRENT]
    clock.advance(-3600.0)
    driver._readers.get()._look_at = time.monotonic() + 3600  # it notices nothing before the last put tells it
    for name in (path, f"{path}-wal", f"{path}-shm"):
        os.unlink(name)
    with pytest.raises(BrokerUnavailableError, match="removed"):
        await store.put("a", b"refused")
    lower = await store.put("a", b"new")
    assert lower < version
    assert await anext(watch) == Change("a", b"new", lower)


async def test_reads_wait_for_no_writer(store: Store, path: Path) -> None:
    await store.put("a", b"1")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        entry = await store.get("a")
        assert entry is not None
        assert entry.value == b"1"
        with pytest.raises(BrokerUnavailableError, match="busy_timeout"):
            await store.put("a", b"2")


async def test_a_connection_that_fails_is_made_again(
    store: Store, driver: SQLiteDriver, faults: dict[str, str]
) -> None:
    await store.put("a", b"")
    faults["FROM store_entries"] = "SQLITE_IOERR_READ"
    with pytest.raises(BrokerUnavailableError):
        await store.get("a")
    assert driver._readers.get()._connection is None
    faults.clear()
    assert await store.get("a")


async def test_no_thread_and_no_connection_without_a_store(driver: SQLiteDriver) -> None:
    reader = driver._readers.get()
    assert reader._helper is None
    assert connection_of(driver) is not None
    await driver.close()
    with pytest.raises(BrokerUnavailableError):
        await reader.read(lambda _: None)
