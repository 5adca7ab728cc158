"""The stores of PostgreSQL: commits in another order than their numbers, forgotten changes, sweeps, dropped tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.state.store import CURRENT, Change, Store
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.state import upkeep
from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.system.loop_thread import LoopThread
from tests.faults.postgres.load import PATIENCE, past_deadlocks
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

WHOLE = "SELECT head, is_all, key, value, version FROM {}.store_watch('state', array[''], array['~'], $1)"
TABLES = ("store_entries", "store_changes", "store_buckets", "store_places")


@pytest.fixture
async def driver(schema: str) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=Postgres.shared().url, schema=schema))
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def store(driver: PostgresDriver) -> Store:
    store = driver.store("state")
    await store.open()
    return store


async def count(sql: asyncpg.Connection, schema: str) -> list[int]:
    return [await sql.fetchval(f"SELECT count(*) FROM {schema}.{table}") for table in TABLES]


async def next_of(watch: Any) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await anext(watch)


async def test_the_first_open_store_makes_the_tables(
    driver: PostgresDriver, sql: asyncpg.Connection, schema: str
) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
    assert await sql.fetchval(tables, schema) == 0
    await driver.store("state").open()
    assert await sql.fetchval(tables, schema) > 0


async def test_a_watch_sees_what_was_numbered_first_and_committed_last(
    store: Store, sql: asyncpg.Connection, schema: str
) -> None:
    old = await store.put("deleted", b"")
    watch = store.watch()
    assert [await next_of(watch), await next_of(watch)] == [Change("deleted", b"", old), CURRENT]
    async with sql.transaction():
        put = f"SELECT {schema}.store_put('state', 'first', 'f', null, null)"
        first = await sql.fetchval(put)
        await sql.fetchval(f"SELECT {schema}.store_delete('state', 'deleted', null)")
        second = await store.put("second", b"")
        assert second > first
        assert await next_of(watch) == Change("second", b"", second)
        third = await store.put("third", b"")
        assert await next_of(watch) == Change("third", b"", third)
    changes = {await next_of(watch), await next_of(watch)}
    assert changes == {Change("first", b"f", first), Change("deleted", None, old)}


async def test_changes_are_told_once_while_a_transaction_stays_open(
    store: Store, sql: asyncpg.Connection, schema: str
) -> None:
    await store.put("a", b"")
    head = (await sql.fetch(WHOLE.format(schema), None))[0]["head"]
    async with sql.transaction():
        await sql.fetchval("SELECT txid_current()")
        await store.put("b", b"")
        rows = await sql.fetch(WHOLE.format(schema), head)
        assert [row["key"] for row in rows] == [None, "b"]
        assert [row["key"] for row in await sql.fetch(WHOLE.format(schema), rows[0]["head"])] == [None]


@pytest.mark.parametrize("field", [0, 1], ids=["more than a minute ago", "another server"])
async def test_changes_that_may_be_forgotten_are_not_asked_for(
    store: Store, sql: asyncpg.Connection, schema: str, field: int
) -> None:
    version = await store.put("a", b"1")
    head, *rows = await sql.fetch(WHOLE.format(schema), None)
    assert (head["is_all"], [tuple(row)[2:] for row in rows]) == (True, [("a", b"1", version)])
    head, *rows = await sql.fetch(WHOLE.format(schema), head["head"])
    assert (head["is_all"], rows) == (False, [])
    parts = head["head"].split()
    parts[field] = str(float(parts[field]) - 91) if field == 0 else f"1{parts[field]}"
    head, *rows = await sql.fetch(WHOLE.format(schema), " ".join(parts))
    assert (head["is_all"], len(rows)) == (True, 1)


async def test_what_is_over_is_swept_a_bounded_part_at_a_time(
    store: Store, sql: asyncpg.Connection, schema: str
) -> None:
    for number in range(5):
        await store.put(f"k{number}", b"", ttl=600.0)
        await store.hold(f"h{number}", "a", places=1, lease=600.0)
        await store.take(f"b{number}", 1, rate=1e-3, burst=1)
    sweep = f"SELECT {schema}.store_sweep($1)"
    again = f"UPDATE {schema}.store_sweeps SET at = 0"
    await sql.execute(again)
    assert await sql.fetchval(sweep, 2) is False
    assert await count(sql, schema) == [5] * 4
    await sql.execute(
        f"UPDATE {schema}.store_entries SET expires = expires - 1000; "
        f"UPDATE {schema}.store_changes SET at = at - 1000; UPDATE {schema}.store_buckets SET at = at - 1000; "
        f"UPDATE {schema}.store_places SET until = until - 1000"
    )
    assert await sql.fetchval(sweep, 2) is False, "another process has swept a moment ago"
    await sql.execute(again)
    for left in (3, 1, 0):
        assert await sql.fetchval(sweep, 2) is (left > 0)
        assert await count(sql, schema) == [left] * 4
    assert await store.hold("h0", "b", places=1, lease=600.0)


async def test_an_open_store_sweeps(
    driver: PostgresDriver, store: Store, sql: asyncpg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("k", b"", ttl=600.0)
    await sql.execute(f"UPDATE {schema}.store_entries SET expires = 0; UPDATE {schema}.store_sweeps SET at = 0")
    monkeypatch.setattr(upkeep, "SWEEP", 0.01)
    await driver.close()
    await driver.open()
    await store.open()
    async with asyncio.timeout(PATIENCE):
        while (await count(sql, schema))[0]:
            await asyncio.sleep(0.01)


async def test_versions_rise_over_dropped_tables_and_a_watch_goes_on(
    store: Store, sql: asyncpg.Connection, schema: str
) -> None:
    old = await store.put("a", b"old")
    watch = store.watch()
    assert [await next_of(watch), await next_of(watch)] == [Change("a", b"old", old), CURRENT]
    lost = await store.put("lost", b"")
    assert await next_of(watch) == Change("lost", b"", lost)
    await past_deadlocks(lambda: sql.execute(f"DROP SCHEMA {schema} CASCADE"))
    new = await store.put("a", b"new")
    assert new > old
    expected = {Change("a", b"new", new), Change("lost", None, lost)}
    while expected:
        change = await next_of(watch)
        assert change in expected or change == Change("a", None, old)
        expected.discard(change)
    assert await store.delete("a", version=new)


async def test_verbs_of_another_loop_have_a_connection_of_their_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Callable[..., Any]] = []
    run = LeaseThread.run

    async def spy(self: LeaseThread[Any], work: Callable[..., Any]) -> Any:
        asked.append(work)
        return await run(self, work)

    monkeypatch.setattr(LeaseThread, "run", spy)
    other = LoopThread("other")
    version = await store.put("a", b"1")
    assert not asked
    assert (await other.call(lambda: store.get("a"))) == ("a", b"1", version)
    assert len(asked) == 1

    async def read() -> list[Any]:
        watch = store.watch()
        found = [await anext(watch), await anext(watch)]
        await store.put("b", b"2")
        return [*found, (await anext(watch)).key]  # type: ignore[union-attr]

    async with asyncio.timeout(PATIENCE):
        assert await other.call(read) == [Change("a", b"1", version), CURRENT, "b"]
    other.stop()
    await asyncio.to_thread(other.join)


def test_prefixes_that_begin_with_another_are_not_asked_for_twice() -> None:
    assert upkeep.outermost(["b/", "a/b", "a/", "b/", "ab"]) == ["a/", "ab", "b/"]
    assert upkeep.outermost(["a", "", "b"]) == [""]
