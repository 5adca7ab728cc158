"""context.transaction: a handler's rows, its messages and the ack commit together, on PostgreSQL and SQLite."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context, Reject, Retry, Snooze
from tasuki.contracts.driver import Ack
from tasuki.contracts.state.publish_context import Transaction
from tasuki.errors import HandlerError, StaleReceiptError, UnsupportedError
from tests.support.brokers.postgres import Postgres

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
_names = (f"transactions_{number}" for number in itertools.count())


class Site:
    """An app with the queue ``jobs``, and a table of effects in the same database."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.is_postgres = url.startswith("postgresql")
        self.app = App(url)
        self.dead = self.app.queue("dead", queue_name=f"{name}_dead")
        self.jobs = self.app.queue(
            "jobs",
            queue_name=f"{name}_jobs",
            dead_letter={"queue": "dead", "max_attempts": 3},
            retry={"initial_delay": "10ms", "max_delay": "10ms"},
            result="1h",
        )
        self.after = self.app.queue("after", queue_name=f"{name}_after")

    async def add(self, tx: Transaction, what: str) -> None:
        """One effect."""
        if self.is_postgres:
            await tx.connection.execute(f"INSERT INTO {self.name} VALUES ($1)", what)
        else:
            tx.connection.execute(f"INSERT INTO {self.name} VALUES (?)", (what,))

    async def effects(self) -> list[str]:
        """All of them, in order."""
        async with self.opened() as connection:
            if self.is_postgres:
                return [row[0] for row in await connection.fetch(f"SELECT what FROM {self.name} ORDER BY 1")]
            return [row[0] for row in connection.execute(f"SELECT what FROM {self.name} ORDER BY 1")]

    def opened(self) -> Any:
        return self.app._runtime.queue("jobs").driver.transaction()

    async def prepare(self) -> None:
        async with self.opened() as connection:
            made = connection.execute(f"CREATE TABLE {self.name} (what text)")
            if self.is_postgres:
                await made

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        async with self.app.worker():
            await self.prepare()
            yield

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await condition():
                await asyncio.sleep(0.01)

    async def idle(self) -> None:
        """Wait until the queue is empty. A message may move while its places are counted, so count again."""

        async def is_empty() -> bool:
            depths = [await self.jobs.depth() for _ in range(3)]
            return not any(depth.message_count for depth in depths)

        await self.until(is_empty)


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "sqlite":
        return Site(f"sqlite:///{tmp_path}/queue.db", next(_names))
    return Site(f"postgresql://postgres@127.0.0.1:{Postgres.shared().port}/postgres", next(_names))


async def test_rows_messages_and_the_ack_commit_together(site: Site) -> None:
    @site.jobs.consumer
    async def handle(body: str, context: Context) -> str:
        async with context.transaction() as tx:
            await site.add(tx, body)
            await tx.publish("after", body, delay=0)
            assert not site.is_postgres or (await site.jobs.depth()).in_flight == 1
        return body.upper()

    async with site.worker():
        job = await site.jobs.publish("a")
        assert await job.result() == "A"
        await site.idle()
        assert await site.effects() == ["a"]
        assert (await site.after.depth()).ready == 1
        consumer = next(iter(site.app._runtime.assembly.consumers.values()))  # type: ignore[union-attr]
        assert (consumer.metrics.acked, consumer.metrics.stale, consumer.metrics.failed) == (1, 0, 0)
        assert consumer.now.held == 0


async def test_an_exception_rolls_back_and_is_retried(site: Site) -> None:
    attempts: list[int] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        async with context.transaction() as tx:
            await site.add(tx, body)
            await tx.publish("after", body)
            if context.attempt < 3:
                raise ValueError("not yet")

    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        assert (attempts, await site.effects()) == ([1, 2, 3], ["a"])
        assert (await site.after.depth()).ready == 1


@pytest.mark.parametrize("signal", [Retry(after="10ms"), Snooze("10ms"), Reject("no")], ids=["retry", "snooze", "no"])
async def test_a_signal_rolls_back_first(site: Site, signal: Exception) -> None:
    seen: list[int] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        seen.append(context.attempt)
        async with context.transaction() as tx:
            await site.add(tx, f"{body}{len(seen)}")
            if len(seen) == 1:
                raise signal

    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        is_over = isinstance(signal, Reject)
        assert await site.effects() == ([] if is_over else ["a2"])
        assert (await site.dead.depth()).ready == is_over
        assert seen == ([1] if is_over else [1, 1] if isinstance(signal, Snooze) else [1, 2])


@pytest.mark.parametrize("verb", ["step", "sleep", "wait_for"])
async def test_a_step_in_the_block_is_refused_and_one_before_it_counts(site: Site, verb: str) -> None:
    """Its record would outlive a rollback of its work; and on SQLite it would wait for the block, forever."""
    errors: list[str] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        if body == "before":
            await context.step("one", str)
            await context.sleep("10ms")
        async with context.transaction() as tx:
            await site.add(tx, body)
            if body == "within":
                arguments: dict[str, list[Any]]
                arguments = {"step": ["one", str], "sleep": ["1h"], "wait_for": ["a", 1, "1h"]}
                try:
                    await getattr(context, verb)(*arguments[verb])
                except HandlerError as error:
                    errors.append(f"{error.kind} {error}")
                    raise

    async with site.worker():
        for body in ("within", "before"):
            await site.jobs.publish(body)
        await site.idle()
        assert await site.effects() == ["before"]
        assert (await site.dead.depth()).ready == 1
    (error,) = errors
    assert "Invalid" in error
    assert "context.transaction() is open" in error


