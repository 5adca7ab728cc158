"""DatabaseDriver: verbs as transactions of a store; what a cancel, a close, a fork and a lost answer do to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Capabilities, Move, Nack, Outgoing, QueueSpec
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


class FakeDriver(DatabaseDriver[FakeLink]):
    capabilities = Capabilities(delete=True, max_length=True, max_message_bytes=100)


def made(database: FakeDatabase) -> FakeDriver:
    return FakeDriver("app:x", database, instance(asyncio.get_running_loop(), VirtualTimeLoop).clock)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


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


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


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


async def test_messages_taken_for_a_cancelled_receive_are_released(driver: FakeDriver, database: FakeDatabase) -> None:
    await publish(driver, "a")
    database.gate, statements = asyncio.Event(), database.statements
    receive = asyncio.create_task(ids(driver, 1, 60.0))
    await until(lambda: database.statements > statements)
    receive.cancel()
    await asyncio.wait((receive,))
    database.gate.set()
    (delivery,) = await driver.receive("q", 1, 1.0)
    assert (delivery.id, delivery.attempt, delivery.suspect) == ("a", 1, False)


async def test_a_settlement_is_carried_out_for_a_cancelled_caller(driver: FakeDriver, database: FakeDatabase) -> None:
    await publish(driver, "a")
    (delivery,) = await driver.receive("q", 1, 0.0)
    database.gate, statements = asyncio.Event(), database.statements
    settle = asyncio.create_task(driver.settle("q", [Ack(delivery.receipt)]))
    await until(lambda: database.statements > statements)
    settle.cancel()
    await asyncio.wait((settle,))
    database.gate.set()
    await until(lambda: not database.tables["q"].rows)


async def test_a_wake_up_for_a_cancelled_receive_goes_to_the_next(driver: FakeDriver) -> None:
    first, second = (asyncio.create_task(ids(driver, 1, 60.0)) for _ in range(2))
    await asyncio.sleep(0.05)
    publishing = asyncio.create_task(publish(driver, "a"))
    await publishing  # which has woken the first one
    first.cancel()
    assert await asyncio.wait_for(second, 0.1) == ["a"]
    assert first.cancelled()


async def test_a_close_releases_what_is_held_and_ends_waiting_receives(
    driver: FakeDriver, other: FakeDriver, database: FakeDatabase
) -> None:
    await publish(driver, "a", "b")
    await driver.declare(QueueSpec("empty"))
    first, second = await driver.receive("q", 2, 0.0)
    await driver.start("q", [first.receipt])
    waiting = asyncio.create_task(driver.receive("empty", 1, 60.0))
    await asyncio.sleep(0.05)
    await asyncio.gather(driver.close(), driver.close())
    await driver.close()
    assert await waiting == []
    taken = await other.receive("q", 2, 0.0)
    assert [(each.id, each.attempt, each.suspect) for each in taken] == [("a", 2, True), ("b", 1, True)]
    assert second.id == "b"


async def test_a_close_releases_the_rest_if_one_queue_was_deleted(
    driver: FakeDriver, other: FakeDriver, database: FakeDatabase
) -> None:
    for queue in ("gone", "left"):
        await driver.declare(QueueSpec(queue))
        await publish(driver, queue, to=queue)
        await driver.receive(queue, 1, 0.0)
    await other.declare(QueueSpec("gone"))
    await other.delete("gone")
    await driver.close()
    assert not database.tables["left"].rows[0].is_held


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


async def test_deliveries_of_an_undeclared_queue_can_be_settled(driver: FakeDriver) -> None:
    await publish(driver, "a", "b")
    first, second = await driver.receive("q", 2, 0.0)
    await driver.undeclare("q")
    await driver.undeclare("q")
    with pytest.raises(QueueNotFoundError):
        await driver.depth("q")
    assert await driver.settle("q", [Ack(first.receipt)]) == []
    assert await driver.extend("q", [second.receipt], 30.0) == []
    assert await driver.settle("q", [Nack(second.receipt)]) == []
    with pytest.raises(QueueNotFoundError):
        await driver.settle("q", [Nack(second.receipt)])


async def test_a_receive_ends_when_its_queue_is_undeclared(driver: FakeDriver) -> None:
    waiting = asyncio.create_task(driver.receive("q", 1, 60.0))
    await asyncio.sleep(0.05)
    await driver.undeclare("q")
    assert await asyncio.wait_for(waiting, 0.1) == []


async def test_moved_deliveries_are_not_held(driver: FakeDriver, database: FakeDatabase) -> None:
    await driver.declare(QueueSpec("to"))
    await publish(driver, "a")
    (delivery,) = await driver.receive("q", 1, 0.0)
    move = Move(delivery.receipt, "to", (Outgoing("b", b"", {}),))
    assert await driver.move("q", [move]) == ()
    await driver.undeclare("q")
    with pytest.raises(QueueNotFoundError):
        await driver.settle("q", [Ack(delivery.receipt)])
    assert [row.message.id for row in database.tables["to"].rows] == ["b"]


async def test_a_temporary_queue_that_no_living_process_keeps_is_removed(
    driver: FakeDriver, other: FakeDriver, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "SWEEP_INTERVAL", 1.0)
    for queue in ("left", "kept", "forgotten"):
        await other.declare(QueueSpec(queue, temporary=True))
        await publish(other, "a", "b", to=queue)
    database.signs[next(iter(database.signs))].abort()  # the next poll gives another sign, and notes them again
    await asyncio.sleep(5.0)
    assert {"left", "kept", "forgotten"} < {*database.tables}
    await driver.declare(QueueSpec("kept", temporary=True))
    await other.undeclare("forgotten")
    await asyncio.sleep(5.0)
    assert {"left", "kept"} < {*database.tables}
    assert "forgotten" not in database.tables
    await other.close()
    await asyncio.sleep(5.0)
    assert "left" not in database.tables
    assert "kept" in database.tables


async def test_the_next_open_keeps_temporary_queues_again(driver: FakeDriver, database: FakeDatabase) -> None:
    await driver.declare(QueueSpec("kept", temporary=True))
    await driver.close()
    await driver.open()
    assert any(map(database.is_living, database.tables["kept"].keepers))


async def test_a_purge_and_a_removal_work_in_parts(driver: FakeDriver, database: FakeDatabase) -> None:
    await publish(driver, *"abcdefg")
    await driver.receive("q", 1, 0.0)
    assert await driver.remove("q", ["a", "b", "none"]) == 1
    assert await driver.remove("q", []) == 0
    assert await driver.purge("q") == 5
    assert [row.message.id for row in database.tables["q"].rows] == ["a"]


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
