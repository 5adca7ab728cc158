"""Publishing inside the caller's own database transaction: there if and when it commits, with every client."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tasuki import App
from tasuki.errors import AccessDeniedError, DriverError, LifecycleError, QueueFullError, UnsupportedError
from tasuki.queues.queue import Envelope
from tasuki.queues.result import Confirmed, Rejected
from tests.support.brokers.postgres import Postgres

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
_names = (f"outbox_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def address() -> str:
    return f"127.0.0.1:{Postgres.shared().port}/postgres"


@pytest.fixture
def url(address: str) -> str:
    return f"postgresql://postgres@{address}"


@pytest.fixture
def name() -> str:
    return next(_names)


@pytest.fixture
async def app(url: str, name: str) -> AsyncIterator[App]:
    app = App(url)
    app.queue(name)
    app.queue("full", max_length=1, queue_name=f"{name}_full")
    async with app:
        yield app


async def received(app: App, queue: str) -> list[Any]:
    """What can be received at once."""
    live = app._runtime.queue(queue)
    return [live.decode(message) for message in await live.driver.receive(live.spec.name, 100, 0.0)]


# Each opens a connection in a transaction; leaving the block commits, and an exception rolls back.


@asynccontextmanager
async def of_asyncpg(address: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(f"postgresql://postgres@{address}")
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def of_asyncpg_pool(address: str) -> AsyncIterator[Any]:
    pool = asyncpg.create_pool(f"postgresql://postgres@{address}", min_size=1)
    async with pool, pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        yield connection


@asynccontextmanager
async def of_psycopg(address: str) -> AsyncIterator[Any]:
    there = f"postgresql://postgres@{address}"
    async with await psycopg.AsyncConnection.connect(there, row_factory=dict_row) as connection:
        yield connection


@asynccontextmanager
async def of_sqlalchemy(address: str) -> AsyncIterator[Any]:
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{address}")
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def of_sqlalchemy_session(address: str) -> AsyncIterator[Any]:
    engine = create_async_engine(f"postgresql+psycopg://postgres@{address}")
    try:
        async with AsyncSession(engine) as session, session.begin():
            yield session
    finally:
        await engine.dispose()


@contextmanager
def of_psycopg_sync(address: str) -> Iterator[Any]:
    with psycopg.connect(f"postgresql://postgres@{address}") as connection:
        yield connection


@contextmanager
def of_psycopg_autocommit(address: str) -> Iterator[Any]:
    with psycopg.connect(f"postgresql://postgres@{address}", autocommit=True) as connection, connection.transaction():
        yield connection


@contextmanager
def of_sqlalchemy_sync(address: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://postgres@{address}")
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def of_sqlalchemy_session_sync(address: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://postgres@{address}")
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


ASYNC = [of_asyncpg, of_asyncpg_pool, of_psycopg, of_sqlalchemy, of_sqlalchemy_session]
SYNC = [of_psycopg_sync, of_psycopg_autocommit, of_sqlalchemy_sync, of_sqlalchemy_session_sync]


class RolledBackError(Exception):
    """Ends a transaction."""


@pytest.mark.parametrize("transaction", ASYNC)
async def test_it_is_there_when_the_transaction_commits(
    app: App, address: str, name: str, transaction: Callable[[str], AbstractAsyncContextManager[Any]]
) -> None:
    queue = app.queue(name)
    async with transaction(address) as connection:
        confirmed = await queue.publish({"n": 1}, {"h": 1.0}, priority=3, key="k", id="one", connection=connection)
        assert confirmed.id == "one"
        many = await queue.publish_many([2, Envelope(body=3, headers={"x": "y"})], connection=connection)
        assert [type(result) for result in many] == [Confirmed] * 2
        await queue.publish(b"\0raw\xff", delay=3600, connection=connection)
        assert await received(app, name) == []
    assert await received(app, name) == [{"n": 1}, 2, 3]
    depth = await queue.depth()
    assert (depth.ready, depth.in_flight, depth.delayed) == (0, 3, 1)


@pytest.mark.parametrize("transaction", ASYNC)
async def test_nothing_is_left_of_it_after_a_rollback(
    app: App, address: str, name: str, transaction: Callable[[str], AbstractAsyncContextManager[Any]]
) -> None:
    async def roll_back() -> None:
        async with transaction(address) as connection:
            await app.queue(name).publish(1, connection=connection)
            raise RolledBackError

    with pytest.raises(RolledBackError):
        await roll_back()
    await app.queue(name).publish(2)
    assert await received(app, name) == [2]


@pytest.mark.parametrize("transaction", SYNC)
def test_synchronous_connections(
    url: str, address: str, name: str, transaction: Callable[[str], AbstractContextManager[Any]]
) -> None:
    app = App(url)
    app.queue(name)

    def roll_back() -> None:
        with transaction(address) as connection:
            app.sync.publish(name, 4, connection=connection)
            raise RolledBackError

    try:
        with transaction(address) as connection:
            assert isinstance(app.sync.publish(name, {"n": 1}, connection=connection), Confirmed)
            app.sync.publish_many(name, [2, 3], connection=connection)
            assert app.sync.queue(name).info()["ready"] == 0
        assert app.sync.queue(name).info()["ready"] == 3
        with pytest.raises(RolledBackError):
            roll_back()
        assert app.sync.queue(name).info()["ready"] == 3
    finally:
        app.sync.close()


def test_sync_code_with_an_asynchronous_connection_is_told(url: str, name: str) -> None:
    app = App(url)
    app.queue(name)

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url)

    with asyncio.Runner() as runner:
        connection = runner.run(connect())
        transaction = connection.transaction()
        runner.run(transaction.start())
        with pytest.raises((LifecycleError, DriverError)):
            app.sync.publish(name, 1, connection=connection)
        connection.terminate()
        runner.run(asyncio.sleep(0))
    app.sync.close()


async def test_the_commit_wakes_who_waits(app: App, address: str, name: str) -> None:
    live = app._runtime.queue(name)
    waiting = asyncio.create_task(live.driver.receive(live.spec.name, 1, PATIENCE))
    async with of_psycopg(address) as connection:
        await app.queue(name).publish("soon", connection=connection)
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
    began = asyncio.get_running_loop().time()
    assert [live.decode(message) for message in await waiting] == ["soon"]
    assert asyncio.get_running_loop().time() - began < PATIENCE / 2


async def test_a_full_queue_is_not_waited_for_and_the_transaction_lives_on(app: App, address: str) -> None:
    full = app.queue("full")
    async with of_asyncpg(address) as connection:
        results = await full.publish_many([1, 2], connection=connection)
        assert isinstance(results[0], Confirmed)
        assert isinstance(results[1], Rejected)
        with pytest.raises(QueueFullError):
            await full.publish(3, connection=connection)
        assert await connection.fetchval("SELECT 1") == 1
    assert await received(app, "full") == [1]
    with pytest.raises(QueueFullError):
        await full.publish(4, publish_timeout=10.0)


async def test_a_long_transaction_keeps_no_other_publisher_of_a_bounded_queue(
    app: App, address: str, name: str
) -> None:
    bounded = App(f"postgresql://postgres@{address}")
    bounded.queue(name, max_length=100)
    async with bounded, of_asyncpg(address) as connection:
        await bounded.queue(name).publish(1, connection=connection)
        await bounded.queue(name).publish(2, publish_timeout=PATIENCE)
        assert (await bounded.queue(name).depth()).ready == 1


async def test_what_is_no_connection_or_in_no_transaction(app: App, url: str, name: str) -> None:
    queue = app.queue(name)
    with pytest.raises(UnsupportedError, match="object: give a connection of asyncpg"):
        await queue.publish(1, connection=object())
    plain = await asyncpg.connect(url)
    try:
        with pytest.raises(UnsupportedError, match="no transaction"):
            await queue.publish(1, connection=plain)
    finally:
        await plain.close()
    with psycopg.connect(url, autocommit=True) as connection, pytest.raises(UnsupportedError, match="no transaction"):
        await queue.publish(1, connection=connection)


async def test_another_database_and_a_role_without_rights_are_told(app: App, url: str, name: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.execute(f"CREATE ROLE {name} LOGIN")
    finally:
        await admin.close()
    other = await asyncpg.connect(url, database=name)
    try:
        with pytest.raises(DriverError, match="schema is missing"):
            async with other.transaction():
                await app.queue(name).publish(1, connection=other)
    finally:
        await other.close()
    poor = await asyncpg.connect(url, user=name)
    try:
        with pytest.raises(AccessDeniedError, match="grant"):
            async with poor.transaction():
                await app.queue(name).publish(1, connection=poor)
    finally:
        await poor.close()


async def test_a_role_that_may_only_publish(app: App, url: str, name: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(
            f"""CREATE ROLE {name} LOGIN; GRANT USAGE ON SCHEMA tasuki TO {name};
            GRANT SELECT ON tasuki.queues, tasuki.waiters TO {name}; GRANT INSERT ON tasuki.messages TO {name}"""
        )
    finally:
        await admin.close()
    publisher = await asyncpg.connect(url, user=name)
    try:
        async with publisher.transaction():
            await app.queue(name).publish(1, connection=publisher)
    finally:
        await publisher.close()
    assert await received(app, name) == [1]


async def test_a_worker_that_does_not_own_the_schema(app: App, url: str, address: str, name: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(
            f"""CREATE ROLE {name} LOGIN; GRANT USAGE ON SCHEMA tasuki TO {name};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tasuki TO {name}"""
        )
    finally:
        await admin.close()
    worker = App(f"postgresql://{name}@{address}")
    worker.queue(name, max_length=10, dedup_window="1m", ordering="key")
    async with worker:
        await worker.queue(name).publish_many([Envelope(body=number, key="k") for number in range(3)])
        assert await received(worker, name) == [0]
        assert (await worker.queue(name).depth()).ready == 2
        assert await worker.queue(name).purge() == 2


async def test_other_drivers_refuse() -> None:
    app = App("memory://")
    app.queue("tasks")
    publish = app.queue("tasks").publish  # by another name, so that only the driver can refuse it
    async with app:
        with pytest.raises(UnsupportedError, match="transaction"):
            await publish(1, connection=object())


@pytest.mark.parametrize("transaction", ASYNC)
async def test_the_key_of_a_unique_message_is_kept_from_the_commit_on(
    app: App,
    address: str,
    name: str,
    transaction: Callable[[str], AbstractAsyncContextManager[Any]],
) -> None:
    queue = app.queue(name)

    async def roll_back() -> None:
        async with transaction(address) as connection:
            assert (await queue.publish(0, unique="k", connection=connection)).outcome == "stored"
            raise RolledBackError

    with pytest.raises(RolledBackError):
        await roll_back()
    async with transaction(address) as connection:
        first = await queue.publish(1, unique="k", id="a", connection=connection)
        many = [Envelope(body=2, unique="k", id="b"), Envelope(body=3, unique="other"), 4]
        results = await queue.publish_many(many, connection=connection)
    assert first.outcome == "stored"
    assert [each.outcome for each in results if isinstance(each, Confirmed)] == ["kept", "stored", "stored"]
    assert results[0].id == "a"
    assert sorted(await received(app, name)) == [1, 3, 4]


@pytest.mark.parametrize("transaction", SYNC)
def test_unique_messages_of_synchronous_connections(
    url: str,
    address: str,
    name: str,
    transaction: Callable[[str], AbstractContextManager[Any]],
) -> None:
    app = App(url)
    app.queue(name)
    try:
        with transaction(address) as connection:
            app.sync.publish(name, 1, unique="k", id="a", connection=connection)
            later = app.sync.publish(
                name, 2, unique="k", on_conflict="extend", delay="1h", id="b", connection=connection
            )
        assert (later.outcome, later.instead_of) == ("extended", "a")
        depth = app.sync.queue(name).info()
        assert (depth["ready"], depth["delayed"]) == (0, 1)
    finally:
        app.sync.close()
