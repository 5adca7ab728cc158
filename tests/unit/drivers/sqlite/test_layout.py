"""Two versions side by side on one file: the newer one has added to it what the older one does not know."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.schema import schema
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.toolkit.layout import Layout
from tasuki.testing.conformance import ShiftedClock
from tests.support.settings import parsed
from tests.unit.drivers.sqlite.conftest import write_older

pytestmark = pytest.mark.anyio

NEXT = Layout(schema.LAYOUT.version + 1, schema.LAYOUT.min_version)


def add_to_all_tables(path: Path) -> None:
    """What a version that expands may do: add columns with a default, tables and indexes, and raise the version."""
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in connection.execute(sql).fetchall():
            connection.execute(f"ALTER TABLE {table} ADD COLUMN added TEXT NOT NULL DEFAULT 'x'")
        connection.execute("CREATE TABLE added (queue INTEGER)")
        connection.execute("CREATE INDEX added_index ON messages (queue)")
        connection.execute(f"PRAGMA user_version = {NEXT.version}")
        connection.commit()


async def opened(path: Path, clock: ShiftedClock) -> SQLiteDriver:
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=path), clock)
    await driver.open()
    await driver.declare(QueueSpec("plain", dedup_window=60.0))
    await driver.declare(QueueSpec("keyed", ordering="key"))
    return driver


async def use(publisher: SQLiteDriver, consumer: SQLiteDriver, clock: ShiftedClock) -> None:
    """Everything that writes to a table."""
    plain = [Outgoing("a", b"", {}), Outgoing("b", b"", {}, priority=9), Outgoing("c", b"", {}, delay=5.0)]
    assert not await publisher.publish("plain", plain)
    assert not await publisher.publish("plain", [Outgoing("a", b"", {})])
    keyed = [Outgoing(id, b"", {}, key="k") for id in "xy"]
    assert not await publisher.publish("keyed", [*keyed, Outgoing("z", b"", {}, key="l", delay=5.0)])
    clock.advance(10.0)
    for queue, ids in (("plain", {"a", "b", "c"}), ("keyed", {"x", "z"})):
        assert [item.id for item in await publisher.peek(queue, 1)]
        taken = await consumer.receive(queue, 10, 10.0)
        assert {item.id for item in taken} == ids
        await consumer.start(queue, [taken[0].receipt])
        await consumer.settle(queue, [Nack(taken[0].receipt, 0.5), *(Release(item.receipt) for item in taken[1:])])
        clock.advance(1.0)
        taken = await consumer.receive(queue, 10, 10.0)
        clock.advance(40.0)
        again = await publisher.receive(queue, 10, 10.0)
        assert {item.id for item in again} == {item.id for item in taken} == ids
        assert all(item.suspect for item in again)
        assert not await publisher.settle(queue, [Ack(item.receipt) for item in again])
    await consumer.declare(QueueSpec("keyed"))
    await publisher.declare(QueueSpec("keyed", ordering="key"))
    assert await consumer.purge("keyed") == 1
    await publisher.declare(QueueSpec("gone", temporary=True))
    await publisher.delete("gone")
    await use_store(publisher, consumer, clock)


async def use_store(writer: SQLiteDriver, reader: SQLiteDriver, clock: ShiftedClock) -> None:
    one, other = writer.store("state"), reader.store("state")
    await one.open()
    await other.open()
    await one.put("k", b"1", ttl=5.0)
    assert await other.put("k", b"2", version=await one.put("k", b"1", ttl=5.0)) == (await one.get("k") or (0, 0, 0))[2]
    assert await other.delete("k")
    assert (await other.list()).entries == []
    await one.put("k", b"", ttl=1.0)
    assert (await other.take("b", 2, rate=1.0, burst=1)).tokens == 1
    await one.give("b", 1, rate=1.0, burst=1)
    assert await one.hold("h", "one", places=1, lease=5.0)
    assert await other.hold("h", "other", places=1, lease=5.0) is None
    await one.release("h", "one")
    clock.advance(100.0)  # a sweep forgets all of it
    assert await other.put("l", b"")
    assert await other.delete("l")
    await one.close()
    await other.close()


async def test_two_versions_work_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "queue.db", ShiftedClock()
    running = await opened(path, clock)
    add_to_all_tables(path)
    starting = await opened(path, clock)
    monkeypatch.setattr(schema, "LAYOUT", NEXT)
    newer = await opened(path, clock)
    for number, (one, other) in enumerate([(running, newer), (newer, starting), (starting, running)]):
        await use(one, other, clock)
        clock.advance(100.0 * number + 100.0)
    for driver in (running, starting, newer):
        await driver.close()


async def test_a_newer_version_upgrades_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    write_older(path, 3)
    drivers = [SQLiteDriver(f"d{number}", parsed(SQLiteSettings, path=path)) for number in range(3)]
    await asyncio.gather(*(driver.open() for driver in drivers))
    for driver in drivers:
        await driver.close()
    with closing(sqlite3.connect(path)) as connection:
        rows: list[Any] = connection.execute("SELECT min_version FROM layout").fetchall()
        assert rows == [(schema.LAYOUT.min_version,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.LAYOUT.version,)
