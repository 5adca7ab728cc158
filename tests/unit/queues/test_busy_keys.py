from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tasuki.contracts.driver import Merged, Outgoing
from tasuki.errors import DriverError, KeyBusyError, QueueFullError
from tasuki.queues.batcher import Batcher, BusyKeys, Result
from tests.unit.queues.fake import FakeDriver

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

BUSY = KeyBusyError("unique key 'k' is kept")


class Broker:
    """Answers busy for the keys that are kept."""

    def __init__(self) -> None:
        self.kept = {"a", "b"}
        self.batches: list[list[str]] = []

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Result]:
        self.batches.append([message.id for message in batch])
        return [BUSY if message.id in self.kept else None for message in batch]


async def told(keys: BusyKeys, id: str, timeout: float) -> Result:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    keys.add(Outgoing(id, b"", {}), loop.time() + timeout, future.done, future.set_result)
    return await future


async def test_busy_messages_are_tried_together_until_their_keys_are_free() -> None:
    broker = Broker()
    keys = BusyKeys(broker.publish)
    waiting = [asyncio.create_task(told(keys, id, 60.0)) for id in "ab"]
    await asyncio.sleep(5)
    assert set(map(tuple, broker.batches)) == {("a", "b")}
    broker.kept.remove("b")
    assert await waiting[1] is None
    assert not waiting[0].done()
    broker.kept.clear()
    assert await waiting[0] is None
    assert broker.batches[-1] == ["a"]


async def test_at_its_deadline_a_message_has_the_error_that_names_its_key() -> None:
    keys = BusyKeys(Broker().publish)
    began = asyncio.get_running_loop().time()
    assert await told(keys, "a", 3.0) is BUSY
    assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)


@pytest.mark.parametrize("result", [Merged("kept", "other"), DriverError("the disk is full")])
async def test_another_answer_is_the_last_one(result: Result) -> None:
    async def publish(batch: Sequence[Outgoing]) -> Sequence[Result]:
        return [result] * len(batch)

    assert await told(BusyKeys(publish), "a", 60.0) is result


async def test_a_message_whose_publisher_has_gone_is_not_tried_any_more() -> None:
    broker = Broker()
    keys = BusyKeys(broker.publish)
    waiting = [asyncio.create_task(told(keys, id, 60.0)) for id in "ab"]
    await asyncio.sleep(1)
    waiting[0].cancel()
    broker.kept.clear()
    assert await waiting[1] is None
    await asyncio.sleep(1)
    assert broker.batches[-1] == ["b"]
    keys.add(Outgoing("c", b"", {}), asyncio.get_running_loop().time() + 60, lambda: True, lambda result: None)
    await asyncio.sleep(61)
    assert broker.batches[-1] == ["b"]


@pytest.mark.parametrize("waits_for_room", [True, False])
async def test_a_key_that_gets_free_in_a_full_queue_waits_for_room_where_others_do(waits_for_room: bool) -> None:
    full = QueueFullError("full")
    answers: list[Result] = [full, None]

    async def publish(batch: Sequence[Outgoing]) -> Sequence[Result]:
        return [answers.pop(0)]

    keys = BusyKeys(publish, waits_for_room=waits_for_room)
    assert await told(keys, "a", 60.0) is (None if waits_for_room else full)


class BusyDriver(FakeDriver):
    """The key of its message ``k`` is kept until ``is_free``."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = False

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        results = [None if message.id != "k" or self.is_free else BUSY for message in batch]
        self.stored += [message.id for message, result in zip(batch, results, strict=True) if result is None]
        return results


async def test_each_message_is_reported_once_with_its_last_result() -> None:
    driver = BusyDriver()
    batcher, told = Batcher(driver, "q"), list[tuple[str, Result]]()
    batcher.on_batch = lambda batch, results: told.extend(
        (message.id, result) for message, result in zip(batch, results, strict=True)
    )
    publishing = asyncio.create_task(batcher.publish([Outgoing(id, b"", {}) for id in "akb"], 60.0))
    await asyncio.sleep(1)
    assert told == [("a", None), ("b", None)]
    assert await batcher.publish([Outgoing("k", b"", {})], 3.0) == [BUSY]
    assert told[2:] == [("k", BUSY)]
    driver.is_free = True
    assert await publishing == [None, None, None]
    assert told[3:] == [("k", None)]


async def test_a_publish_that_is_cancelled_while_its_key_is_busy_stores_nothing_later() -> None:
    driver = BusyDriver()
    batcher = Batcher(driver, "q")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await batcher.publish([Outgoing("k", b"", {})], 60.0)
    driver.is_free = True
    await asyncio.sleep(61)
    assert driver.stored == []
    assert await batcher.publish([Outgoing("k", b"", {})], 1.0) == [None]


def test_a_busy_key_of_a_loop_that_has_ended_holds_up_no_publish_of_the_next_one() -> None:
    driver, loop = BusyDriver(), asyncio.new_event_loop()

    async def begin() -> Batcher:
        batcher = Batcher(driver, "q")
        left.append(asyncio.create_task(batcher.publish([Outgoing("k", b"", {})], 60.0)))
        await asyncio.sleep(0.1)
        return batcher

    async def go_on(batcher: Batcher) -> None:
        batcher.use_running_loop()
        publishing = asyncio.create_task(batcher.publish([Outgoing("k", b"", {})], 60.0))
        await asyncio.sleep(0.1)
        driver.is_free = True
        assert await publishing == [None]

    left: list[asyncio.Task[object]] = []
    batcher = loop.run_until_complete(begin())
    loop.close()
    asyncio.run(go_on(batcher))
    assert driver.stored == ["k"]
