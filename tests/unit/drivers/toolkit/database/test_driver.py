"""DatabaseDriver: verbs as transactions of a store; what a cancel, a close, a fork and a lost answer do to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tasuki.contracts.driver import Capabilities, Outgoing, QueueSpec
from tasuki.drivers.toolkit.database import polling
from tasuki.drivers.toolkit.database.driver import DatabaseDriver
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    QueueNotFoundError,
    UnsupportedError,
)
from tasuki.system import forks
from tasuki.testing.clock import VirtualTimeLoop
from tests.support.narrow import instance
from tests.unit.drivers.toolkit.database.fake_database import FakeDatabase, FakeLink

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class FakeDriver(DatabaseDriver[FakeLink]):
    capabilities = Capabilities(abilities=frozenset({"max_length"}), max_message_bytes=100)


def made(database: FakeDatabase) -> FakeDriver:
    return FakeDriver("app:x", database, instance(asyncio.get_running_loop(), VirtualTimeLoop).clock)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> FakeDatabase:
    monkeypatch.setattr(polling, "SWEEP_INTERVAL", 60.0)  # the conformance suite of MariaDB has a shorter one
    return FakeDatabase()


@pytest.fixture
async def driver(database: FakeDatabase) -> AsyncIterator[FakeDriver]:
    driver = made(database)
    await driver.declare(QueueSpec("q"))
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def other(database: FakeDatabase) -> AsyncIterator[FakeDriver]:
    """Of another process."""
    other = made(database)
    await other.declare(QueueSpec("q"))
    await other.open()
    yield other
    await other.close()


async def publish(driver: FakeDriver, *ids: str, to: str = "q") -> None:
    assert not await driver.publish(to, [Outgoing(id, b"", {}) for id in ids])


async def ids(driver: FakeDriver, limit: int = 10, wait: float = 0.0) -> list[str]:
    return [delivery.id for delivery in await driver.receive("q", limit, wait)]


async def test_tables_are_made_for_the_first_queue_and_not_for_an_inspection(database: FakeDatabase) -> None:
    database.has_tables = False
    driver = made(database)
    await driver.open()
    with pytest.raises(QueueNotFoundError, match="has no tables"):
        await driver.inspect(QueueSpec("q"))
    assert database.creations == 0
    await driver.declare(QueueSpec("q"))
    assert database.creations == 1
    await publish(driver, "a")
    database.has_tables = False
    with pytest.raises(BrokerUnavailableError):
        await driver.depth("q")
    await driver.close()


async def test_an_open_that_fails_leaves_no_connection(database: FakeDatabase) -> None:
    driver = made(database)
    database.problems["work"] = [ConnectionResetError("reset")]
    with pytest.raises(BrokerUnavailableError, match="reset"):
        await driver.open()
    with pytest.raises(BrokerUnavailableError, match="not open"):
        await driver.depth("q")
    assert not any(link.is_alive for link in database.links)
    await driver.open()
    await driver.open()
    await driver.close()


async def test_messages_that_cannot_be_kept_are_refused_and_the_others_stored(
    driver: FakeDriver, database: FakeDatabase
) -> None:
    await driver.declare(QueueSpec("q", max_length=2))
    large, unsound = Outgoing("large", bytes(101), {}), Outgoing("\ud800", b"", {})
    batch = [Outgoing("a", b"", {}), large, unsound, Outgoing("b", b"", {}), Outgoing("c", b"", {})]
    results = await driver.publish("q", batch)
    expected = [type(None), MessageTooLargeError, UnsupportedError, type(None), QueueFullError]
    assert [type(result) for result in results] == expected
    statements = database.statements
    with pytest.raises(MessageTooLargeError, match="larger than 100 bytes"):
        await driver.publish("q", [large])
    assert database.statements == statements


async def test_a_publish_whose_commit_is_not_answered_is_uncertain(driver: FakeDriver, database: FakeDatabase) -> None:
    database.problems["commit"] = [ConnectionResetError("reset")]
    with pytest.raises(BrokerUnavailableError) as caught:
        await publish(driver, "a")
    assert caught.value.outcome == "unknown"
    assert await ids(driver) == ["a"]


async def test_a_publish_here_wakes_one_receive_at_once(driver: FakeDriver, database: FakeDatabase) -> None:
    waiting = [asyncio.create_task(ids(driver, 1, 60.0)) for _ in range(2)]
    await asyncio.sleep(1.05)  # between two polls
    database.asked.clear()
    await publish(driver, "a")
    assert await waiting[0] == ["a"]
    assert database.asked == []
    assert not waiting[1].done()
    await publish(driver, "b")
    assert await waiting[1] == ["b"]


async def test_messages_of_another_process_are_found_by_one_question_for_all_queues(
    driver: FakeDriver, other: FakeDriver, database: FakeDatabase
) -> None:
    await driver.declare(QueueSpec("second"))
    await driver.declare(QueueSpec("unasked"))
    waiting = asyncio.create_task(ids(driver, 1, 60.0))
    idle = asyncio.create_task(driver.receive("second", 1, 2.0))
    await asyncio.sleep(1.0)
    assert database.asked[-1] == ["q", "second"]
    await publish(other, "a")
    assert await waiting == ["a"]
    assert await idle == []


async def test_without_a_receive_nothing_is_asked(driver: FakeDriver, database: FakeDatabase) -> None:
    await asyncio.sleep(1.0)
    statements = database.statements
    await asyncio.sleep(30.0)
    assert database.statements == statements


async def test_a_poll_that_fails_lets_each_receive_raise_the_error(driver: FakeDriver, database: FakeDatabase) -> None:
    waiting = asyncio.create_task(ids(driver, 1, 60.0))
    await asyncio.sleep(1.0)
    database.problems["work"] = [ConnectionResetError("one"), ConnectionResetError("two")]
    with pytest.raises(BrokerUnavailableError, match="two"):
        await waiting
    await publish(driver, "a")
    assert await ids(driver) == ["a"]


async def test_a_close_ends_work_that_the_database_does_not_answer(driver: FakeDriver, database: FakeDatabase) -> None:
    database.gate = asyncio.Event()
    publishing = asyncio.create_task(publish(driver, "a"))
    await asyncio.sleep(0.01)
    before = asyncio.get_running_loop().time()
    await driver.close()
    assert asyncio.get_running_loop().time() - before < 10.0
    with pytest.raises(DriverError):
        await publishing
    assert not any(link.is_alive for link in database.links)


async def test_the_next_open_keeps_temporary_queues_again(driver: FakeDriver, database: FakeDatabase) -> None:
    await driver.declare(QueueSpec("kept", temporary=True))
    await driver.close()
    await driver.open()
    assert any(map(database.is_living, database.tables["kept"].keepers))


async def test_a_deletion_forgets_the_queue_and_one_that_fails_does_not(
    driver: FakeDriver, database: FakeDatabase
) -> None:
    await publish(driver, "a", "b")
    await driver.receive("q", 1, 0.0)
    database.problems["work"] = [ConnectionResetError("reset")]
    with pytest.raises(BrokerUnavailableError):
        await driver.delete("q")
    assert (await driver.depth("q")).in_flight == 1
    await driver.delete("q")
    assert database.tables == {}
    with pytest.raises(QueueNotFoundError, match="never declared"):
        await driver.depth("q")


async def test_a_forked_child_finds_it_closed_and_leaves_the_connections_alone(
    driver: FakeDriver, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(driver, "a")
    of_parent = [*database.links]
    with monkeypatch.context() as child:
        child.setattr(forks, "count", forks.count + 1)
        with pytest.raises(BrokerUnavailableError, match="opened by the parent process"):
            await publish(driver, "b")
        await driver.close()
        assert all(link.is_alive for link in of_parent)
        await driver.open()
        assert await ids(driver) == ["a"]
        assert not {*of_parent} & {*database.links[len(of_parent) :]}
        await driver.close()
    assert all(link.is_alive for link in of_parent)
