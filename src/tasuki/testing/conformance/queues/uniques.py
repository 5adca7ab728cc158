"""Clauses 39 to 41: messages that are unique by a key."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from tasuki.contracts.driver import Ack, Act, Answers, Driver, Merged, Move, Nack, Outgoing, Release, Span, Unique
from tasuki.errors import QueueFullError, UnsupportedError
from tasuki.testing.conformance.killed import killed
from tasuki.testing.conformance.rig import Rig, Suite, case, ids, raises


def unique(
    rig: Rig, id: str, key: str = "k", span: Span = "pending", act: Act = "keep", latest: float = 0.0, **options: Any
) -> Outgoing:
    """A message that is to be the only one of its key."""
    message = rig.message(id.encode(), id=id, **options)
    message.unique = Unique(key, span, act, latest)
    return message


async def told(rig: Rig, *batch: Outgoing, driver: Driver | None = None, queue: str | None = None) -> list[object]:
    """Publish; the driver's answer for each message."""
    answers: Answers = await (driver or rig.driver).publish(queue or rig.queue, batch)
    return [*answers] or [None] * len(batch)


def kept(id: str) -> Merged:
    """The answer where the message of this id counts."""
    return Merged("kept", id)


class Uniques(Suite):
    """A key has one message at a time, until its span ends."""

    @case("unique:pending")
    async def test_39_a_waiting_message_keeps_its_key(self, rig: Rig) -> None:
        assert await told(rig, unique(rig, "a"), unique(rig, "b"), unique(rig, "c", "other")) == [None, kept("a"), None]
        assert await told(rig, unique(rig, "d")) == [kept("a")]
        await rig.counts(2, 0, 0)
        first, second = await rig.take(2)
        assert (first.id, first.body) == ("a", b"a")
        assert await told(rig, unique(rig, "e")) == [None], "a held message does not wait"
        await rig.ack(first, second)
        await rig.only("e")

    @case("unique:pending")
    async def test_39_a_delayed_message_keeps_its_key(self, rig: Rig) -> None:
        assert await told(rig, unique(rig, "a", delay=rig.long)) == [None]
        assert await told(rig, unique(rig, "b")) == [kept("a")]
        await rig.advance(rig.long * 1.1)
        await rig.ack(await rig.one())
        assert await told(rig, unique(rig, "c")) == [None]

    @case("unique:running")
    async def test_39_a_running_message_keeps_its_key(self, rig: Rig) -> None:
        assert await told(rig, unique(rig, "a", span="running")) == [None]
        got = await rig.one()
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        await rig.driver.settle(rig.queue, [Nack(got.receipt)])
        assert await told(rig, unique(rig, "c", span="running")) == [kept("a")]
        await rig.ack(await rig.one())
        assert await told(rig, unique(rig, "d", span="running")) == [None]
        await rig.only("d")

    @case("unique:window")
    async def test_39_a_window_outlives_its_message(self, rig: Rig) -> None:
        span = rig.long
        assert await told(rig, unique(rig, "a", span=span)) == [None]
        await rig.ack(await rig.one())
        assert await told(rig, unique(rig, "b", span=span)) == [kept("a")]
        await rig.nothing()
        await rig.advance(rig.long * 1.1)
        assert await told(rig, unique(rig, "c", span=span), unique(rig, "d", span=span)) == [None, kept("c")]
        assert ids(await rig.take()) == ["c"]

    @case("unique:window", "multi_process")
    async def test_39_a_window_is_kept_in_other_processes_too(self, rig: Rig) -> None:
        other = await rig.another()
        span = rig.long
        assert await told(rig, unique(rig, "a", span=span)) == [None]
        assert await told(rig, unique(rig, "b", span=span), driver=other) == [kept("a")]

    @case("unique")
    async def test_39_keys_of_other_queues_are_free(self, rig: Rig) -> None:
        span = span_of(rig)
        await rig.declare(name=rig.other)
        assert await told(rig, unique(rig, "a", span=span)) == [None]
        assert await told(rig, unique(rig, "b", span=span), queue=rig.other) == [None]
        assert await told(rig, unique(rig, "c", span=span), queue=rig.other) == [kept("b")]

    @case("unique")
    async def test_39_keys_are_compared_exactly(self, rig: Rig) -> None:
        span = span_of(rig)
        keys = ["a", "A", "á", "a\u0301", "a b", "a.b", "a*b", "a>b", "{a}", "鍵", "k" * 255, "%_\\'\""]
        assert await told(rig, *(unique(rig, f"1{key}", key, span) for key in keys)) == [None] * len(keys)
        again = await told(rig, *(unique(rig, f"2{key}", key, span) for key in keys))
        assert again == [kept(f"1{key}") for key in keys]

    @case("unique")
    async def test_39_others_are_not_concerned(self, rig: Rig) -> None:
        span = span_of(rig)
        answers = await told(rig, rig.message(id="x"), unique(rig, "a", span=span), rig.message(id="y"),
                             unique(rig, "b", span=span), rig.message(id="z"))  # fmt: skip
        assert answers == [None, None, None, kept("a"), None]
        assert sorted(await rig.drain(expected=4)) == ["a", "x", "y", "z"]

    @case("unique")
    async def test_39_of_many_publishers_one_stores(self, rig: Rig) -> None:
        span: Span = "running" if "running" in rig.driver.capabilities.unique else span_of(rig)
        drivers = [rig.driver]
        if rig.driver.capabilities.multi_process:
            drivers += [await rig.another(), await rig.another()]

        async def publish(number: int) -> list[object]:
            batch = [unique(rig, f"{key}-{number}", f"key-{key}", span) for key in range(5)]
            batch = batch[number % 5 :] + batch[: number % 5]  # publishers take keys in different orders
            return await told(rig, *batch, driver=drivers[number % len(drivers)])

        answers = await asyncio.gather(*(publish(number) for number in range(16)))
        outcomes = Counter(type(answer) for each in answers for answer in each)
        assert outcomes == {type(None): 5, Merged: 75}, outcomes
        stored = await rig.drain(expected=5)
        assert sorted(id[0] for id in stored) == ["0", "1", "2", "3", "4"]
        assert {answer.other for each in answers for answer in each if isinstance(answer, Merged)} == set(stored)

    @case("unique:replace")
    async def test_40_replace_changes_the_waiting_message(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", headers={"n": 1}), rig.message(id="x"))
        answers = await told(rig, unique(rig, "b", act="replace", headers={"m": "2"}))
        assert answers == [Merged("replaced", "a")]
        assert await told(rig, unique(rig, "c")) == [kept("b")]
        got = await rig.take(2)
        assert sorted(ids(got)) == ["b", "x"]
        replaced = next(each for each in got if each.id == "b")
        assert (replaced.body, replaced.headers, replaced.attempt) == (b"b", {"m": "2"}, 1)
        await rig.ack(*got)
        await rig.nothing()

    @case("unique:replace", "ordered")
    async def test_40_a_replaced_message_stays_at_its_place(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"), rig.message(id="x"))
        await told(rig, unique(rig, "b", act="replace"))
        assert ids(await rig.take(2)) == ["b", "x"]

    @case("unique:replace")
    async def test_40_a_held_message_is_not_replaced(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", span="running"))
        got = await rig.one()
        assert await told(rig, unique(rig, "b", span="running", act="replace")) == [kept("a")]
        assert await told(rig, unique(rig, "c", act="replace")) == [None], "a pending one is another message"
        await rig.driver.settle(rig.queue, [Nack(got.receipt)])
        await rig.only("a", "c")

    @case("unique:replace")
    async def test_40_a_replaced_retry_begins_afresh(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        got = await rig.one()
        await rig.driver.settle(rig.queue, [Nack(got.receipt, rig.long, "no")])
        assert await told(rig, unique(rig, "b", act="replace")) == [Merged("replaced", "a")]
        await rig.nothing()  # the delay stays
        await rig.advance(rig.long * 1.1)
        again = await rig.one()
        assert (again.id, again.attempt, again.suspect) == ("b", 1, False)
        await rig.ack(again)
        await rig.nothing()

    @case("unique:extend")
    async def test_40_extend_delays_again(self, rig: Rig) -> None:
        latest = rig.long * 10
        await told(rig, unique(rig, "a", act="extend", delay=rig.long, latest=latest))
        await rig.advance(rig.long * 0.6)
        answers = await told(rig, unique(rig, "b", act="extend", delay=rig.long, latest=latest))
        assert answers == [Merged("extended", "a")]
        await rig.counts(0, 0, 1)
        await rig.advance(rig.long * 0.6)
        await rig.nothing()
        await rig.advance(rig.long * 0.6)
        assert (await rig.one()).body == b"b"
        await rig.nothing()

    @case("unique:extend")
    async def test_40_extend_hides_a_ready_message(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"), rig.message(id="x"))
        answers = await told(rig, unique(rig, "b", act="extend", delay=rig.long, latest=rig.long * 10))
        assert answers == [Merged("extended", "a")]
        await rig.only("x")
        await rig.advance(rig.long * 1.1)
        assert ids(await rig.take()) == ["b"]

    @case("unique:extend")
    async def test_40_extend_ends(self, rig: Rig) -> None:
        latest = rig.long * 1.5
        await told(rig, unique(rig, "0", act="extend", delay=rig.long, latest=latest))
        for number in (1, 2):
            await rig.advance(rig.long * 0.6)
            await told(rig, unique(rig, f"{number}", act="extend", delay=rig.long * 10, latest=latest))
        await rig.nothing()
        await rig.advance(rig.long * 0.4)
        assert ids(await rig.take()) == ["2"]

    @case("unique:extend")
    async def test_40_extend_can_shorten_a_delay_for_who_waits(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", delay=rig.long * 10))
        got = await rig.woken(lambda: told(rig, unique(rig, "b", act="extend", latest=rig.long)))
        assert got.id == "b"

    @case()
    async def test_39_a_span_or_act_that_is_not_claimed_is_refused(self, rig: Rig) -> None:
        claimed = rig.driver.capabilities.unique
        spans: tuple[Span, ...] = ("pending", "running", 60.0)
        acts: tuple[Act, ...] = ("keep", "replace", "extend")
        for message in (unique(rig, "a", span=span, act=act) for span in spans for act in acts):
            assert message.unique is not None
            if not claimed.issuperset(message.unique.needs):
                await raises(UnsupportedError, rig, partial(rig.driver.publish, rig.queue, [message]))
        await rig.nothing()

    @case("unique:pending")
    async def test_41_a_failed_message_has_its_key_again(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        for settlement in (Nack, Release):
            got = await rig.one()
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
            assert await told(rig, unique(rig, "b")) == [kept("a")]
        got = await rig.one()
        await told(rig, unique(rig, "c"))
        await rig.driver.settle(rig.queue, [Nack(got.receipt)])
        assert await told(rig, unique(rig, "d")) == [kept("c")], "the newer one has the key"
        assert sorted(await rig.drain(expected=2)) == ["a", "c"]
        assert await told(rig, unique(rig, "e")) == [None]

    @case("unique:pending", "leases")
    async def test_41_a_message_of_an_ended_lease_has_its_key_again(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        await rig.one()
        await rig.advance(rig.long * 1.2)
        got = await rig.one()
        assert got.id == "a"
        await rig.driver.settle(rig.queue, [Release(got.receipt)])
        assert await told(rig, unique(rig, "b")) == [kept("a")]

    @case("unique:replace", "leases")
    async def test_41_a_late_settlement_leaves_the_message_that_replaced_its_own(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"))
        late = await rig.one()
        await rig.advance(rig.long * 1.2)
        back = await rig.one()
        await rig.driver.settle(rig.queue, [Release(back.receipt)])
        assert await told(rig, unique(rig, "b", act="replace")) == [Merged("replaced", "a")]
        for receipt in (late.receipt, back.receipt):
            assert list(await rig.driver.settle(rig.queue, [Ack(receipt)])) == [receipt]
        assert ids(await rig.take()) == ["b"]

    @case("unique:running")
    async def test_41_a_hidden_message_has_its_key_until_it_is_done(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", span="running", delay=rig.long))
        for settlement in (Nack, Release, None):
            assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
            await rig.nothing()
            await rig.advance(rig.long * 1.1)
            got = await rig.one()
            assert got.id == "a"
            await rig.driver.settle(rig.queue, [settlement(got.receipt, rig.long) if settlement else Ack(got.receipt)])
        assert await told(rig, unique(rig, "c", span="running"), unique(rig, "d", span="running")) == [None, kept("c")]
        await rig.only("c")

    @case("unique:running", "dedup")
    async def test_41_a_known_id_is_not_kept_out(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await told(rig, unique(rig, "a", span="running"))
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        assert await rig.drain(expected=1) == ["a"]
        assert await told(rig, unique(rig, "a", span="running")) == [None]
        assert await told(rig, unique(rig, "b", span="running")) == [None], "a kept message is not remembered"
        assert await rig.drain(expected=1) == ["b"]

    @case("unique:running", "multi_process", "leases")
    async def test_41_a_killed_holder_frees_no_key(self, rig: Rig) -> None:
        lease = 2.0
        await rig.declare(lease=lease)
        await told(rig, unique(rig, "a", span="running"))
        await killed(rig, rig.spec(lease=lease), 1)
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        got = await rig.one()
        assert (got.id, got.suspect) == ("a", True)
        await rig.ack(got)
        assert await told(rig, unique(rig, "c", span="running")) == [None]

    @case("unique", "purge")
    async def test_41_purge_frees_keys(self, rig: Rig) -> None:
        span: Span = "running" if "running" in rig.driver.capabilities.unique else "pending"
        await told(rig, unique(rig, "a", span=span), unique(rig, "b", "held", span))
        await rig.driver.purge(rig.queue)
        assert await told(rig, unique(rig, "c", span=span)) == [None]
        assert ids(await rig.take()) == ["c"]

    @case("unique:running", "purge")
    async def test_41_purge_leaves_held_keys(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a", span="running"))
        got = await rig.one()
        await rig.driver.purge(rig.queue)
        assert await told(rig, unique(rig, "b", span="running")) == [kept("a")]
        await rig.ack(got)
        assert await told(rig, unique(rig, "c", span="running")) == [None]

    @case("unique:pending", "remove")
    async def test_41_a_removed_message_frees_its_key(self, rig: Rig) -> None:
        await told(rig, unique(rig, "a"), unique(rig, "b", "other"))
        assert await rig.driver.remove(rig.queue, ["a"]) == 1
        assert await told(rig, unique(rig, "c"), unique(rig, "d", "other")) == [None, kept("b")]
        assert sorted(await rig.drain(expected=2)) == ["b", "c"]

    @case("unique")
    async def test_41_a_deleted_queue_has_no_keys(self, rig: Rig) -> None:
        for span in spans_of(rig):
            await told(rig, unique(rig, "a", f"{span}", span))
        await rig.driver.delete(rig.queue)
        await rig.declare()
        for span in spans_of(rig):
            assert await told(rig, unique(rig, f"new {span}", f"{span}", span)) == [None]

    @case("unique:running")
    async def test_41_a_moved_message_frees_its_key(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await told(rig, unique(rig, "a", span="running"))
        got = await rig.one()
        letter = rig.message(id="a", deduplicate=False)
        assert not any(await rig.driver.move(rig.queue, [Move(got.receipt, rig.other, (letter,))]))
        assert await told(rig, unique(rig, "b", span="running")) == [None]
        await rig.publish(rig.message(id="a", deduplicate=False))  # a redrive stands beside it
        assert sorted(await rig.drain(expected=2)) == ["a", "b"]

    @case("unique", "max_length")
    async def test_41_a_rejected_message_takes_no_key(self, rig: Rig) -> None:
        span = span_of(rig)
        await rig.declare(max_length=2)
        await told(rig, unique(rig, "a", span=span), rig.message(id="x"))
        assert await told(rig, unique(rig, "b", span=span)) == [kept("a")], "a kept message needs no room"
        answers = await rig.results(unique(rig, "c", "new", span), unique(rig, "d", span=span))
        assert [type(answer) for answer in answers] == [QueueFullError] * 2
        await rig.drain(expected=2)
        assert await told(rig, unique(rig, "e", "new", span)) == [None]

    @case("unique:replace", "dedup")
    async def test_41_a_known_id_changes_nothing(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await told(rig, unique(rig, "a"))
        assert await told(rig, unique(rig, "b", act="replace")) == [Merged("replaced", "a")]
        assert await told(rig, unique(rig, "a", act="replace")) == [None]
        assert await told(rig, unique(rig, "c")) == [kept("b")]
        assert await rig.drain(expected=1) == ["b"]
        assert await told(rig, unique(rig, "b", act="replace"), unique(rig, "c")) == [None, None]
        assert await rig.drain(expected=1) == ["c"]

    @case("unique", "multi_process")
    async def test_41_keys_outlive_a_restart(self, rig: Rig) -> None:
        for span in spans_of(rig):
            await told(rig, unique(rig, f"{span}", f"{span}", span))
        await rig.restart()
        for span in spans_of(rig):
            assert await told(rig, unique(rig, "new", f"{span}", span)) == [kept(f"{span}")]


def spans_of(rig: Rig) -> list[Span]:
    """The spans that the driver claims."""
    spans: tuple[tuple[str, Span], ...] = (("pending", "pending"), ("running", "running"), ("window", rig.long * 5))
    return [span for name, span in spans if name in rig.driver.capabilities.unique]


def span_of(rig: Rig) -> Span:
    """One of them."""
    return spans_of(rig)[0]
