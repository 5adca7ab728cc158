"""Settling inside a database transaction: with every client of PostgreSQL and of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tasuki import App
from tasuki.contracts.driver import Ack, Driver
from tasuki.drivers import PostgreSQL
from tasuki.errors import ConflictError, StaleReceiptError, UnsupportedError
from tasuki.system.threads import at_once, entered_at_once
from tests.e2e.test_outbox import ASYNC, SYNC, RolledBackError, address, name, url

pytestmark = pytest.mark.anyio
__all__ = ["address", "name", "url"]


@pytest.fixture
async def postgres(url: str, name: str) -> AsyncIterator[tuple[Driver, str]]:
    app = App(url)
    app.queue(name)
    async with app:
        live = app._runtime.queue(name)
        yield live.driver, live.spec.name


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[tuple[Driver, str]]:
    app = App(f"sqlite:///{tmp_path}/queue.db")
    app.queue("q")
    async with app:
        live = app._runtime.queue("q")
        yield live.driver, live.spec.name


async def held(driver: Driver, queue: str) -> Any:
    """The receipt of a new message."""
    from tasuki.contracts.driver import Outgoing

    await driver.publish(queue, [Outgoing("one", b"", {})])
    return (await driver.receive(queue, 1, 5.0))[0].receipt


async def rolled_back(driver: Driver, connection: Any, queue: str, receipt: Any) -> None:
    async with driver.transaction(connection) as opened:
        await driver.settle_within(opened, queue, [Ack(receipt)])
        raise RolledBackError


async def is_gone(driver: Driver, queue: str, receipt: Any) -> bool:
    return list(await driver.settle(queue, [Ack(receipt)])) == [receipt]


@pytest.mark.parametrize("transaction", ASYNC)
async def test_it_ends_with_the_commit(
    postgres: tuple[Driver, str], address: str, transaction: Callable[[str], AbstractAsyncContextManager[Any]]
) -> None:
    driver, queue = postgres
    receipt = await held(driver, queue)

    async def roll_back() -> None:
        async with transaction(address) as connection:
            await driver.settle_within(connection, queue, [Ack(receipt)])
            raise RolledBackError

    with pytest.raises(RolledBackError):
        await roll_back()
    assert not await driver.extend(queue, [receipt], 30.0)
    async with transaction(address) as connection:
        await driver.settle_within(connection, queue, [Ack(receipt)])
        assert await driver.claim_within(connection, queue, "k", 60.0) is None
        await driver.remember_within(connection, queue, "k", b"done")
    assert await is_gone(driver, queue, receipt)

    async def again() -> None:
        async with transaction(address) as connection:
            assert await driver.claim_within(connection, queue, "k", 60.0) == b"done"
            await driver.settle_within(connection, queue, [Ack(receipt)])

    with pytest.raises(StaleReceiptError):
        await again()


def refusal() -> Exception:
    return AssertionError("it has suspended")


@pytest.mark.parametrize("transaction", SYNC)
async def test_synchronous_connections_do_not_suspend(
    postgres: tuple[Driver, str], address: str, transaction: Callable[[str], AbstractContextManager[Any]]
) -> None:
    driver, queue = postgres
    receipt = await held(driver, queue)
    with transaction(address) as connection:
        at_once(driver.settle_within(connection, queue, [Ack(receipt)]), refusal)
        assert at_once(driver.claim_within(connection, queue, "s", 60.0), refusal) is None
    assert await is_gone(driver, queue, receipt)


async def test_connections_of_the_callers_are_begun_and_committed(
    postgres: tuple[Driver, str], url: str, address: str
) -> None:
    driver, queue = postgres

    async def works(connection: Any) -> None:
        receipt = await held(driver, queue)
        with pytest.raises(RolledBackError):
            await rolled_back(driver, connection, queue, receipt)
        async with driver.transaction(connection) as opened:
            await driver.settle_within(opened, queue, [Ack(receipt)])
        assert await is_gone(driver, queue, receipt)

    plain = await asyncpg.connect(url)
    try:
        await works(plain)
        async with plain.transaction():
            with pytest.raises(UnsupportedError, match="in a transaction already"):
                async with driver.transaction(plain):
                    pass
    finally:
        await plain.close()
    async with await psycopg.AsyncConnection.connect(url) as of_psycopg:
        await works(of_psycopg)
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{address}")
    try:
        async with AsyncSession(engine) as session:
            await session.execute(sqlalchemy.text("SELECT 1"))
            await works(session)
        await works(engine.begin)
    finally:
        await engine.dispose()
    with pytest.raises(UnsupportedError, match="object: give"):
        async with driver.transaction(object()):
            pass


async def test_synchronous_connections_of_the_callers(postgres: tuple[Driver, str], url: str, address: str) -> None:
    driver, queue = postgres

    async def works(connection: Any) -> None:
        receipt = await held(driver, queue)
        with entered_at_once(driver.transaction(connection, sync=True), refusal) as opened:
            at_once(driver.settle_within(opened, queue, [Ack(receipt)]), refusal)
        assert await is_gone(driver, queue, receipt)

    await works(None)  # of psycopg
    await works(None)  # the same one
    with psycopg.connect(url, autocommit=True) as plain:
        await works(plain)
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://postgres@{address}")
    with Session(engine) as session:
        await works(session)
    await works(engine.begin)
    engine.dispose()


async def test_a_claim_that_waits_too_long_is_a_conflict(url: str, name: str) -> None:
    app = App(PostgreSQL(url, timeout="1s"))
    app.queue(name)
    async with app:
        driver = app._runtime.queue(name).driver
        async with driver.transaction() as first:
            assert await driver.claim_within(first, name, "k", 60.0) is None
            with pytest.raises(ConflictError, match="claimed by another"):
                async with driver.transaction() as second:
                    await driver.claim_within(second, name, "k", 60.0)


async def test_connections_to_the_file(sqlite: tuple[Driver, str], tmp_path: Path) -> None:
    driver, queue = sqlite
    path = tmp_path / "queue.db"

    async def works(connection: Any) -> None:
        receipt = await held(driver, queue)
        with pytest.raises(RolledBackError):
            await rolled_back(driver, connection, queue, receipt)
        with entered_at_once(driver.transaction(connection, sync=True), refusal) as opened:
            at_once(driver.settle_within(opened, queue, [Ack(receipt)]), refusal)
        assert await is_gone(driver, queue, receipt)

    await works(None)
    with closing(sqlite3.connect(path)) as plain:
        plain.row_factory = sqlite3.Row
        plain.text_factory = str
        await works(plain)
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        await works(plain)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        await works(session)
    await works(engine.begin)
    engine.dispose()


async def test_other_files_are_refused(sqlite: tuple[Driver, str], tmp_path: Path) -> None:
    driver, queue = sqlite
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as other:
        with pytest.raises(UnsupportedError, match=r"other\.db.*one transaction cannot cover both"):
            async with driver.transaction(other):
                pass
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnsupportedError, match="cannot cover both"):
            await driver.settle_within(other, queue, [Ack(1)])
        other.execute("ROLLBACK")
    with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as plain:
        with pytest.raises(UnsupportedError, match="no transaction"):
            await driver.settle_within(plain, queue, [Ack(1)])
        plain.execute("ATTACH ? AS theirs", (str(tmp_path / "other.db"),))
        with pytest.raises(UnsupportedError, match=r"attached \(theirs\)"):
            async with driver.transaction(plain):
                pass
        plain.execute("DETACH theirs")
        plain.execute("BEGIN")
        with pytest.raises(UnsupportedError, match="in a transaction already"):
            async with driver.transaction(plain):
                pass
    with pytest.raises(UnsupportedError, match="object: give a connection of sqlite3"):
        async with driver.transaction(object()):
            pass


async def test_other_drivers_refuse() -> None:
    app = App("memory://")
    app.queue("q")
    async with app:
        live = app._runtime.queue("q")
        with pytest.raises(UnsupportedError, match="cannot settle in a transaction"):
            await live.driver.settle_within(object(), live.spec.name, [Ack(1)])
        with pytest.raises(UnsupportedError, match="cannot open a transaction"):
            live.driver.transaction()
