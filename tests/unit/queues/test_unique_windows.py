"""One message per key for a time, by a store, for a driver that keeps no windows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Merged, Outgoing, Unique
from tasuki.contracts.state.store import MAX_KEY_BYTES, Entry, Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConflictError,
    DriverError,
    QueueFullError,
    UnsupportedError,
)
from tasuki.queues.queue import Envelope, Queue
from tasuki.queues.result import Confirmed, Rejected
from tasuki.queues.unique_windows import UniqueWindows, has_window, key_of
from tasuki.testing.clock import FakeClock
from tests.unit.consumers.parts import make_queue
from tests.unit.queues.fake import FakeDriver, outgoing, raising

pytestmark = pytest.mark.anyio

KEY = "unique/jobs/k"


async def opened(clock: FakeClock) -> Store:
    driver = MemoryDriver("app:state", clock=clock)
    await driver.open()
    store = driver.store("state")
    await store.open()
    return store


class Rig:
    """A queue on a driver without windows, and a store."""

    def __init__(self, queue: Queue, driver: FakeDriver, store: Store, clock: FakeClock) -> None:
        self.queue, self.driver, self.store, self.clock = queue, driver, store, clock

    async def publish(self, id: str, key: str = "k", **options: Any) -> Confirmed:
        return await self.queue.publish("x", id=id, unique=key, unique_for="10m", **options)


@pytest.fixture
async def rig() -> Rig:
    clock, driver = FakeClock(), FakeDriver()
    queue, store = make_queue(driver, name="jobs", clock=clock), await opened(clock)

    async def find() -> Store:
        return store

    queue.use_store(find)
    return Rig(queue, driver, store, clock)


async def test_the_first_message_of_a_window_is_stored_and_the_others_name_it(rig: Rig) -> None:
    first, second, other = await rig.publish("a"), await rig.publish("b"), await rig.publish("c", "other")
    assert (first.outcome, first.id) == ("stored", "a")
    assert (second.outcome, second.id) == ("kept", "a")
    assert other.outcome == "stored"
    assert rig.driver.stored == ["a", "c"]
    rig.clock.advance(601)
    assert (await rig.publish("d")).outcome == "stored"


async def test_the_same_id_again_is_published_again(rig: Rig) -> None:
    rig.driver.answer = raising(BrokerUnavailableError("gone", outcome="unknown"))
    with pytest.raises(BrokerUnavailableError):
        await rig.publish("a")
    rig.driver.answer = None
    assert (await rig.publish("a")).outcome == "stored"
    assert (await rig.publish("b")).outcome == "kept"
    assert rig.driver.stored == ["a"]


async def test_after_an_unknown_publish_no_other_is_confirmed_in_its_favour(rig: Rig) -> None:
    rig.driver.answer = raising(BrokerUnavailableError("gone", outcome="unknown"))
    with pytest.raises(BrokerUnavailableError) as caught:
        await rig.publish("a", publish_timeout=1.0)
    assert caught.value.outcome == "unknown"
    rig.driver.answer = None
    with pytest.raises(BrokerTimeoutError, match="another publish of its key has not ended") as late:
        await rig.publish("b", publish_timeout=0.1)
    assert (late.value.outcome, late.value.retryable) == ("rejected", True)
    rig.clock.advance(10.0)
    assert (await rig.publish("b")).outcome == "stored", "the claim is over"


async def test_a_batch_has_one_result_for_each(rig: Rig) -> None:
    rig.driver.room = 2

    def once(id: str, key: str) -> Envelope[str]:
        return Envelope(body=id, id=id, unique=key, unique_for=60)

    items = [once("1", "k"), "plain", once("3", "k"), once("4", "l")]
    queue = make_queue(rig.driver, name="jobs", clock=rig.clock, overflow="reject")

    async def find() -> Store:
        return rig.store

    queue.use_store(find)
    told = await queue.publish_many(items)
    assert [getattr(each, "outcome", "rejected") for each in told] == ["stored", "stored", "kept", "rejected"]
    assert isinstance(told[3], Rejected)
    assert isinstance(told[3].error, QueueFullError)
    assert await rig.store.get(KEY) is not None
    assert await rig.store.get("unique/jobs/l") is None, "it was rejected"


async def test_without_a_store_it_is_refused() -> None:
    driver = FakeDriver()
    queue = make_queue(driver, name="jobs")
    with pytest.raises(UnsupportedError, match="write 'state: <id of a store>' at the queue"):
        await queue.publish("x", unique="k", unique_for="10m")
    assert not driver.batches


async def test_a_store_that_is_away_rejects(rig: Rig) -> None:
    async def find() -> Store:
        raise BrokerUnavailableError("the store is unavailable")

    rig.queue.use_store(find)
    with pytest.raises(
        BrokerUnavailableError, match="was not published: its key cannot be taken in the store"
    ) as caught:
        await rig.publish("a")
    assert caught.value.outcome == "rejected"
    assert not rig.driver.batches


async def test_a_store_that_does_not_answer_rejects_at_the_deadline(rig: Rig) -> None:
    async def find() -> Store:
        await asyncio.Event().wait()
        return rig.store

    rig.queue.use_store(find)
    with pytest.raises(DriverError, match="did not answer within the deadline") as caught:
        await rig.publish("a", publish_timeout=1.0)
    assert caught.value.outcome == "rejected"
    assert not rig.driver.batches


async def test_a_key_that_comes_and_goes_is_asked_for_again(rig: Rig) -> None:
    class Restless(FakeStore):
        turns = 2

    assert await published(Restless()) == [None]

    class Endless(FakeStore):
        turns = 99

    (problem,) = await published(Endless())
    assert "its key was taken 10 times" in str(problem)


class FakeStore:
    """Refuses ``turns`` puts in favour of an entry that is gone."""

    turns = 0

    async def put(self, key: str, value: bytes, **options: Any) -> int:
        self.turns -= 1
        if self.turns >= 0:
            raise ConflictError("taken")
        return 1

    async def get(self, key: str) -> Entry | None:
        return None


async def published(store: Any) -> Sequence[DriverError | Merged | None]:
    async def publish(messages: Sequence[Outgoing], timeout: float) -> list[DriverError | Merged | None]:
        return [None] * len(messages)

    async def find() -> Any:
        return store

    windows = UniqueWindows("app:jobs", "jobs", "app:fake", publish)
    windows.find_store = find
    (message,) = outgoing("a")
    message.unique = Unique("k", 60.0)
    return await windows.publish([message], 5.0)


def test_only_a_window_needs_the_store() -> None:
    messages = outgoing("a", "b", "c")
    messages[1].unique, messages[2].unique = Unique("k", "running"), Unique("k", 60.0)
    assert [has_window(each) for each in messages] == [False, False, True]


def test_keys_of_all_queues_differ_and_fit() -> None:
    assert key_of("jobs", "a/b") == "unique/jobs/a/b"
    pairs = [("a/b", "c"), ("a", "b/c"), ("a", "b"), ("q" * 255, "鍵" * 255), ("q" * 254, "q" + "鍵" * 255)]
    keys = [key_of(*pair) for pair in pairs]
    assert len(set(keys)) == len(keys)
    assert all(len(key.encode()) <= MAX_KEY_BYTES for key in keys)
