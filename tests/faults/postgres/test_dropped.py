"""Tables, functions and queues are dropped underneath running PostgreSQL drivers: these make them again and go on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec, Received
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError
from tests.faults.postgres.load import past_deadlocks
from tests.support.brokers.postgres import Pgbouncer, Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 60.0
SPEC = QueueSpec("q")
OTHER = QueueSpec("other")
REPLIES = QueueSpec("reply.1", temporary=True)
Make = Callable[..., Awaitable[PostgresDriver]]


@pytest.fixture
async def make(schema: str) -> AsyncIterator[Make]:
    """Open drivers with some queues, straight to the server or through a pooler; closed at the end."""
    drivers: list[PostgresDriver] = []

    async def make(*specs: QueueSpec, pooled: bool = False, user: str = "postgres") -> PostgresDriver:
        port = Pgbouncer.shared().port if pooled else Postgres.shared().port
        url = f"postgresql://{user}@127.0.0.1:{port}/postgres"
        drivers.append(driver := PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=schema)))
        for spec in specs:
            await driver.declare(spec)
        await driver.open()
        return driver

    yield make
    for driver in drivers:
        await driver.close()


@pytest.fixture
async def sql(schema: str) -> AsyncIterator[Callable[[str], Awaitable[list[Any]]]]:
    """A statement of an administrator, with ``{}`` for the schema; returns the first column."""
    connection = await asyncpg.connect(Postgres.shared().url)

    async def run(statement: str) -> list[Any]:
        return [row[0] for row in await past_deadlocks(lambda: connection.fetch(statement.format(schema)))]

    yield run
    await connection.close()


def message(id: str) -> Outgoing:
    return Outgoing(id, b"body", {})


async def one(driver: PostgresDriver, queue: str = "q") -> Received:
    """The next message; a receive that meets the drop itself may fail, and is tried again, as a consumer does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(BrokerUnavailableError):
                (got,) = await driver.receive(queue, 1, PATIENCE)
                return got
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
@pytest.mark.parametrize(
    "statement",
    [
        "DROP SCHEMA {} CASCADE",
        "DROP TABLE {}.messages",
        "DROP TABLE {}.queues CASCADE",
        "DROP TABLE {0}.messages, {0}.queues, {0}.migrations, {0}.seen, {0}.waiters CASCADE",
        "DROP FUNCTION {0}.receive, {0}.settle(text, bigint[], integer[], smallint[], double precision[], boolean)",
        "DELETE FROM {}.queues",
    ],
)
async def test_a_running_worker_and_publisher_go_on(make: Make, sql: Any, statement: str, pooled: bool) -> None:
    """Publishes that were not stored say so: none has an unknown outcome."""
    publisher, worker = await make(SPEC, OTHER, pooled=pooled), await make(SPEC, OTHER, pooled=pooled)
    handled: set[str] = set()
    outcomes: list[str] = []

    async def consume() -> None:
        while True:
            with suppress(BrokerUnavailableError):
                got = await worker.receive("q", 10, 5.0)
                await worker.settle("q", [Ack(item.receipt) for item in got])
                handled.update(item.id for item in got)
            await asyncio.sleep(0)

    async def publish(id: str) -> None:
        try:
            assert not any(await publisher.publish("q", [message(id)]))
        except BrokerUnavailableError as error:
            outcomes.append(error.outcome)

    async def until_handled(name: str) -> None:
        numbers = itertools.count()
        while not any(id.startswith(name) for id in handled):
            await publish(f"{name}{next(numbers)}")
            await asyncio.sleep(0.01)

    async with asyncio.timeout(PATIENCE):
        consuming = asyncio.create_task(consume())
        await until_handled("before")
        await sql(statement)
        await until_handled("after")
        assert not any(await publisher.publish("other", [message("elsewhere")]))
        assert (await one(worker, "other")).id == "elsewhere"
        consuming.cancel()
    assert set(outcomes) <= {"rejected"}


