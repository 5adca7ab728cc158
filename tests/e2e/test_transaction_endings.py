"""How a block of context.transaction can end otherwise than by its commit: its messages are where they belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from tasuki import Context
from tasuki.contracts.driver import Ack
from tasuki.errors import BrokerUnavailableError, DriverError, HandlerError
from tests.e2e.test_idempotency import consumer_of
from tests.e2e.test_transactions import Site, site
from tests.support.brokers.postgres import Postgres
from tests.support.ports import free_port

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
            live = site.app._runtime.queue("jobs")
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


async def test_a_message_that_cannot_be_held_for_its_transaction_is_postponed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its connection was lost, or another client has locked its row: nothing of it was done."""
    attempts: list[int] = []
    errors = [BrokerUnavailableError("the connection was lost")]

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        async with context.transaction() as tx:
            await site.add(tx, body)

    async with site.worker():
        driver = site.app._runtime.queue("jobs").driver
        hold = driver.hold_within

        async def hold_or_fail(connection: Any, queue: str, batch: Any, *, settles: bool = True) -> None:
            if errors:
                raise errors.pop()
            await hold(connection, queue, batch, settles=settles)

        monkeypatch.setattr(driver, "hold_within", hold_or_fail)
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(attempts) == 2))
        await site.idle()
        assert (attempts, await site.effects()) == ([1, 1], ["a"])


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
            driver = site.app._runtime.queue("jobs").driver
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


@pytest.fixture
async def slow_commits(site: Site) -> AsyncIterator[Callable[[], Awaitable[asyncpg.Connection]]]:
    """A function that makes commits of effects wait for a lock, and gives the connection that holds it."""
    holders: list[asyncpg.Connection] = []

    async def slow() -> asyncpg.Connection:
        holder = await asyncpg.connect(Postgres.shared().url)
        holders.append(holder)
        await holder.execute(
            f"""CREATE FUNCTION {site.name}_waits() RETURNS trigger LANGUAGE plpgsql AS $$
            begin perform pg_advisory_xact_lock(hashtext('{site.name}')); return null; end $$;
            CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON {site.name} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION {site.name}_waits()"""
        )
        await holder.execute(f"SELECT pg_advisory_lock(hashtext('{site.name}'))")
        return holder

    yield slow
    for holder in holders:
        await holder.close()


async def waits_in_commit(site: Site, holder: asyncpg.Connection) -> bool:
    key = f"(hashtext('{site.name}')::bigint & 4294967295)::oid"
    waiting: int = await holder.fetchval(f"SELECT count(*) FROM pg_locks WHERE objid = {key} AND NOT granted")
    return waiting > 0


async def test_a_handler_that_is_cancelled_in_its_commit_has_succeeded(
    site: Site, slow_commits: Callable[[], Awaitable[asyncpg.Connection]]
) -> None:
    """The commit was sent, so its answer is awaited: nothing follows that is done after a failure."""
    only_postgres(site)
    running: list[asyncio.Task[Any] | None] = []

    @site.jobs.consumer(handler_timeout="100ms")
    async def handle(body: str, context: Context) -> str:
        running.append(asyncio.current_task())
        async with context.transaction() as tx:
            await site.add(tx, body)
        return "done"

    async with site.worker():
        holder = await slow_commits()
        job = await site.jobs.publish("a")
        await site.until(lambda: waits_in_commit(site, holder))
        await job.cancel()
        await site.until(lambda: _is(any(task is not None and task.cancelling() for task in running)))
        await holder.execute("SELECT pg_advisory_unlock_all()")
        assert await job.result() == "done"
        assert (await job.status()) == "done"
        await site.idle()
        assert (len(running), await site.effects(), (await site.dead.depth()).ready) == (1, ["a"], 0)


async def test_a_handler_that_hangs_after_a_slow_commit_is_interrupted(
    site: Site, slow_commits: Callable[[], Awaitable[asyncpg.Connection]]
) -> None:
    """The time of the commit does not count: an interruption within it would be the only one, and without effect."""
    only_postgres(site)
    ended: list[str] = []

    @site.jobs.consumer(handler_timeout="100ms")
    async def handle(body: str, context: Context) -> None:
        async with context.transaction() as tx:
            await site.add(tx, body)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(body)

    async with site.worker():
        holder = await slow_commits()
        await site.jobs.publish("a")
        await site.until(lambda: waits_in_commit(site, holder))
        await asyncio.sleep(0.3)  # three times its limit
        await holder.execute("SELECT pg_advisory_unlock_all()")
        await site.until(lambda: _is(ended == ["a"]))
        await site.idle()
        assert (await site.effects(), (await site.dead.depth()).ready) == (["a"], 0)


async def test_a_commit_whose_answer_is_lost_is_no_failure_if_it_was_made(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is asked for the message, before a dead letter says that the handler has failed."""
    only_postgres(site)
    attempts: list[int] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        if not context.delivery.is_last_attempt:
            raise ValueError("not yet")
        async with context.transaction() as tx:
            await site.add(tx, body)
            kind = type(tx.connection)
            execute = kind.execute

            async def lost(connection: Any, sql: str, *arguments: Any, **options: Any) -> Any:
                answer = await execute(connection, sql, *arguments, **options)
                if sql.startswith("COMMIT"):
                    raise ConnectionResetError("the answer is lost")
                return answer

            monkeypatch.setattr(kind, "execute", lost)

    async with site.worker():
        job = await site.jobs.publish("a")
        await site.until(lambda: _is(len(attempts) == 3))
        await site.idle()
        monkeypatch.undo()
        assert (attempts, await site.effects(), (await site.dead.depth()).ready) == ([1, 2, 3], ["a"], 0)
        assert (await job.status()) != "failed"


async def test_a_transaction_at_repeatable_read_settles_after_a_renewal(site: Site) -> None:
    """Which changes the row of the message, unless the transaction has locked it before."""
    only_postgres(site)
    told: list[Any] = []
    own = await asyncpg.connect(
        Postgres.shared().url, server_settings={"default_transaction_isolation": "repeatable read"}
    )

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        live = site.app._runtime.queue("jobs")
        async with context.transaction(own) as tx:
            await site.add(tx, body)
            told.append(await tx.connection.fetchval("SHOW transaction_isolation"))
            receipt = context.message.receipt  # type: ignore[union-attr]
            told.append(list(await live.driver.extend(live.spec.name, [receipt], 60.0)))

    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(told) > 1))
        await site.idle()
        assert (told, await site.effects()) == (["repeatable read", []], ["a"])
    await own.close()


async def test_a_queue_with_order_per_key_refuses_repeatable_read(site: Site) -> None:
    """Which sees one state of the rows: not the message that follows in its key, if that was moved meanwhile."""
    only_postgres(site)
    keyed = site.app.queue("keyed", queue_name=f"{site.name}_keyed", ordering="key")
    told: list[BaseException] = []
    own = await asyncpg.connect(
        Postgres.shared().url, server_settings={"default_transaction_isolation": "repeatable read"}
    )

    @keyed.consumer
    async def handle(body: str, context: Context) -> None:
        try:
            async with context.transaction(own):
                pass
        except DriverError as error:
            told.append(error)

    async with site.worker():
        await keyed.publish("a", key="k")
        await site.until(lambda: _is(bool(told)))
    assert "settled in transactions at READ COMMITTED alone" in str(told[0])
    await own.close()
