"""Whatever layout a schema had: brought up to date, it is as a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Limit, Outgoing, QueueSpec
from tasuki.contracts.state.store import CURRENT
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.schema import schema as migrating
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import AccessDeniedError, DriverError
from tests.faults.postgres.load import past_deadlocks
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import fresh, until
from tests.support.old_stores import keeping
from tests.support.old_stores.keeping import place_of
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

_PARTS = (
    "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = $1::text::regnamespace",
    "SELECT pg_get_indexdef(oid) FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'i'",
    "SELECT concat_ws(' ', c.relname, c.relpersistence, c.reloptions, a.attname, a.atttypid::regtype, a.attnotnull, "
    "pg_get_expr(d.adbin, d.adrelid)) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
    "WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'c') AND a.attnum > 0 AND NOT a.attisdropped",
)


@pytest.fixture
async def connection() -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(Postgres.shared().url)
    yield connection
    await connection.close()


@pytest.fixture
async def others() -> AsyncIterator[Sequence[asyncpg.Connection]]:
    """Two further ones, which may be in the middle of something at the end."""
    connections = [await asyncpg.connect(Postgres.shared().url) for _ in range(2)]
    yield connections
    for connection in connections:
        connection.terminate()


async def parts(connection: asyncpg.Connection, schema: str) -> list[str]:
    """Functions with their settings, indexes, and columns, as the server shows them."""
    shown = [row[0] for sql in _PARTS for row in await connection.fetch(sql, schema)]
    return sorted(text.replace(schema, "schema") for text in shown)


_OLD_PARTS = (
    "DROP TABLE waiters; CREATE UNLOGGED TABLE waiters (queue integer NOT NULL, holder bigint NOT NULL, "
    "until timestamptz NOT NULL, PRIMARY KEY (queue, holder)) "
    "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200)",
    "ALTER TABLE queues DROP COLUMN synchronous_commit",
    "ALTER TABLE queues ADD COLUMN channel text NOT NULL DEFAULT ''",
    "ALTER TABLE messages DROP COLUMN counted, DROP COLUMN suspect",
    "DROP INDEX messages_keys; CREATE INDEX messages_by_key ON messages (queue, key, seq) WHERE key IS NOT NULL",
    "CREATE TYPE claimed AS (n integer); CREATE FUNCTION claim() RETURNS SETOF claimed LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION look(names text[]) RETURNS text LANGUAGE sql AS 'SELECT names[1]'",
    "DROP TABLE lanes, arrivals, gates; DROP FUNCTION fold_arrivals, publish; "
    "CREATE FUNCTION publish(text, text[], bytea[], bytea[], smallint[], text[], double precision[], boolean[], "
    "boolean) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE messages DROP COLUMN cause; DROP FUNCTION cause_in, count_causes, show_cause",
    "DROP FUNCTION declare_queue; CREATE FUNCTION declare_queue(text, double precision, bigint, boolean, "
    "double precision, boolean, text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
)


@pytest.mark.parametrize("old", _OLD_PARTS)
async def test_an_older_layout_becomes_the_newest(connection: asyncpg.Connection, old: str) -> None:
    schema = fresh("layouts")
    await migrating.migrate(connection, schema)
    new = await parts(connection, schema)
    await connection.execute(f"SET search_path = {schema}")
    await connection.execute(old)
    await connection.execute("UPDATE migrations SET version = 16, min_version = 10; RESET search_path")
    assert not await migrating.check(connection, schema)
    await migrating.migrate(connection, schema)
    assert await migrating.check(connection, schema)
    assert await parts(connection, schema) == new


_LAYOUT_18 = """
DROP TABLE lanes, arrivals, gates;
ALTER TABLE messages DROP COLUMN lane CASCADE, DROP COLUMN place CASCADE;
ALTER TABLE queues DROP COLUMN limited, DROP COLUMN rate, DROP COLUMN burst, DROP COLUMN concurrency, DROP COLUMN fair,
    DROP COLUMN lane_rate, DROP COLUMN lane_burst, DROP COLUMN lane_concurrency, DROP COLUMN by_lane;