async def test_a_receive_that_waits_gets_what_is_published_after_the_drop(make: Make, sql: Any) -> None:
    publisher, worker = await make(SPEC), await make(SPEC)
    waiting = asyncio.create_task(one(worker))
    while not await sql("SELECT 1 FROM {}.waiters"):
        await asyncio.sleep(0.01)
    await sql("DROP SCHEMA {} CASCADE")
    await publisher.publish("q", [message("after")])
    assert (await waiting).id == "after"


async def test_receipts_of_a_dropped_table_fit_no_message_of_the_new_one(make: Make, sql: Any) -> None:
    driver = await make(SPEC)
    for statement in ("DROP TABLE {}.messages", "DROP SCHEMA {} CASCADE"):
        await driver.publish("q", [message("old")])
        old = await one(driver)
        await sql(statement)
        await driver.publish("q", [message("new")])
        new = await one(driver)
        assert list(await driver.settle("q", [Ack(old.receipt)])) == [old.receipt]
        assert list(await driver.settle("q", [Ack(new.receipt)])) == []


async def test_messages_of_a_dropped_list_of_queues_never_come_in_another(make: Make, sql: Any) -> None:
    driver = await make(SPEC, OTHER)
    await driver.publish("q", [message("orphan")])
    await sql("DROP TABLE {}.queues CASCADE")
    for queue in ("other", "q"):
        await driver.publish(queue, [message(queue)])
        assert (await one(driver, queue)).id == queue
        assert await driver.receive(queue, 1, 0.0) == []


async def test_a_role_that_may_not_make_tables_waits_for_one_that_may(make: Make, sql: Any, schema: str) -> None:
    owner = await make(SPEC)
    role = f"worker_of_{schema}"
    await sql(f"CREATE ROLE {role} LOGIN")
    rights = f"GRANT USAGE ON SCHEMA {{0}} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {{0}} TO {role}"
    for right in rights.split("; "):
        await sql(right)
    worker = await make(SPEC, user=role)
    await worker.publish("q", [message("before")])
    await sql("DROP SCHEMA {} CASCADE")
    for _ in range(2):
        with pytest.raises(BrokerUnavailableError, match="missing") as raised:
            await worker.publish("q", [message("lost")])
        assert raised.value.outcome == "rejected"
    await owner.depth("q")
    for right in rights.split("; "):
        await sql(right)
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(DriverError):
                await worker.publish("q", [message("after")])
                break
            await asyncio.sleep(0.05)
    assert (await one(owner)).id == "after"


async def test_a_temporary_queue_is_made_again_by_no_publish(make: Make, sql: Any) -> None:
    """Not even by its own process, which makes it when it learns that the queue is gone."""
    driver = await make(SPEC, REPLIES)
    for statement in ("DELETE FROM {}.queues", "DROP SCHEMA {} CASCADE"):
        await sql(statement)
        with pytest.raises(QueueNotFoundError) as raised:
            await driver.publish(REPLIES.name, [message("late")])
        assert raised.value.outcome == "rejected"
        await driver.publish("q", [message("x")])
        assert await sql("SELECT name FROM {}.queues") == ["q"]
        await driver.declare(REPLIES)


async def test_several_processes_that_mend_at_once(make: Make, sql: Any) -> None:
    drivers = [await make(SPEC, OTHER, pooled=pooled) for pooled in (False, True) * 3]
    for statement in ("DROP SCHEMA {} CASCADE", "DROP TABLE {0}.messages, {0}.seen"):
        await sql(statement)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(driver.publish("q", [message("x")]) for driver in drivers for _ in range(5)))
        assert (await drivers[0].depth("q")).ready == 30
        assert await drivers[0].purge("q") == 30


async def test_a_process_that_only_looks_makes_nothing(make: Make, sql: Any, schema: str) -> None:
    tool = await make()
    with pytest.raises(QueueNotFoundError):
        await tool.inspect(SPEC)
    assert await sql(f"SELECT nspname FROM pg_namespace WHERE nspname = '{schema}'") == []
    await (await make(SPEC)).publish("q", [message("x")])
    assert await tool.inspect(SPEC) == SPEC
    assert (await tool.depth("q")).ready == 1
    await sql("DELETE FROM {}.queues")
    with pytest.raises(QueueNotFoundError):
        await tool.publish("q", [message("y")])
    assert await sql("SELECT name FROM {}.queues") == []
