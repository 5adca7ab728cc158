"""A transaction is committed as a whole or not at all, and its error names the outcome."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.toolkit.database.transactions import BeginAgainError, Transactions
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, QueueNotFoundError
from tests.unit.drivers.toolkit.database.fake_database import FakeDatabase, FakeLink

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def transactions(database: FakeDatabase) -> Transactions[FakeLink]:
    return Transactions("app:x", database.connect, 1, 5.0, database.translate)


async def declare(transactions: Transactions[FakeLink], database: FakeDatabase, name: str = "q") -> None:
    await transactions.run(lambda link: database.store(link).declare(QueueSpec(name)))


async def test_work_is_committed(transactions: Transactions[FakeLink], database: FakeDatabase) -> None:
    await declare(transactions, database)
    assert await transactions.run(lambda link: database.store(link).publish("q", [Outgoing("a", b"", {})])) == 1
    assert [row.message.id for row in database.tables["q"].rows] == ["a"]
    assert len(database.links) == 1


async def test_a_refusal_undoes_the_work_and_keeps_the_connection(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    async def work(link: FakeLink) -> None:
        await database.store(link).declare(QueueSpec("made"))
        await database.store(link).depth("missing")

    with pytest.raises(QueueNotFoundError, match="missing"):
        await transactions.run(work)
    assert (database.tables, database.rollbacks) == ({}, 1)
    await declare(transactions, database)
    assert len(database.links) == 1


async def test_work_that_fails_drops_the_connection(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    await declare(transactions, database)
    database.problems["work"] = [ConnectionResetError("reset")]
    with pytest.raises(BrokerUnavailableError, match="reset") as caught:
        await transactions.run(lambda link: database.store(link).depth("q"), queue="q")
    assert (caught.value.queue, caught.value.outcome) == ("q", "rejected")
    assert not database.links[0].is_alive
    await declare(transactions, database)
    assert len(database.links) == 2


async def test_a_rollback_that_fails_drops_the_connection(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    database.problems["rollback"] = [ConnectionResetError("reset")]
    with pytest.raises(BrokerUnavailableError) as caught:
        await transactions.run(lambda link: database.store(link).depth("missing"))
    assert caught.value.outcome == "rejected"
    assert not database.links[0].is_alive


async def test_a_commit_whose_answer_is_lost_is_uncertain(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    database.problems["commit"] = [ConnectionResetError("reset")]
    with pytest.raises(BrokerUnavailableError) as caught:
        await declare(transactions, database)
    assert caught.value.outcome == "unknown"
    assert "q" in database.tables
    assert not database.links[0].is_alive


async def test_no_connection_is_certain(transactions: Transactions[FakeLink], database: FakeDatabase) -> None:
    database.problems["connect"] = [OSError("refused")]
    with pytest.raises(BrokerUnavailableError, match="refused") as caught:
        await declare(transactions, database)
    assert (caught.value.outcome, caught.value.__cause__.args) == ("rejected", ("refused",))  # type: ignore[union-attr]


async def test_work_can_begin_again_with_other_locks(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    tries: list[FakeLink] = []

    async def work(link: FakeLink) -> None:
        tries.append(link)
        await database.store(link).declare(QueueSpec(f"q{len(tries)}"))
        if len(tries) < 3:
            raise BeginAgainError

    await transactions.run(work)
    assert [*database.tables] == ["q3"]
    assert tries == [database.links[0]] * 3


async def test_work_that_lasts_too_long_is_dropped(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    database.gate = asyncio.Event()
    with pytest.raises(BrokerTimeoutError) as caught:
        await declare(transactions, database)
    assert caught.value.outcome == "rejected"
    assert not database.links[0].is_alive
    assert database.tables == {}


async def test_work_that_waits_too_long_for_a_busy_connection_says_so(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    await declare(transactions, database)
    forever = asyncio.create_task(transactions.run(lambda _: asyncio.Event().wait(), timeout=60.0))
    await asyncio.sleep(0)
    with pytest.raises(BrokerTimeoutError, match="no connection came free in time") as refused:
        await declare(transactions, database, "late")
    assert refused.value.outcome == "rejected"
    forever.cancel()
    await asyncio.wait([forever])


async def test_a_cancelled_caller_leaves_nothing_behind(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    database.gate = asyncio.Event()
    caller = asyncio.create_task(declare(transactions, database))
    while not database.statements:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not database.links[0].is_alive
    database.gate = None
    await declare(transactions, database, "other")
    assert [*database.tables] == ["other"]


async def test_after_a_close_there_are_no_transactions(
    transactions: Transactions[FakeLink], database: FakeDatabase
) -> None:
    await declare(transactions, database)
    await transactions.close()
    await transactions.close()
    assert database.links[0].was_closed
    with pytest.raises(BrokerUnavailableError, match="driver 'app:x' was closed meanwhile") as caught:
        await declare(transactions, database)
    assert (caught.value.driver, caught.value.outcome) == ("app:x", "rejected")