@pytest.mark.parametrize("verb", ["nack", "snooze", "reject"])
async def test_a_settlement_in_the_block_rolls_back_first(site: Site, verb: str) -> None:
    seen: list[int] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        seen.append(context.attempt)
        async with context.transaction() as tx:
            await site.add(tx, f"{body}{len(seen)}")
            if len(seen) == 1:
                arguments = {"nack": ["10ms"], "snooze": ["10ms"], "reject": ["no"]}[verb]
                getattr(context, verb)(*arguments)

    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        assert await site.effects() == ([] if verb == "reject" else ["a2"])
        assert seen == {"nack": [1, 2], "snooze": [1, 1], "reject": [1]}[verb]


async def test_an_error_after_the_commit_is_logged_and_not_retried(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        seen.append(body)
        async with context.transaction() as tx:
            await site.add(tx, body)
        raise ValueError("too late")

    async with site.worker():
        with caplog.at_level(logging.WARNING, "tasuki.consumer"):
            await site.jobs.publish("a")
            await site.idle()
        await asyncio.sleep(0)
        assert (seen, await site.effects()) == (["a"], ["a"])
    assert "failed, after its message was settled: ValueError: too late" in caplog.text


async def test_who_lost_the_message_commits_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    told: list[BaseException] = []
    lost: list[bool] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        live = site.app._runtime.queue("jobs")
        if not told:  # another one settles it meanwhile
            await live.driver.settle(live.spec.name, [Ack(context.message.receipt)])  # type: ignore[union-attr]
        try:
            async with context.transaction() as tx:
                await site.add(tx, body)
        except StaleReceiptError as error:
            told.append(error)
            lost.append(context.delivery.lease_lost)

    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(bool(told)))
        assert await site.effects() == []
    assert len(told) == 1
    assert lost == [True]


async def _is(what: bool) -> bool:
    return what


async def test_a_plain_function(site: Site) -> None:
    @site.jobs.consumer
    def handle(body: str, context: Context) -> str:
        with context.sync.transaction() as tx:
            mark = "%s" if site.is_postgres else "?"
            tx.connection.execute(f"INSERT INTO {site.name} VALUES ({mark})", (body,))
            tx.publish("after", body)
            if context.attempt == 1:
                raise ValueError("again")
        return body

    async with site.worker():
        job = await site.jobs.publish("a")
        assert await job.result() == "a"
        await site.idle()
        assert await site.effects() == ["a"]
        assert (await site.after.depth()).ready == 1


async def test_a_batch_commits_as_a_whole(site: Site) -> None:
    @site.jobs.consumer(batch={"size": 3, "wait": "5s"})
    async def handle(bodies: list[str], context: Context) -> None:
        async with context.transaction() as tx:
            for each, body in zip(context.batch, bodies, strict=True):
                if body == "b" and each.attempt == 1:
                    each.nack("10ms")
                else:
                    await site.add(tx, body)

    async with site.worker():
        await site.jobs.publish_many(["a", "b", "c"])
        await site.until(lambda: _has(site, ["a", "c"]))
        await site.jobs.publish_many(["d", "e"])
        await site.idle()
        assert await site.effects() == ["a", "b", "c", "d", "e"]


async def _has(site: Site, effects: list[str]) -> bool:
    return await site.effects() == effects


async def test_what_has_no_meaning_is_refused(site: Site) -> None:
    told: list[str] = []

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async with context.transaction():
            for act in (context.ack, context.transaction().__aenter__):
                try:
                    done = act()
                    if done is not None:
                        await done
                except HandlerError as error:
                    told.append(str(error))
        try:
            async with context.transaction():
                pass
        except HandlerError as error:
            told.append(str(error))

    async with site.worker():
        await site.jobs.publish("a")
        await site.until(lambda: _is(len(told) == 3))
        await site.idle()
    assert [text.partition(":")[0] for text in told] == [
        "the end of the transaction's block acks the message",
        "the message has a transaction open",
        "the message is settled already",
    ]


async def test_a_caught_error_in_the_block_commits_what_is_left(site: Site) -> None:
    """What the handler catches is its own; only the end of the block decides."""

    @site.jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async with context.transaction() as tx:
            try:
                raise ValueError("caught")
            except ValueError:
                await site.add(tx, body)

    async with site.worker():
        await site.jobs.publish("a")
        await site.idle()
        assert await site.effects() == ["a"]


async def test_other_queues_and_consumers_refuse(tmp_path: Path) -> None:
    app, told = App("memory://"), []
    other = App(f"sqlite:///{tmp_path}/queue.db")
    jobs, first = app.queue("jobs"), other.queue("first")

    @jobs.consumer
    async def handle(body: str, context: Context) -> None:
        try:
            async with context.transaction():
                pass
        except UnsupportedError as error:
            told.append(str(error))

    @first.consumer(auto_ack=True)
    async def at_most_once(body: str, context: Context) -> None:
        try:
            async with context.transaction():
                pass
        except HandlerError as error:
            told.append(str(error))

    async with app.worker(), other.worker():
        await jobs.publish("a")
        await first.publish("a")
        async with asyncio.timeout(PATIENCE):
            while len(told) < 2:
                await asyncio.sleep(0.01)
    assert any("settles in no transaction of a handler: put the queue on PostgreSQL or SQLite" in text for text in told)
    assert any("auto_ack" in text for text in told)
