"""PostgreSQL fails in all its ways: killed, frozen, cut off, locked, emptied; no message is lost."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Release
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.receiving import listener
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import (
    AccessDeniedError,
    BrokerUnavailableError,
    DriverError,
    QueueFullError,
)
from tasuki.testing.proxy import Proxy
from tests.faults.postgres_load import PATIENCE, Load, eventually, message, more
from tests.support.brokers.postgres import Pgbouncer, Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

_names = (f"faults_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.end()


@pytest.fixture
def proxy(server: Postgres) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def schema() -> str:
    return next(_names)


@pytest.fixture
async def make(proxy: Proxy, schema: str) -> AsyncIterator[Callable[..., Awaitable[PostgresDriver]]]:
    """Open drivers behind the proxy with the queue ``q``; closed at the end."""
    drivers: list[PostgresDriver] = []

    async def make(**options: Any) -> PostgresDriver:
        spec = options.pop("spec", QueueSpec("q", lease=5.0))
        fields = {"url": address(proxy.port), "schema": schema, "timeout": 2.0, **options}
        driver = PostgresDriver("postgres", PostgresSettings(**fields))
        drivers.append(driver)
        await driver.declare(spec)
        await driver.open()
        return driver

    yield make
    proxy.serve()
    for driver in drivers:
        await driver.close()


@pytest.fixture
async def sql(server: Postgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an administrator, straight to the server."""
    connection = await asyncpg.connect(address(server.port))
    yield connection
    await connection.close()


def address(port: int, user: str = "postgres", database: str = "postgres") -> str:
    return f"postgresql://{user}@127.0.0.1:{port}/{database}"


async def test_killed_and_restarted_under_load(server: Postgres, make: Callable[..., Any]) -> None:
    driver = await make()
    load = Load(driver)
    async with load.running():
        for _ in range(3):
            await load.some()
            server.kill()
            await asyncio.sleep(0.3)
            server.start()  # not in another thread: it would end with that
    load.check()


async def test_all_sessions_are_ended_again_and_again(make: Callable[..., Any], sql: asyncpg.Connection) -> None:
    """In storms too, in the middle of connecting and of answers, of which the client says all sorts of things."""
    load = Load(await make())
    async with load.running():
        for _ in range(10):
            await load.some()
            for _ in range(20):
                await sql.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                await asyncio.sleep(0)
    load.check()


async def test_connections_are_reset_again_and_again(proxy: Proxy, make: Callable[..., Any]) -> None:
    load = Load(await make())
    async with load.running():
        for _ in range(10):
            await load.some()
            proxy.cut()
    load.check()


async def test_a_frozen_server_is_given_up_and_found_again(server: Postgres, make: Callable[..., Any]) -> None:
    driver = await make(timeout=1.0, connect_timeout=1.0)
    await driver.publish("q", [message("before")])
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(DriverError) as raised:
            await driver.publish("q", [message("doubtful")])
        assert raised.value.retryable
        outcome = raised.value.outcome
        for verb in (driver.receive("q", 1, 0.0), driver.depth("q"), driver.settle("q", [Ack((1, 1))])):
            with pytest.raises(DriverError) as raised:
                await verb
            assert raised.value.retryable
        assert time.monotonic() - began < PATIENCE
    finally:
        server.thaw()
    await eventually(lambda: driver.depth("q"), "the server")
    stored = [item.id for item in await driver.receive("q", 10, PATIENCE)]
    stored += [item.id for item in await driver.receive("q", 10, 0.5)]
    assert "before" in stored
    # Where no connection was free, there was none to send it on: it is rejected, and must not be stored.
    assert outcome == "unknown" or "doubtful" not in stored


