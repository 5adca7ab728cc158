"""A twin's transactions: what a handler does in one takes effect with its end."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tasuki import App, Context
from tasuki.errors import QueueFullError
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> App:
    return App("memory://")


@pytest.fixture
async def t(app: App, tmp_path: Path) -> AsyncIterator[TestApp]:
    with closing(sqlite3.connect(tmp_path / "rows.db", check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE effects (what TEXT)")
        jobs = app.queue("jobs", retry={"initial_delay": "1s"})
        app.queue("after")

        @jobs.consumer(idempotency="header.order")
        async def handle(body: str, context: Context) -> str:
            async with context.transaction(connection) as tx:
                tx.connection.execute("INSERT INTO effects VALUES (?)", (f"{body} {context.attempt}",))
                await tx.publish("after", body)
                if context.attempt == 1 and body == "fails":
                    raise ValueError("not yet")
            return body

        async with TestApp(app) as twin:
            twin.effects = lambda: [what for (what,) in connection.execute("SELECT what FROM effects")]  # type: ignore[attr-defined]
            yield twin


async def test_rows_messages_and_the_ack_come_with_the_end(t: TestApp) -> None:
    await t.publish("jobs", "a", {"order": "1"})
    assert (await t.drain()).done == 1
    assert (t.effects(), t.published("after")) == (["a 1"], ["a"])  # type: ignore[attr-defined]


async def test_an_exception_rolls_back(t: TestApp) -> None:
    await t.publish("jobs", "fails", {"order": "1"})
    await t.drain()
    assert (t.effects(), t.waiting("after")) == ([], [])  # type: ignore[attr-defined]
    await t.advance("1m")
    assert (t.effects(), [each.body for each in t.waiting("after")]) == (["fails 2"], ["fails"])  # type: ignore[attr-defined]


async def test_a_key_counts_once(t: TestApp) -> None:
    for body in ("a", "b"):
        await t.publish("jobs", body, {"order": "1"})
        await t.drain()
    assert (t.effects(), t.published("after")) == (["a 1"], ["a"])  # type: ignore[attr-defined]


def test_plain_functions(app: App) -> None:
    jobs = app.queue("plain")
    app.queue("next")

    @jobs.consumer
    def handle(body: str, context: Context) -> None:
        with context.sync.transaction() as tx:
            tx.publish("next", body)

    with TestApp(app) as t:
        t.sync.publish("plain", "a")
        assert t.sync.drain().done == 1
        assert t.published("next") == ["a"]


async def test_a_full_queue_refuses_a_message_of_a_transaction_as_a_broker_does(app: App) -> None:
    """The publish raises, the handler may go on, and no message vanishes."""
    jobs = app.queue("orders")
    app.queue("narrow", max_length=1)
    refused: list[str] = []

    @jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async with context.transaction() as tx:
            await tx.publish("narrow", f"{body} 1")
            try:
                await tx.publish("narrow", f"{body} 2")
            except QueueFullError:
                refused.append(body)

    async with TestApp(app) as t:
        await t.publish("orders", "a")
        await t.drain()
        assert ([each.body for each in t.waiting("narrow")], refused) == (["a 1"], ["a"])


async def test_a_unique_message_of_a_transaction_says_which_one_it_was_merged_with(app: App) -> None:
    jobs = app.queue("orders")
    mails = app.queue("mails")
    told: list[str] = []

    @jobs.consumer
    async def handle(body: str, context: Context) -> None:
        async with context.transaction() as tx:
            told.extend([await tx.publish("mails", f"{body} {number}", unique="one") for number in range(2)])

    async with TestApp(app) as t:
        await t.publish("orders", "a")
        await t.drain()
        (waiting,) = t.waiting(mails)
        assert (waiting.body, told) == ("a 0", [waiting.id, waiting.id])
