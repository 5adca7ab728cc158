"""Messages that are unique by a key: options, the rule of a queue, and what a publish answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tasuki.contracts.driver import Merged, Outgoing, Unique
from tasuki.contracts.observer import Observer
from tasuki.contracts.state.store import MAX_KEY_BYTES, Entry, Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConflictError,
    DriverError,
    PublishError,
    QueueFullError,
    UnsupportedError,
)
from tasuki.queues.messages.lanes import parse_path
from tasuki.queues.queue import Envelope, Queue
from tasuki.queues.result import Confirmed, Rejected, confirmed
from tasuki.queues.unique_windows import UniqueWindows, has_window, key_of
from tasuki.queues.uniqueness import NOTHING_ASKED, UniqueOptions, UniqueRule, unique_of
from tasuki.testing.clock import FakeClock
from tests.unit.consumers.parts import make_queue
from tests.unit.queues.fake import FakeDriver, memory_queue, only, outgoing, raising
from tests.unit.queues.test_middleware import through

pytestmark = pytest.mark.anyio

BY_TENANT = UniqueRule(parse_path("header.tenant"))


@pytest.mark.parametrize(
    ("asked", "unique"),
    [
        (UniqueOptions("k"), Unique("k", "pending", "keep", 0.0)),
        (UniqueOptions("k", "running", "replace"), Unique("k", "running", "replace", 0.0)),
        (UniqueOptions("k", "10m"), Unique("k", 600.0, "keep", 0.0)),
        (UniqueOptions("k", timedelta(minutes=1)), Unique("k", 60.0, "keep", 0.0)),
        (UniqueOptions("k", None, "extend"), Unique("k", "pending", "extend", 50.0)),
        (UniqueOptions("k", None, "extend", "1m"), Unique("k", "pending", "extend", 60.0)),
    ],
)
def test_the_options_of_a_publish(asked: UniqueOptions, unique: Unique) -> None:
    assert unique_of(asked, None, {}, {}, 5.0) == unique


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (UniqueOptions(unique_for="running"), "unique_for needs a key: give it with unique"),
        (UniqueOptions(on_conflict="keep"), "on_conflict needs a key"),
        (UniqueOptions(""), "unique must be text of 1 to 255"),
        (UniqueOptions("k", "soon"), "unique_for must be 'pending', 'running' or a time such as '10m', not 'soon'"),
        (UniqueOptions("k", 0), "unique_for must be longer than 0 seconds"),
        (UniqueOptions("k", None, "drop"), "on_conflict must be 'keep', 'replace' or 'extend', not 'drop'"),  # type: ignore[arg-type]
        (UniqueOptions("k", None, None, "1m"), "unique_max is for on_conflict='extend'"),
        (UniqueOptions("k", None, "extend", "1s"), "unique_max is 1s and the delay 5s: give a longer unique_max"),
        (UniqueOptions("k", None, "extend", "long"), "unique_max must be a time such as '10m', not 'long'"),
    ],
)
def test_options_that_cannot_be(asked: UniqueOptions, problem: str) -> None:
    with pytest.raises(PublishError) as caught:
        unique_of(asked, None, {}, {}, 5.0)
    assert problem in str(caught.value)


def test_extend_needs_a_delay() -> None:
    with pytest.raises(PublishError, match="on_conflict='extend' needs a delay"):
        unique_of(UniqueOptions("k", None, "extend"), None, {}, {}, 0.0)


def test_the_rule_of_a_queue() -> None:
    rule = UniqueRule(parse_path("body.id"), 60.0, "extend", 30.0)
    assert unique_of(NOTHING_ASKED, rule, {"id": 3}, {}, 5.0) == Unique("3", 60.0, "extend", 30.0)
    assert unique_of(NOTHING_ASKED, rule, {}, {}, 5.0) is None
    assert unique_of(UniqueOptions("k", "running", "keep"), rule, {"id": 3}, {}, 0.0) == Unique("k", "running", "keep")
    assert unique_of(UniqueOptions(unique_max="1m"), rule, {"id": 3}, {}, 5.0) == Unique("3", 60.0, "extend", 60.0)


async def test_a_publish_says_what_happened() -> None:
    queue = await memory_queue()
    first = await queue.publish(1, unique="k", id="a")
    assert first == Confirmed("a", "memory", "stored")
    assert await queue.publish(1, unique="k", id="a") == first, "the same message again is no other one"
    assert await queue.publish(2, unique="k", id="b") == Confirmed("a", "memory", "kept")
    assert await queue.publish(3, unique="k", on_conflict="replace", id="c") == Confirmed(
        "c", "memory", "replaced", "a"
    )
    later = await queue.publish(4, unique="k", on_conflict="extend", delay="5s", id="d")
    assert later == Confirmed("d", "memory", "extended", "c")
    message = await only(queue)
    assert (message.id, message.body) == ("d", b"4")
    assert (await queue.depth()).delayed == 1
    assert queue.metrics.published == 4, "all but the kept one"


async def test_a_batch_has_a_result_for_each() -> None:
    queue = await memory_queue()
    results = await queue.publish_many(
        [
            Envelope(body=1, unique="k", id="a"),
            2,
            Envelope(body=3, unique="k", unique_for="10m", id="c"),
            Envelope(body=4, unique="k", on_conflict="replace", id="d"),
            Envelope(body=5, unique_for="10m", id="e"),
        ]
    )
    assert isinstance(results[4], Rejected)
    assert [each.outcome for each in results[:4] if isinstance(each, Confirmed)] == [
        "stored", "stored", "stored", "replaced",
    ]  # fmt: skip


async def test_a_queue_with_a_rule() -> None:
    queue = await memory_queue(unique=BY_TENANT)
    outcomes = [(await queue.publish(1, {"tenant": name})).outcome for name in ("a", "b", "a", "", "")]
    assert outcomes == ["stored", "stored", "kept", "stored", "stored"], "an empty value is no key"
    results = await queue.publish_many([1, Envelope(body=1, headers={"tenant": "a"}), 2])
    assert [each.outcome for each in results if isinstance(each, Confirmed)] == ["stored", "kept", "stored"]


async def test_what_is_forwarded_is_not_unique() -> None:
    queue = await memory_queue(unique=BY_TENANT)
    await queue.publish(1, {"tenant": "a"})
    assert await queue.forward([Outgoing("redriven", b"1", {"tenant": "a"})]) == [None]
    assert (await queue.depth()).ready == 2


async def test_a_unique_message_is_not_carried_by_a_move() -> None:
    queue = await memory_queue(unique=BY_TENANT)

    async def carry(messages: Sequence[Outgoing]) -> list[Any]:
        raise AssertionError(f"a move knows no unique messages: {messages}")

    for outcome in ("stored", "kept"):
        assert (await queue.publish_by(carry, 1, {"tenant": "a"})).outcome == outcome


async def test_middleware_sees_the_options() -> None:
    seen = []

    async def layer(envelope: Envelope[Any], publish: Any) -> Confirmed:
        seen.append(envelope.asked())
        envelope.unique = "mine"
        result: Confirmed = await publish(envelope)
        return result

    queue = through(MemoryDriver("app:memory"), layer)
    await queue.driver.open()
    await queue.driver.declare(queue.spec)
    outcomes = [(await queue.publish(1, unique=name, unique_for="running")).outcome for name in ("a", "b")]
    assert (outcomes, seen) == (["stored", "kept"], [UniqueOptions("a", "running"), UniqueOptions("b", "running")])


async def test_a_kept_message_is_not_reported_as_published() -> None:
    reported: list[tuple[list[str], list[object]]] = []

    class Listener(Observer):
        def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[object]) -> None:
            reported.append(([message.id for message in messages], [*errors]))

    driver = FakeDriver()
    queue = make_queue(driver)
    queue.observe([Listener()])
    driver.answer = lambda batch: [Merged("kept", "x"), None, Merged("replaced", "y"), QueueFullError("full")]  # type: ignore[list-item]
    await queue.publish_many([Envelope(body=1, id=id) for id in "abcd"], publish_timeout=0.01)
    driver.answer = lambda batch: [Merged("kept", "x")]  # type: ignore[list-item]
    await queue.publish(1, id="e")
    ids, errors = reported[0]
    assert ids == ["b", "c", "d"]
    assert (errors[:2], type(errors[2])) == ([None, None], QueueFullError)
    assert all("e" not in ids for ids, _ in reported)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "cannot keep one waiting message per key (unique_for='pending'); 'tasuki drivers' shows which can"),
        ({"unique_for": "running"}, "cannot keep one message per key until it is done (unique_for='running')"),
        (
            {"unique_for": "10m"},
            "its driver keeps no windows, and the queue has no state: write 'state: <id of a store>'",
        ),
        ({"unique_for": "10m", "on_conflict": "replace"}, "cannot replace the waiting message of a key"),
    ],
)
async def test_a_driver_that_cannot(options: Any, problem: str) -> None:
    queue = make_queue(FakeDriver())
    with pytest.raises(UnsupportedError) as caught:
        await queue.publish(1, unique="k", **options)
    assert problem in str(caught.value)


def test_the_id_that_counts() -> None:
    assert confirmed("a", "power", None) == confirmed("a", "power", Merged("kept", "a")) == Confirmed("a", "power")
    assert confirmed("a", "power", Merged("extended", "b")) == Confirmed("a", "power", "extended", "b")


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
