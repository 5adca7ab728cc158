"""Messages that are unique by a key: options, the rule of a queue, and what a publish answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tasuki.contracts.driver import Merged, Outgoing, Unique
from tasuki.contracts.observer import Observer
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import PublishError, QueueFullError, UnsupportedError
from tasuki.queues.messages.lanes import parse_path
from tasuki.queues.queue import Envelope
from tasuki.queues.result import Confirmed, Rejected, confirmed
from tasuki.queues.uniqueness import NOTHING_ASKED, Asked, UniqueRule, unique_of
from tests.unit.consumers.parts import make_queue
from tests.unit.queues.fake import FakeDriver, memory_queue, only
from tests.unit.queues.test_middleware import through

pytestmark = pytest.mark.anyio

BY_TENANT = UniqueRule(parse_path("header.tenant"))


@pytest.mark.parametrize(
    ("asked", "unique"),
    [
        (Asked("k"), Unique("k", "pending", "keep", 0.0)),
        (Asked("k", "running", "replace"), Unique("k", "running", "replace", 0.0)),
        (Asked("k", "10m"), Unique("k", 600.0, "keep", 0.0)),
        (Asked("k", timedelta(minutes=1)), Unique("k", 60.0, "keep", 0.0)),
        (Asked("k", None, "extend"), Unique("k", "pending", "extend", 50.0)),
        (Asked("k", None, "extend", "1m"), Unique("k", "pending", "extend", 60.0)),
    ],
)
def test_the_options_of_a_publish(asked: Asked, unique: Unique) -> None:
    assert unique_of(asked, None, {}, {}, 5.0) == unique


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (Asked(unique_for="running"), "unique_for needs a key: give it with unique"),
        (Asked(on_conflict="keep"), "on_conflict needs a key"),
        (Asked(""), "unique must be text of 1 to 255"),
        (Asked("k", "soon"), "unique_for must be 'pending', 'running' or a time such as '10m', not 'soon'"),
        (Asked("k", 0), "unique_for must be longer than 0 seconds"),
        (Asked("k", None, "drop"), "on_conflict must be 'keep', 'replace' or 'extend', not 'drop'"),  # type: ignore[arg-type]
        (Asked("k", None, None, "1m"), "unique_max is for on_conflict='extend'"),
        (Asked("k", None, "extend", "1s"), "unique_max is 1s and the delay 5s: give a longer unique_max"),
        (Asked("k", None, "extend", "long"), "unique_max must be a time such as '10m', not 'long'"),
    ],
)
def test_options_that_cannot_be(asked: Asked, problem: str) -> None:
    with pytest.raises(PublishError) as caught:
        unique_of(asked, None, {}, {}, 5.0)
    assert problem in str(caught.value)


def test_extend_needs_a_delay() -> None:
    with pytest.raises(PublishError, match="on_conflict='extend' needs a delay"):
        unique_of(Asked("k", None, "extend"), None, {}, {}, 0.0)


def test_the_rule_of_a_queue() -> None:
    rule = UniqueRule(parse_path("body.id"), 60.0, "extend", 30.0)
    assert unique_of(NOTHING_ASKED, rule, {"id": 3}, {}, 5.0) == Unique("3", 60.0, "extend", 30.0)
    assert unique_of(NOTHING_ASKED, rule, {}, {}, 5.0) is None
    assert unique_of(Asked("k", "running", "keep"), rule, {"id": 3}, {}, 0.0) == Unique("k", "running", "keep")
    assert unique_of(Asked(unique_max="1m"), rule, {"id": 3}, {}, 5.0) == Unique("3", 60.0, "extend", 60.0)


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
    outcomes = [(await queue.publish(1, {"tenant": name})).outcome for name in ("a", "b", "a", "")]
    assert outcomes == ["stored", "stored", "kept", "stored"]
    results = await queue.publish_many([1, Envelope(body=1, headers={"tenant": "a"}), 2])
    assert [each.outcome for each in results if isinstance(each, Confirmed)] == ["stored", "kept", "stored"]


async def test_an_empty_value_is_no_key() -> None:
    queue = await memory_queue(unique=BY_TENANT)
    assert [(await queue.publish(1, {"tenant": ""})).outcome for _ in range(2)] == ["stored", "stored"]


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
    assert (outcomes, seen) == (["stored", "kept"], [Asked("a", "running"), Asked("b", "running")])


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