UPDATE migrations SET version = 18, min_version = 17;
"""


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_messages_of_layout_18_enter_lanes(
    connection: asyncpg.Connection, make: Callable[..., Awaitable[PostgresDriver]], schema: str, ordering: Any
) -> None:
    """Also one that is held meanwhile: it takes a place."""
    before = await make(spec=QueueSpec("q", ordering=ordering, lease=600.0))
    batch = [Outgoing(f"{key}{number}", b"", {}, key=key) for key in "ab" for number in range(3)]
    await before.publish("q", [*batch, Outgoing("none", b"", {})])
    (held,) = await before.receive("q", 1, 0.0)
    await past_deadlocks(lambda: connection.execute(f"SET search_path = {schema}; {_LAYOUT_18}; RESET search_path"))
    spec = QueueSpec("q", ordering=ordering, lease=600.0, fair=1, lane_limit=Limit(concurrency=2))
    after = await make(spec=spec)
    assert await after.inspect(spec) == spec
    await after.publish("q", [Outgoing("new", b"", {}, lane="b", key="b")])
    taken = await after.receive("q", 10, 0.0)
    taken += await after.receive("q", 10, 0.0)  # those with keys have entered their lanes
    assert sorted(item.id for item in taken) == (["b0", "none"] if ordering == "key" else ["a1", "new"])
    assert await before.settle("q", [Ack(held.receipt)]) == []
    seen = ["a0"]
    while taken:
        seen += [item.id for item in taken]
        assert await after.settle("q", [Ack(item.receipt) for item in taken]) == []
        taken = await after.receive("q", 1, 0.5)
    assert sorted(seen) == sorted([*(message.id for message in batch), "none", "new"])
    if ordering == "key":
        assert [id for id in seen if id[0] in "bn" and id != "none"] == ["b0", "b1", "b2", "new"]
    assert await connection.fetchval(f"SELECT count(*) FROM {schema}.lanes") == 0


_LOCKED_FIRST = (
    "SELECT lease FROM {}.queues",
    "SELECT {}.beat(1, NULL)",
    "SELECT {}.settle('bounded', '{{1}}', '{{1}}', NULL, NULL)",
)
_LOCKED_NEXT = (
    "SELECT {0}.publish('bounded', '{{b}}', '{{b}}', '{{NULL}}', NULL, NULL, NULL, NULL, false), {0}.beat(1, NULL)"
)


@pytest.mark.parametrize("first", _LOCKED_FIRST)
async def test_a_change_of_the_schema_lets_running_verbs_end(
    connection: asyncpg.Connection, others: Sequence[asyncpg.Connection], first: str
) -> None:
    """A transaction that has locked some tables, as a verb in the middle of its work, can lock the others."""
    verb, changing = others
    schema = fresh("layouts")
    await migrating.migrate(connection, schema)
    for options in ("'bounded', 9, 5, false, 9", "'free', 9, NULL, true, NULL"):
        await connection.execute(f"SELECT {schema}.declare_queue({options}, false, NULL)")
    await connection.execute(f"UPDATE {schema}.migrations SET version = 16")
    await verb.execute(f"BEGIN; {first.format(schema)}")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(migrating.migrate(changing, schema))
        waits = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"
        await until(lambda: connection.fetchval(waits, changing.get_server_pid()), "the change waits for the verb")
        await verb.execute(f"{_LOCKED_NEXT.format(schema)}; COMMIT")
    assert await migrating.check(connection, schema)


@pytest.mark.parametrize(
    ("change", "lack"),
    [
        ("UPDATE migrations SET version = 16, min_version = 10", "has layout 16, older than"),
        ("DROP FUNCTION settle_with_errors, leave", "lacks leave, settle_with_errors"),
        ("DROP TABLE waiters", "lacks waiters"),
    ],
)
async def test_a_role_that_does_not_own_the_schema_says_who_brings_it_up_to_date(
    connection: asyncpg.Connection, others: Sequence[asyncpg.Connection], change: str, lack: str
) -> None:
    schema = fresh("layouts")
    await migrating.migrate(connection, schema)
    role = f"worker_of_{schema}"
    await connection.execute(
        f"SET search_path = {schema}; {change}; CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; RESET search_path"
    )
    worker, _ = others
    await worker.execute(f"SET ROLE {role}")
    assert not await migrating.check(worker, schema)
    with pytest.raises(AccessDeniedError, match=f"{lack}.*, and this role may not.*start a process whose role owns it"):
        await migrating.migrate(worker, schema)


async def test_a_layout_that_a_newer_process_made_meanwhile_is_refused(connection: asyncpg.Connection) -> None:
    """Between the check of the schema and the lock of the migrations."""
    schema = fresh("layouts")
    await migrating.migrate(connection, schema)
    await connection.execute(f"INSERT INTO {schema}.migrations (version, min_version) VALUES (1000, 1000)")
    with pytest.raises(DriverError, match="needs a Tasuki that knows layout 1000"):
        await migrating.migrate(connection, schema)


async def test_letters_of_layout_21_say_no_cause(
    connection: asyncpg.Connection, make: Callable[..., Awaitable[PostgresDriver]], schema: str
) -> None:
    """And a process of that layout, which calls the functions that are there now, stores letters that say it."""
    letter = Outgoing("old", b"", {"x_cause": "a" * 12})
    before = await make(spec=QueueSpec("q"))
    await before.publish("q", [letter])
    await connection.execute(
        f"SET search_path = {schema}; ALTER TABLE messages DROP COLUMN cause; "
        "DROP FUNCTION cause_in, count_causes, show_cause; UPDATE migrations SET version = 21; RESET search_path"
    )
    after = await make(spec=QueueSpec("q"))
    found = await after.causes("q", 10)
    assert (found.marked, found.unmarked) == (0, 1)
    await before.publish("q", [letter])
    found = await after.causes("q", 10)
    assert (found.marked, found.unmarked) == (1, 1)
    assert len(await before.receive("q", 10, 1.0)) == 2


async def test_a_process_without_queues_watches_a_store_of_an_earlier_layout(tmp_path: Path) -> None:
    """As one whose queues are at another broker: it declares nothing here."""
    with place_of("postgres", tmp_path) as place:
        text = (Path(keeping.__file__).parent / "postgres_22.sql").read_text(encoding="utf-8")
        await asyncio.to_thread(place.load, text)
        schema = next(option for option in place.options if "schema=" in option).partition("schema=")[2]
        driver = PostgresDriver("postgres", parsed(PostgresSettings, url=Postgres.shared().url, schema=schema))
        await driver.open()
        store = driver.store("state")
        await store.open()
        found: list[Any] = []
        watch: Any = store.watch("control/")
        async with aclosing(watch) as changes:
            async for change in changes:
                found.append(change)
                if change is CURRENT:
                    break
        assert len(found) > 1, "the pause that is stored there"
        await driver.close()
