from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueFullError,
    ThrottledError,
)
from tasuki.queues import batcher as module
from tasuki.queues.batcher import Batcher, Results
from tests.unit.queues.fake import FakeDriver, outgoing, raising

pytestmark = pytest.mark.anyio


def start(batcher: Batcher, *ids: str, timeout: float = 10.0) -> asyncio.Task[Results]:
    return asyncio.create_task(batcher.publish(outgoing(*ids), timeout), name=ids[0])


def open_gate(driver: FakeDriver) -> None:
    """Let through who waits at the gate; the next one waits at another."""
    gate, driver.gate = driver.gate, asyncio.Event()
    assert gate is not None
    gate.set()


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def idle(batcher: Batcher) -> bool:
    return not batcher._pending and batcher._pending_messages == 0 and not batcher._busy


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


async def test_a_lone_publish_goes_at_once(driver: FakeDriver) -> None:
    batcher = Batcher(driver, "tasks")
    assert await batcher.publish(outgoing("a"), 1) == [None]
    assert driver.stored == ["a"]
    assert now() == 0.0
    assert idle(batcher)


async def test_an_empty_answer_confirms_all(driver: FakeDriver) -> None:
    driver.answer = lambda batch: ()
    assert await Batcher(driver, "tasks").publish(outgoing("a", "b"), 1) == [None, None]


