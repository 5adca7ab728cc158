"""How a block of context.transaction can end otherwise than by its commit: its messages are where they belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from tasuki import Context
from tasuki.contracts.driver import Ack
from tasuki.errors import HandlerError
from tests.e2e.test_idempotency import consumer_of
from tests.e2e.test_transactions import Site, site
from tests.support.brokers.broker import free_port
from tests.support.brokers.postgres import Postgres

pytestmark = pytest.mark.anyio
__all__ = ["site"]


def only_postgres(site: Site) -> None:
    if not site.is_postgres:
        pytest.skip("of PostgreSQL")


async def test_an_exception_that_the_block_hides_is_a_failure(site: Site) -> None:
    """``psycopg.Rollback`` ends a block of psycopg in silence: nothing is committed, so nothing is acked."""
    only_postgres(site)
    attempts: list[int] = []

    @site.jobs.consumer
    def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        with context.sync.transaction() as tx:
            tx.connection.execute(f"INSERT INTO {site.name} VALUES (%s)", (body,))
            if context.attempt == 1:
                raise psycopg.Rollback

    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(attempts) == 2))
        await site.idle()
        assert (attempts, await site.effects()) == ([1, 2], ["a"])


async def _is(what: bool) -> bool:
    return what


async def test_a_message_that_was_settled_in_the_block_stays_so_after_an_exception(site: Site) -> None:
    seen: list[int] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        seen.append(context.attempt)
        async with context.transaction() as tx:
            await site.add(tx, body)
            context.reject("no")
            raise ValueError("and so")

    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        assert (seen, await site.effects()) == ([1], [])
        assert (await site.dead.depth()).ready == 1


async def test_a_batch_in_which_one_was_lost_comes_again_without_it(site: Site) -> None:
    """The others must not wait for the end of their leases."""
    calls: list[list[str]] = []

    @site.jobs.consumer(batch={"size": 3, "wait": "5s"})
    async def handle(bodies: list[str], context: Context) -> None:
        calls.append(bodies)
        if len(calls) == 1:
            live = site.app.live_queue("jobs")
            await live.driver.settle(live.spec.name, [Ack(context.batch[0].message.receipt)])  # type: ignore[union-attr]
        async with context.transaction() as tx:
            for body in bodies:
                await site.add(tx, body)

    async with site.worker():
        await site.jobs.publish_many(["a", "b", "c"])
        await site.until(lambda: _is(len(calls) == 1))
        await site.jobs.publish("d")
        await site.idle()
        assert await site.effects() == ["b", "c", "d"]
    assert len(calls) == 2


async def test_a_transaction_that_is_over_publishes_nothing(site: Site) -> None:
    """Its connection may be in another handler's transaction by then."""
    told: list[HandlerError] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async with context.transaction() as tx:
            await site.add(tx, body)
        for late in (lambda: tx.publish("after", body), lambda: site.add(tx, body)):
            try:
                await late()
            except HandlerError as error:
                told.append(error)

    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(told) == 2))
        await site.idle()
        assert (await site.after.depth()).ready == 0
    assert "is over" in str(told[0])


async def test_two_at_once_of_one_message_are_refused(site: Site) -> None:
    told: list[BaseException | None] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async def work(number: int) -> None:
            async with context.transaction() as tx:
                await site.add(tx, f"{body}{number}")

        told.extend(await asyncio.gather(work(1), work(2), return_exceptions=True))

    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(told) == 2))
        await site.idle()
        assert len(await site.effects()) == 1
    assert [type(each) for each in told if each is not None] == [HandlerError]


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "async"])
async def test_a_database_that_is_away_for_the_callers_client_postpones(site: Site, is_plain: bool) -> None:
    only_postgres(site)
    attempts: list[int] = []
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    engine = create_async_engine(away.replace("://", "+asyncpg://"))

    async def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        if len(attempts) == 1:
            async with context.transaction(engine.begin):
                pass

    def plain(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        if len(attempts) == 1:
            with context.sync.transaction(lambda: psycopg.connect(away)):
                pass

    site.jobs.consumer(plain if is_plain else handle)
    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(attempts) == 2))
        await site.idle()
    await engine.dispose()
    assert attempts == [1, 1]


async def test_a_claim_that_the_database_undoes_postpones(site: Site) -> None:
    """As it does with a repeatable read whose key another one has claimed meanwhile, and with a deadlock."""
    only_postgres(site)
    attempts: list[int] = []
    address = f"127.0.0.1:{Postgres.shared().port}/postgres"
    engine = create_async_engine(f"postgresql+asyncpg://postgres@{address}", isolation_level="REPEATABLE READ")

    @asynccontextmanager
    async def begun() -> AsyncIterator[Any]:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text("SELECT count(*) FROM pg_class"))
            driver = site.app.live_queue("jobs").driver
            async with driver.transaction() as other:
                await driver.claim_within(other, consumer_of(site), "x", 60.0)
            yield connection

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        async with context.transaction(begun):
            pass

    async with site.worker():
        await site.jobs.publish("a", {"order": "x"})
        await site.until(lambda: _is(len(attempts) > 1))
        await site.idle()
    await engine.dispose()
    assert set(attempts) == {1}