async def test_closing_while_the_server_is_frozen_ends(server: Postgres, make: Callable[..., Any]) -> None:
    driver = await make(timeout=1.0, connect_timeout=1.0)
    await driver.publish("q", [message()])
    await driver.receive("q", 1, 5.0)
    waiting = asyncio.create_task(driver.receive("q", 1, 60.0))
    await asyncio.sleep(0.05)
    server.freeze()
    try:
        async with asyncio.timeout(PATIENCE):
            await driver.close()
            answer = (await asyncio.gather(waiting, return_exceptions=True))[0]
            assert answer == [] or isinstance(answer, BrokerUnavailableError)
    finally:
        server.thaw()


async def test_a_lost_reply_is_an_unknown_outcome(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver = await make(spec=QueueSpec("q", dedup_window=60.0))
    await driver.publish("q", [message("first")])
    proxy.delay = 0.5
    publishing = asyncio.create_task(driver.publish("q", [message("second")]))
    await asyncio.sleep(0.7)  # the request has passed, the reply is still on its way
    proxy.cut()
    proxy.delay = 0.0
    with pytest.raises(BrokerUnavailableError) as raised:
        await publishing
    assert raised.value.outcome == "unknown"
    await driver.publish("q", [message("second")])
    assert sorted(item.id for item in await driver.receive("q", 10, 5.0)) == ["first", "second"]


async def test_an_extend_survives_a_cut(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver = await make()
    await driver.publish("q", [message()])
    (held,) = await driver.receive("q", 1, 5.0)

    def extend() -> Any:
        return asyncio.run(_extend())

    async def _extend() -> Any:
        return await driver.extend("q", [held.receipt], 5.0)

    assert await asyncio.to_thread(extend) == []
    proxy.cut()
    assert await eventually(lambda: _is_empty_list(asyncio.to_thread(extend)), "a lease")


async def _is_empty_list(answer: Awaitable[Any]) -> bool:
    return bool((await answer) == [])


async def test_a_lost_notification_only_costs_the_poll_interval(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver, other = await make(poll_interval=0.3), await make()
    waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
    await asyncio.sleep(0.1)
    assert driver._guard.current is not None
    assert driver._guard.current._listener is not None
    await driver._guard.current._listener.close()
    await other.publish("q", [message()])
    assert len(await waiting) == 1


async def test_the_listener_comes_back(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver, other = await make(poll_interval=60.0), await make()
    await driver.receive("q", 1, 0.01)
    await eventually(lambda: _hears(driver), "a listener")
    proxy.cut()
    await eventually(lambda: _is_deaf(driver), "the end of the connection")
    await eventually(lambda: _hears(driver), "a new listener")
    await eventually(lambda: other.depth("q"), "the other driver")
    await eventually(lambda: driver.depth("q"), "the driver")
    waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
    await asyncio.sleep(0.1)
    await other.publish("q", [message()])
    assert len(await waiting) == 1


async def _is_deaf(driver: PostgresDriver) -> bool:
    return not await _hears(driver)


async def _hears(driver: PostgresDriver) -> bool:
    return driver._guard.current is not None and driver._guard.current.hears


async def test_a_dropped_schema_is_made_anew_by_the_next_open(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    await sql.execute(f"DROP SCHEMA {schema} CASCADE")
    await driver.close()
    await driver.open()
    await driver.publish("q", [message()])
    assert len(await driver.receive("q", 1, 5.0)) == 1


async def test_a_line_whose_front_was_deleted_by_hand(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    spec = QueueSpec("q", ordering="key")
    driver = await make(spec=spec)
    await driver.publish("q", [message(id, key="k") for id in "abc"])
    (first,) = await driver.receive("q", 3, 5.0)
    assert first.id == "a"
    await sql.execute(f"DELETE FROM {schema}.messages WHERE id = 'a'")
    await driver.declare(spec)
    assert [item.id for item in await driver.receive("q", 3, 5.0)] == ["b"]


async def test_rows_of_another_program_arrive(make: Callable[..., Any], sql: asyncpg.Connection, schema: str) -> None:
    driver = await make()
    await sql.execute(
        f"""SELECT {schema}.publish('q', array['a', 'b'], array['x', 'y']::bytea[], array['no json', null]::bytea[],
            null, null, null, null, false)"""
    )
    got = await driver.receive("q", 2, 5.0)
    assert [(item.id, item.body, item.headers) for item in got] == [("a", b"x", {}), ("b", b"y", {})]


async def test_a_locked_table_keeps_nobody_waiting_for_ever(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make(timeout=1.0)
    async with sql.transaction():
        await sql.execute(f"LOCK TABLE {schema}.messages")
        for verb in (driver.publish("q", [message()]), driver.receive("q", 1, 0.0), driver.depth("q")):
            began = time.monotonic()
            with pytest.raises(DriverError) as raised:
                await verb
            assert raised.value.retryable
            assert time.monotonic() - began < PATIENCE
    await driver.publish("q", [message()])
    assert len(await driver.receive("q", 1, 5.0)) == 1


async def test_rows_that_somebody_has_locked_are_passed_by(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    await driver.publish("q", [message(id) for id in "abc"])
    async with sql.transaction():
        await sql.execute(f"SELECT FROM {schema}.messages WHERE id = 'a' FOR UPDATE")
        assert [item.id for item in await driver.receive("q", 3, 5.0)] == ["b", "c"]
    assert [item.id for item in await driver.receive("q", 3, 5.0)] == ["a"]


async def test_settling_and_extending_the_same_deliveries_never_deadlock(
    make: Callable[..., Any], sql: asyncpg.Connection
) -> None:
    driver, other = await make(), await make()
    for _ in range(10):
        await driver.publish("q", [message(f"{number}") for number in range(200)])
        receipts = [item.receipt for item in await driver.receive("q", 200, 5.0)]
        await asyncio.gather(
            driver.settle("q", [Nack(receipt) for receipt in receipts]),
            other.extend("q", receipts[::-1], 5.0),
            driver.extend("q", receipts, 5.0),
            other.settle("q", [Ack(receipt) for receipt in receipts[::-1]]),
        )
        await driver.purge("q")
    assert await sql.fetchval("SELECT sum(deadlocks) FROM pg_stat_database") == 0


async def test_ten_processes_make_the_tables_at_once(server: Postgres, schema: str, sql: asyncpg.Connection) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=open_once, args=(server.port, schema), daemon=True) for _ in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join, PATIENCE)
    assert [process.exitcode for process in processes] == [0] * 10
    versions = [row[0] for row in await sql.fetch(f"SELECT version FROM {schema}.migrations ORDER BY version")]
    assert versions == list(range(1, len(versions) + 1))
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.messages") == 10


def open_once(port: int, schema: str) -> None:
    async def work() -> None:
        driver = PostgresDriver(
            "postgres", PostgresSettings(url=address(port), schema=schema, connect_timeout=PATIENCE)
        )
        await driver.declare(QueueSpec("q"))
        await driver.open()
        await driver.publish("q", [message()])
        await driver.close()

    asyncio.run(work())


async def test_a_schema_of_a_newer_version_is_refused(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    await (await make()).close()
    await sql.execute(f"INSERT INTO {schema}.migrations (version, min_version) VALUES (1000, 999)")
    with pytest.raises(
        DriverError, match=r"has layout 1000, which needs a Tasuki that knows layout 999; this one knows"
    ):
        await make()


async def test_two_versions_work_side_by_side(make: Callable[..., Any], sql: asyncpg.Connection, schema: str) -> None:
    """The newer one has added columns to all tables, and tables and functions."""
    running = await make(spec=QueueSpec("q", lease=5.0, ordering="key", dedup_window=60.0))
    tables = await sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    for (table,) in tables:
        await sql.execute(f"ALTER TABLE {schema}.{table} ADD COLUMN added text NOT NULL DEFAULT 'x'")
    await sql.execute(f"CREATE TABLE {schema}.added (queue integer)")
    await sql.execute(f"CREATE FUNCTION {schema}.added() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    await sql.execute(f"INSERT INTO {schema}.migrations (version, min_version) VALUES (1000, 10)")
    starting = await make(spec=QueueSpec("q", lease=5.0, ordering="key", dedup_window=60.0))
    for one, other in ((running, starting), (starting, running)):
        batch = [message(id, key="k") for id in ("a", "b")] + [message("c", priority=9), message("d", delay=60.0)]
        assert not await one.publish("q", [*batch, message("a")])
        assert len(await other.peek("q", 10)) == 4
        taken = await other.receive("q", 10, 1.0)
        assert {item.id for item in taken} == {"a", "c"}
        assert not await other.start("q", [taken[0].receipt])
        assert not await other.extend("q", [item.receipt for item in taken], 5.0)
        assert not await other.settle("q", [Nack(taken[0].receipt), Release(taken[1].receipt)])
        taken = await one.receive("q", 10, 1.0)
        assert {item.id for item in taken} == {"a", "c"}
        assert not await one.settle("q", [Ack(item.receipt) for item in taken])
        depth = await other.depth("q")
        assert (depth.ready, depth.in_flight, depth.delayed) == (1, 0, 1)
        assert await other.purge("q") == 2
        await one.declare(QueueSpec("other", temporary=True))
        await one.delete("other")
        await one.delete("q")
        for driver in (one, other):
            await driver.declare(QueueSpec("q", lease=5.0, ordering="key", dedup_window=60.0))
    await sql.execute(f"DROP FUNCTION {schema}.added()")
    [(dropped,)] = await sql.fetch(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = $1 AND p.proname = 'publish' LIMIT 1", schema
    )  # fmt: skip
    await sql.execute(f"DROP FUNCTION {dropped} CASCADE")
    with pytest.raises(
        DriverError, match=r"is of a newer Tasuki \(layout 1000\) and lacks publish: start a process of it"
    ):
        await make()


async def test_consumers_of_a_killed_process_are_not_counted(
    server: Postgres, make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    await driver.attach("q", 2)
    context = multiprocessing.get_context("spawn")
    there, here = context.Pipe()
    process = context.Process(target=attach_three, args=(server.port, schema, there), daemon=True)
    process.start()
    assert await asyncio.to_thread(here.poll, PATIENCE)
    await eventually(lambda: _consumers(driver, 5), "five consumers")
    known = f"SELECT count(pid) = 2 FROM {schema}.holders"
    await eventually(lambda: sql.fetchval(known), "the connections that listen")
    process.kill()
    await asyncio.to_thread(process.join)
    await eventually(lambda: _consumers(driver, 2), "two consumers")
    here.close()
    there.close()
    process.close()


async def _consumers(driver: PostgresDriver, number: int) -> bool:
    return bool((await driver.depth("q")).consumers == number)


def attach_three(port: int, schema: str, pipe: Any) -> None:
    async def work() -> None:
        driver = PostgresDriver("postgres", PostgresSettings(url=address(port), schema=schema))
        await driver.declare(QueueSpec("q"))
        await driver.open()
        await driver.attach("q", 3)
        pipe.send(True)
        await asyncio.Event().wait()

    asyncio.run(work())


async def test_a_bounded_queue_is_never_overfull(make: Callable[..., Any]) -> None:
    spec = QueueSpec("q", max_length=50)
    drivers = [await make(spec=spec) for _ in range(3)]
    confirmed = 0
    over = False

    async def publish(driver: PostgresDriver) -> None:
        nonlocal confirmed
        while not over:
            try:
                results = await driver.publish("q", [message(f"{number}") for number in range(7)])
                confirmed += 7 if not results else sum(result is None for result in results)
            except QueueFullError:
                await asyncio.sleep(0.001)

    publishers = [asyncio.create_task(publish(driver)) for driver in drivers]
    taken = 0
    while taken < 500:
        depth = await drivers[0].depth("q")
        assert depth.ready + depth.in_flight <= 50
        got = await drivers[1].receive("q", 20, 5.0)
        await drivers[1].settle("q", [Ack(item.receipt) for item in got])
        taken += len(got)
    over = True
    await asyncio.gather(*publishers)
    depth = await drivers[0].depth("q")
    assert taken + depth.ready == confirmed


async def test_nobody_is_notified_unless_somebody_waits(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    driver = await make()
    heard: list[str] = []

    def hear(*arguments: Any) -> None:
        heard.append(arguments[3])

    channel = f"tasuki:{driver._guard.current.holder:x}"
    await sql.add_listener(channel, hear)
    await driver.publish("q", [message()])
    await sql.fetchval("SELECT 1")
    assert heard == []
    await driver.receive("q", 1, 5.0)
    waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
    await eventually(lambda: sql.fetchval(f"SELECT count(*) FROM {schema}.waiters WHERE hears"), "a waiting process")
    await driver.publish("q", [message(f"{number}") for number in range(100)])
    await waiting
    await eventually(lambda: more(heard, 1), "a notification")
    assert heard == ["q"]
    await sql.remove_listener(channel, hear)


async def test_no_more_connections_than_the_server_has(
    server: Postgres, make: Callable[..., Any], sql: asyncpg.Connection, schema: str
) -> None:
    await (await make()).close()
    await sql.execute("DROP ROLE IF EXISTS few")
    await sql.execute("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 2")
    await sql.execute("ALTER DATABASE postgres CONNECTION LIMIT -1")
    await sql.execute("ALTER ROLE few NOSUPERUSER")
    await sql.execute(f"GRANT ALL ON SCHEMA {schema} TO few")
    await sql.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO few")
    await sql.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO few")
    driver = await make(url=address(server.port, user="few"), pool_size=10)
    results = await asyncio.gather(*(driver.publish("q", [message(f"{number}")]) for number in range(50)))
    assert not any(any(result) for result in results)
    assert (await driver.depth("q")).ready == 50


async def test_wrong_credentials_and_unknown_databases(server: Postgres, make: Callable[..., Any]) -> None:
    for url in (address(server.port, user="nobody:hidden"), address(server.port, database="nowhere")):
        with pytest.raises(AccessDeniedError) as raised:
            await make(url=url)
        assert "hidden" not in str(raised.value)


async def test_nobody_at_the_address(make: Callable[..., Any], proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(BrokerUnavailableError) as raised:
        await make()
    assert raised.value.outcome == "rejected"


async def test_durability_is_that_of_the_settings(
    server: Postgres, make: Callable[..., Any], sql: asyncpg.Connection
) -> None:
    assert (await make()).durability == "broker"  # fsync is off
    await sql.execute("ALTER DATABASE postgres SET synchronous_commit = off")
    try:
        assert (await make()).durability == "process"
    finally:
        await sql.execute("ALTER DATABASE postgres RESET synchronous_commit")


@pytest.mark.parametrize("commit", ["off", "local"])
async def test_the_driver_and_a_queue_say_what_their_commits_wait_for(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, commit: str
) -> None:
    level = {"off": "process", "local": "broker"}[commit]  # fsync is off
    driver, other = await make(synchronous_commit=commit), await make()
    assert (driver.durability, other.durability) == (level, "broker")
    weak = QueueSpec("weak", options={"synchronous_commit": commit})
    await other.declare(weak)
    assert (other.durability_of("weak"), other.durability_of("q")) == (level, "broker")
    await sql.execute(
        f"""CREATE FUNCTION {schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO {schema}.notes VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE TABLE {schema}.notes (id text, value text);
        CREATE CONSTRAINT TRIGGER note AFTER INSERT ON {schema}.messages DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION {schema}.note()"""
    )
    await other.publish("weak", [message("a")])
    await other.publish("q", [message("b")])
    await driver.publish("q", [message("c")])
    notes = dict(await sql.fetch(f"SELECT id, value FROM {schema}.notes"))
    assert notes == {"a": commit, "b": "on", "c": commit}, "when the transaction commits"
    assert (await driver.inspect(QueueSpec("weak"))).options == {"synchronous_commit": commit}
    async with sql.transaction():
        await other.publish_within(sql, "weak", [message("d")])
        assert await sql.fetchval("SELECT current_setting('synchronous_commit')") == "on", "that is for the caller"
    await driver.declare(QueueSpec("weak"))
    await other.publish("weak", [message("e")])
    assert other.durability_of("weak") == "broker", "the last declaration holds"


async def test_a_default_of_stricter_isolation_changes_nothing(
    make: Callable[..., Any], sql: asyncpg.Connection
) -> None:
    await sql.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
    try:
        driver = await make()
        await driver.publish("q", [message(f"{number}") for number in range(100)])
        taken = await asyncio.gather(*(driver.receive("q", 10, 5.0) for _ in range(10)))
        assert len({item.id for got in taken for item in got}) == 100
    finally:
        await sql.execute("ALTER DATABASE postgres RESET default_transaction_isolation")


async def test_a_pooler_is_noticed_and_listen_url_leads_around_it(server: Postgres, schema: str) -> None:
    pooler = Pgbouncer.shared()
    shared = Postgres.shared().port
    through = PostgresDriver("postgres", PostgresSettings(url=address(pooler.port), schema=schema))
    around = PostgresDriver(
        "postgres", PostgresSettings(url=address(pooler.port), listen_url=address(shared), schema=schema)
    )
    try:
        for driver in (through, around):
            await driver.declare(QueueSpec("q"))
            await driver.open()
            await driver.receive("q", 1, 0.01)
        await eventually(lambda: _hears(around), "a listener")
        assert not await _hears(through)
        for driver, other in ((through, around), (around, through)):
            waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
            await asyncio.sleep(0.1)
            await other.publish("q", [message()])
            (got,) = await waiting
            await driver.settle("q", [Ack(got.receipt)])
    finally:
        await through.close()
        await around.close()


async def test_what_callers_publish_into_a_bounded_queue_is_added_up(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "BEAT", 0.2)
    driver = await make(spec=QueueSpec("q", lease=5.0, max_length=5))
    async with sql.transaction():
        await driver.publish_within(sql, "q", [message(str(number)) for number in range(3)])
    come_and_gone = "SELECT id, change FROM {0}.queues, generate_series(1, 1000), unnest(array[1, -1]) AS change"
    await sql.execute(f"INSERT INTO {schema}.changes " + come_and_gone.format(schema))

    async def is_short() -> bool:
        return bool(await sql.fetchval(f"SELECT count(*) < 1000 FROM {schema}.changes"))

    await eventually(is_short, "changes are added up")
    for left in (1, 0):
        async with sql.transaction():
            assert not await driver.publish_within(sql, "q", [message(f"more-{left}")])
    with pytest.raises(QueueFullError):
        async with sql.transaction():
            await driver.publish_within(sql, "q", [message("too many")])


async def test_what_was_published_while_its_queue_was_deleted_does_not_stay(
    make: Callable[..., Any], sql: asyncpg.Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "BEAT", 0.2)
    driver = await make()
    async with sql.transaction():
        await driver.publish_within(sql, "q", [message()])
        await driver.delete("q")
    assert await sql.fetchval(f"SELECT count(*) FROM {schema}.messages") == 1
    await sql.execute(f"UPDATE {schema}.deleted SET deleted_at = deleted_at - interval '1 hour'")

    async def is_empty() -> bool:
        left = f"SELECT (SELECT count(*) FROM {schema}.messages) + (SELECT count(*) FROM {schema}.deleted) = 0"
        return bool(await sql.fetchval(left))

    await eventually(is_empty, "nothing is left")