async def test_those_that_arrive_meanwhile_form_the_next_batch(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    tasks = [start(batcher, id) for id in "abcdef"]
    await turn()
    assert driver.batches == [["a"]]
    driver.gate.set()
    assert await asyncio.gather(*tasks) == [[None]] * 6
    assert driver.batches == [["a"], ["b", "c", "d", "e"], ["f"]]
    await turn()
    assert idle(batcher)


async def test_more_than_a_batch_goes_in_pieces_in_order(driver: FakeDriver) -> None:
    batcher = Batcher(driver, "tasks")
    assert await batcher.publish(outgoing(*"abcdefghij"), 1) == [None] * 10
    assert driver.batches == [["a", "b", "c", "d"], ["e", "f", "g", "h"], ["i", "j"]]


async def test_a_batch_is_not_split_between_callers(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    tasks = [start(batcher, "a"), start(batcher, "b", "c", "d"), start(batcher, "e", "f")]
    await turn()
    driver.gate.set()
    await asyncio.gather(*tasks)
    assert driver.batches == [["a"], ["b", "c", "d"], ["e", "f"]]


async def test_the_loop_goes_on_while_a_driver_that_never_waits_takes_all(driver: FakeDriver) -> None:
    batcher = Batcher(driver, "tasks")
    large = start(batcher, *map(str, range(4000)))
    turns = 0
    while not large.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 500


async def test_each_message_has_its_own_result(driver: FakeDriver) -> None:
    too_large = MessageTooLargeError("large")
    driver.answer = lambda batch: [None, too_large, None]
    assert await Batcher(driver, "tasks").publish(outgoing("a", "b", "c"), 1) == [None, too_large, None]


async def test_an_error_that_is_raised_is_that_of_every_message(driver: FakeDriver) -> None:
    away = BrokerUnavailableError("away")
    driver.answer = raising(away)
    assert await Batcher(driver, "tasks").publish(outgoing("a", "b"), 1) == [away, away]


@pytest.mark.parametrize("error", [KeyError("x"), TimeoutError(), asyncio.CancelledError()])
async def test_a_defect_of_the_driver_leaves_nobody_waiting(driver: FakeDriver, error: BaseException) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    driver.answer = raising(error)
    tasks = [start(batcher, "a"), start(batcher, "b"), start(batcher, "c")]
    await turn()
    driver.gate.set()
    for (result,) in await asyncio.gather(*tasks):
        assert type(result) is DriverError
        assert (result.outcome, result.retryable, result.driver, result.queue) == (
            "unknown",
            False,
            "app:fake",
            "tasks",
        )
        assert result.__cause__ is error
    await turn()
    assert idle(batcher)


@pytest.mark.parametrize("results", [[None], [None, None, None]])
async def test_a_wrong_number_of_results_is_a_defect(driver: FakeDriver, results: list[None]) -> None:
    driver.answer = lambda batch: results
    told = await Batcher(driver, "tasks").publish(outgoing("a", "b"), 1)
    assert [error.outcome for error in told if isinstance(error, DriverError)] == ["unknown", "unknown"]
    assert len(driver.batches) == 1


async def test_a_driver_that_hangs_ends_unknown_at_the_deadline(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    first, second = start(batcher, "a", timeout=2), start(batcher, "b", timeout=3)
    assert [type(error) for error in await first] == [BrokerTimeoutError]
    assert now() == pytest.approx(2)
    assert [error.outcome for error in await second if isinstance(error, DriverError)] == ["unknown"]
    assert now() == pytest.approx(3)
    driver.gate = None
    assert await batcher.publish(outgoing("c"), 1) == [None]
    assert driver.stored == ["c"]


async def test_who_waits_behind_a_hanging_one_ends_at_its_own_deadline_for_certain(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    first = start(batcher, "a", timeout=60)
    await turn()
    (error,) = await batcher.publish(outgoing("b"), 0.5)
    assert isinstance(error, ThrottledError)
    assert error.outcome == "rejected"
    assert now() == pytest.approx(0.5, abs=0.06)
    driver.gate.set()
    assert await first == [None]
    assert driver.stored == ["a"]


async def test_a_shorter_deadline_within_a_batch_under_way_is_unknown(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    tasks = [start(batcher, "a"), start(batcher, "b", timeout=1), start(batcher, "c", timeout=9)]
    await turn()
    open_gate(driver)
    await tasks[0]
    await turn()
    assert driver.batches[-1] == ["b", "c"]
    assert [type(error) for error in await tasks[1]] == [BrokerTimeoutError]
    assert now() == pytest.approx(1, abs=0.06)
    driver.gate.set()
    assert await tasks[2] == [None]
    assert driver.stored == ["a", "b", "c"]


async def test_a_full_queue_blocks_until_there_is_room_and_keeps_the_order(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 2
    tasks = [start(batcher, "a", "b", "c"), start(batcher, "d"), start(batcher, "e")]
    await asyncio.sleep(1)
    assert driver.stored == ["a", "b"]
    assert not any(task.done() for task in tasks)
    for room in (1, 1, 1):
        driver.room += room
        await asyncio.sleep(0.1)
    assert driver.stored == ["a", "b", "c", "d", "e"]
    assert await asyncio.gather(*tasks) == [[None] * 3, [None], [None]]


async def test_a_full_queue_is_asked_less_and_less_often(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 0
    task = start(batcher, "a", timeout=5)
    await asyncio.sleep(4)
    assert len(driver.batches) < 100
    driver.room = 1
    assert await task == [None]


async def test_who_waits_for_room_is_told_so_at_its_deadline(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 1
    first, second = start(batcher, "a", "b", timeout=1), start(batcher, "c", timeout=2)
    results = await first
    assert [type(error) for error in results] == [type(None), QueueFullError]
    assert now() == pytest.approx(1, abs=0.06)
    assert [type(error) for error in await second] == [QueueFullError]
    assert now() == pytest.approx(2, abs=0.06)
    driver.room = 9
    assert await batcher.publish(outgoing("d"), 1) == [None]
    assert driver.stored == ["a", "d"]


async def test_a_deadline_amid_one_more_attempt_does_not_make_a_full_queue_doubtful() -> None:
    class Slow(FakeDriver):
        async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
            await asyncio.sleep(0.3)
            return await super().publish(queue, batch)

    slow = Slow()
    batcher, slow.room = Batcher(slow, "tasks"), 0
    for timeout in (1.0, 1.1, 1.2, 1.3):
        assert [type(error) for error in await batcher.publish(outgoing("a"), timeout)] == [QueueFullError]
    slow.room = 1
    assert await batcher.publish(outgoing("a"), 1) == [None]


async def test_one_slow_answer_does_not_end_the_wait_for_room(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 0
    task = start(batcher, "a", timeout=10)
    await asyncio.sleep(1)  # it asks repeatedly by now
    gate = driver.gate = asyncio.Event()
    await asyncio.sleep(5)
    driver.gate = None
    gate.set()
    await asyncio.sleep(1)
    driver.room = 1
    assert await task == [None]


async def test_overflow_reject_fails_at_once(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks", block_when_full=False), 1
    results = await batcher.publish(outgoing("a", "b"), 9)
    assert [type(error) for error in results] == [type(None), QueueFullError]
    assert now() == 0.0


async def test_a_cancelled_publisher_leaves_nothing_behind(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 0
    tasks = [start(batcher, id) for id in "abc"]
    await asyncio.sleep(0.1)
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.sleep(0.1)
    driver.room = 9
    assert await tasks[2] == [None]
    assert driver.stored == ["c"]
    assert [task.cancelled() for task in tasks] == [True, True, False]
    await turn()
    assert idle(batcher)


async def test_one_cancelled_in_the_midst_of_those_that_wait_is_passed_over(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 0
    tasks = [start(batcher, id) for id in "abc"]
    await asyncio.sleep(0.1)
    tasks[1].cancel()
    await asyncio.sleep(0.1)
    driver.room = 9
    assert list(await asyncio.gather(tasks[0], tasks[2])) == [[None], [None]]
    assert driver.stored == ["a", "c"]


async def test_all_that_wait_are_cancelled_while_there_is_no_room(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 0
    tasks = [start(batcher, id) for id in "ab"]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.sleep(1)
    asked = len(driver.batches)
    await asyncio.sleep(60)
    assert len(driver.batches) == asked
    assert idle(batcher)


async def test_the_last_that_waits_is_cancelled_while_the_queue_says_that_it_is_full(driver: FakeDriver) -> None:
    batcher, driver.room = Batcher(driver, "tasks"), 0
    task = start(batcher, "a")
    await turn()
    driver.gate = asyncio.Event()
    await asyncio.sleep(1)
    task.cancel()
    await turn()
    open_gate(driver)
    await asyncio.sleep(1)
    assert task.cancelled()
    assert idle(batcher)


async def test_a_publisher_cancelled_under_way_hands_over_to_those_that_wait(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    first, second = start(batcher, "a"), start(batcher, "b")
    await turn()
    first.cancel()
    await turn()
    driver.gate.set()
    assert await second == [None]
    assert driver.stored == ["b"]


async def test_cancelled_while_its_batch_is_under_way_costs_the_others_nothing(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    tasks = [start(batcher, id) for id in "abc"]
    await turn()
    open_gate(driver)
    await tasks[0]
    await turn()
    tasks[1].cancel()
    open_gate(driver)
    assert await tasks[2] == [None]
    assert driver.stored == ["a", "b", "c"]


async def test_too_many_that_wait_are_turned_away(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    tasks = [start(batcher, "a"), start(batcher, "b", "c", "d")]
    await turn()
    (error,) = await batcher.publish(outgoing("e"), 9)
    assert isinstance(error, ThrottledError)
    assert error.retryable
    assert "3 messages already wait" in str(error)
    driver.gate.set()
    await asyncio.gather(*tasks)
    assert await batcher.publish(outgoing("f"), 9) == [None]


async def test_those_that_do_not_wait_any_more_turn_nobody_away(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    waiting = [start(batcher, "a", timeout=100), start(batcher, "b", timeout=100)]
    expired, cancelled = start(batcher, "expired", timeout=1), start(batcher, "cancelled", timeout=100)
    await turn()
    cancelled.cancel()
    assert isinstance((await expired)[0], ThrottledError)
    last = start(batcher, "c", "d")
    await turn()
    assert not last.done(), "two places are free"
    driver.gate.set()
    await asyncio.gather(*waiting)
    assert await last == [None, None]
    assert driver.stored == ["a", "b", "c", "d"]
    assert idle(batcher)


async def test_ten_thousand_at_once(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    ids = [str(i) for i in range(10_000)]
    tasks: list[asyncio.Task[Any]] = [start(batcher, id) for id in ids]
    await turn()
    driver.gate.set()
    assert await asyncio.gather(*tasks) == [[None]] * len(ids)
    assert driver.stored == ids


async def test_the_end_of_the_loop_ends_a_flush(driver: FakeDriver) -> None:
    batcher, driver.gate = Batcher(driver, "tasks"), asyncio.Event()
    first, second = start(batcher, "a"), start(batcher, "b")
    await turn()
    open_gate(driver)
    await first
    await turn()
    assert batcher._flusher is not None
    batcher._flusher.cancel()
    second.cancel()
    await asyncio.wait([second, batcher._flusher])
    assert batcher._flusher.cancelled()
