"""What context.transaction refuses before the handler has written a row: what would not commit with its ack."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, closing
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from tasuki.contracts.driver import Ack, Driver
from tasuki.errors import BrokerUnavailableError, HandlerError, UnsupportedError
from tasuki.system.threads import at_once, entered_at_once
from tests.e2e.test_outbox import address, name, url
from tests.e2e.test_settled_within import held, is_gone, postgres, refusal, sqlite

pytestmark = pytest.mark.anyio
__all__ = ["address", "name", "postgres", "sqlite", "url"]

ONE = sqlalchemy.text("SELECT 1")


async def refuses(driver: Driver, connection: Any, match: str) -> None:
    """Raise an assertion unless the block is refused before it begins."""
    began: list[Any] = []
    with pytest.raises(UnsupportedError, match=match):
        async with driver.transaction(connection) as opened:
            began.append(opened)
    assert not began


def refuses_at_once(driver: Driver, connection: Any, match: str) -> None:
    began: list[Any] = []
    with pytest.raises(UnsupportedError, match=match):  # noqa: SIM117 - the order matters
        with entered_at_once(driver.transaction(connection, sync=True), refusal) as opened:
            began.append(opened)
    assert not began


async def test_a_function_that_begins_no_transaction_is_refused_first(
    postgres: tuple[Driver, str], url: str, address: str
) -> None:
    driver, _ = postgres
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        await refuses(driver, pool.acquire, "in no transaction")
        await refuses(driver, pool, "Pool: give")
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{address}")
    try:
        await refuses(driver, engine.connect, r"engine\.begin")
        await refuses(driver, async_sessionmaker(engine), r"engine\.begin")
        await refuses(driver, engine, "AsyncEngine: give")
        async with driver.transaction(async_sessionmaker(engine).begin) as session:
            await session.execute(ONE)
    finally:
        await engine.dispose()


async def test_a_connection_that_commits_each_statement_is_refused_first(
    postgres: tuple[Driver, str], address: str
) -> None:
    driver, _ = postgres
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{address}", isolation_level="AUTOCOMMIT")
    try:
        await refuses(driver, engine.begin, "AUTOCOMMIT")
        async with engine.connect() as connection:
            await refuses(driver, connection, "AUTOCOMMIT")
        async with AsyncSession(engine) as session:
            await refuses(driver, session, "AUTOCOMMIT")
    finally:
        await engine.dispose()


async def test_plain_functions_that_begin_no_transaction(postgres: tuple[Driver, str], url: str, address: str) -> None:
    driver, _ = postgres
    refuses_at_once(driver, lambda: psycopg.connect(url, autocommit=True), "in no transaction")
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://postgres@{address}")
    refuses_at_once(driver, engine.connect, r"engine\.begin")
    refuses_at_once(driver, sessionmaker(engine), r"engine\.begin")
    refuses_at_once(driver, engine.execution_options(isolation_level="AUTOCOMMIT").begin, "AUTOCOMMIT")
    engine.dispose()


async def ends(driver: Driver, connection: Any, queue: str, receipt: Any, act: str) -> None:
    """A handler that ends its transaction itself."""
    async with driver.transaction(connection):
        await connection.execute(ONE)
        await getattr(connection, act)()
        await driver.settle_within(connection, queue, [Ack(receipt)])


async def test_a_commit_in_the_block_is_an_error(postgres: tuple[Driver, str], address: str) -> None:
    driver, queue = postgres
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{address}")
    try:
        for act in ("commit", "rollback"):
            for opened in (engine.connect(), AsyncSession(engine)):
                receipt = await held(driver, queue)
                async with opened as connection:
                    with pytest.raises(HandlerError, match="within its block"):
                        await ends(driver, connection, queue, receipt, act)
                assert not await is_gone(driver, queue, receipt)
    finally:
        await engine.dispose()


def own(path: Path) -> AbstractContextManager[Any]:
    return closing(sqlite3.connect(path))


def manual(path: Path) -> AbstractContextManager[Any]:
    return closing(sqlite3.connect(path, isolation_level=None))


def session(path: Path) -> AbstractContextManager[Any]:
    return Session(sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=sqlalchemy.NullPool))


@pytest.mark.parametrize("open_one", [None, own, manual, session], ids=["driver's", "legacy", "manual", "session"])
@pytest.mark.parametrize("act", ["commit", "rollback"])
async def test_a_commit_in_the_block_on_a_file(
    sqlite: tuple[Driver, str], tmp_path: Path, open_one: Callable[[Path], Any] | None, act: str
) -> None:
    driver, queue = sqlite
    receipt = await held(driver, queue)

    def ends_at_once(connection: Any) -> None:
        with entered_at_once(driver.transaction(connection, sync=True), refusal) as opened:
            opened.execute(ONE if open_one is session else "SELECT 1")
            getattr(opened, act)()
            at_once(driver.settle_within(opened, queue, [Ack(receipt)]), refusal)

    def works(connection: Any) -> None:
        with pytest.raises(HandlerError, match="within its block"):
            ends_at_once(connection)

    if open_one is None:
        works(None)
    else:
        with open_one(tmp_path / "queue.db") as connection:
            works(connection)
    assert not await is_gone(driver, queue, receipt)


async def test_an_error_of_a_driver_in_the_opening_is_raised_as_it_is(postgres: tuple[Driver, str]) -> None:
    driver, _ = postgres

    def refusing() -> AbstractAsyncContextManager[Any]:
        raise BrokerUnavailableError("no way")

    with pytest.raises(BrokerUnavailableError, match="no way") as caught:
        async with driver.transaction(refusing):
            pass
    assert caught.value.__cause__ is None, "an error that is its own cause is a circle"


async def test_a_pool_without_a_free_connection_is_a_broker_that_is_away(
    postgres: tuple[Driver, str], address: str
) -> None:
    """So the message is postponed, without an attempt."""
    driver, _ = postgres
    engine = create_async_engine(
        f"postgresql+asyncpg://postgres@{address}", pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    try:
        async with engine.connect():
            with pytest.raises(BrokerUnavailableError):
                async with driver.transaction(engine.begin):
                    pass
    finally:
        await engine.dispose()
