"""Clauses 50 and 57: messages leave a queue by their ids or places, together with storing others for them."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Limit, Nack, Outgoing, Release, Transfer, Unique, place_of
from tasuki.errors import DriverError, MessageNotFoundError, QueueFullError, QueueNotFoundError, UnsupportedError
from tasuki.message import Message
from tasuki.testing.conformance.rig import FAR, Rig, Suite, cancelled, case, each_result, ids, turn, until_back


class Transferring(Suite):
    """A transfer takes out and stores, or does neither: each message is in one queue at any time."""

    @case("transfer")
    async def test_50_a_transfer_takes_out_and_stores(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(*rig.messages(4))
        batch = [
            to_other(rig, "0002", id="changed", body=b"\x00\xff", headers={"n": 1, "s": "ä"}),
            to_other(rig, "0000"),
            Transfer("0003", rig.queue, rig.message(id="again")),
        ]
        assert await transferred(rig, *batch) == [None] * 3
        got = await rig.take(2, queue=rig.other)
        assert [(each.id, each.attempt, each.suspect) for each in got] == [("changed", 1, False), ("0000", 1, False)]
        assert (got[0].body, got[0].headers) == (b"\x00\xff", {"n": 1, "s": "ä"})
        assert await rig.drain(expected=2) == ["0001", "again"]
        await rig.nothing(queue=rig.other)
        await rig.counts(0, 0, 0)

    @case("transfer")
    async def test_50_transferring_nothing_answers_nothing(self, rig: Rig) -> None:
        async with asyncio.timeout(rig.suite.patience):
            assert list(await rig.driver.transfer(rig.queue, [])) == []

    @case("transfer")
    async def test_50_what_does_not_wait_is_missing(self, rig: Rig) -> None:
        """A held message is not waiting, and is left alone."""
        await declare_near(rig)
        await rig.publish(*rig.messages(3))
        held = await rig.one()
        for id in ("", "\0", "\ud800", "0" * 5000):
            (strange,) = await transferred(rig, to_other(rig, id, id="no"))
            assert isinstance(strange, MessageNotFoundError), strange
        told = await transferred(
            rig, to_other(rig, held.id), to_other(rig, "never"), to_other(rig, "0001"), to_other(rig, "0001", id="no")
        )
        assert [type(each) for each in told] == [
            MessageNotFoundError,
            MessageNotFoundError,
            type(None),
            MessageNotFoundError,
        ]
        assert await rig.drain(queue=rig.other) == ["0001"]
        await rig.driver.settle(rig.queue, [Nack(held.receipt)])
        assert sorted(await rig.drain(expected=2)) == ["0000", "0002"]
        assert [type(each) for each in await transferred(rig, to_other(rig, "0000"))] == [MessageNotFoundError]
        await rig.nothing(queue=rig.other)

    @case("transfer")
    async def test_50_a_delayed_message_waits_too(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(rig.message(id="late", delay=FAR), rig.message(id="soon", delay=FAR))
        assert await transferred(rig, to_other(rig, "late"), to_other(rig, "soon", delay=rig.long)) == [None, None]
        assert await rig.drain(queue=rig.other, expected=1) == ["late"]
        await rig.counts(0, 0, 0)
        await rig.advance(rig.long * 1.2 + rig.suite.delay_grain)
        assert await rig.drain(queue=rig.other, expected=1) == ["soon"]

    @case("transfer", "native_priority")
    async def test_50_the_stored_message_has_its_priority(self, rig: Rig) -> None:
        await rig.declare(priorities=True)
        await declare_near(rig, priorities=True)
        await rig.publish(rig.message(id="a", priority=3), rig.message(id="b"), rig.message(id="c", priority=9))
        batch = [to_other(rig, "a"), to_other(rig, "c"), to_other(rig, "b", priority=5)]
        assert await transferred(rig, *batch) == [None] * 3
        assert await rig.drain(queue=rig.other) == ["b", "a", "c"]

    @case("transfer")
    async def test_50_attempts_stay_behind(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(rig.message(id="a"))
        await rig.driver.settle(rig.queue, [Nack((await rig.one()).receipt, error="it broke")])
        assert await transferred(rig, to_other(rig, "a")) == [None]
        (got,) = await rig.take(queue=rig.other)
        assert (got.attempt, got.suspect) == (1, False)

    @case("transfer", "max_length")
    async def test_50_a_full_queue_leaves_the_message(self, rig: Rig) -> None:
        await declare_near(rig, max_length=3)
        await rig.publish(*rig.messages(2), queue=rig.other)
        await rig.publish(rig.message(id="a"), rig.message(id="b"), rig.message(id="c"))
        told = await transferred(rig, to_other(rig, "a"), to_other(rig, "gone"), to_other(rig, "b"), to_other(rig, "c"))
        assert [type(each) for each in told] == [
            type(None), MessageNotFoundError, QueueFullError, QueueFullError,
        ]  # fmt: skip
        assert sorted(await rig.drain(queue=rig.other)) == ["0000", "0001", "a"]
        assert await transferred(rig, to_other(rig, "b")) == [None]
        assert await rig.drain() == ["c"]
        assert await rig.drain(queue=rig.other) == ["b"]

    @case("transfer", "max_length")
    async def test_50_within_one_queue_no_room_is_needed(self, rig: Rig) -> None:
        await rig.declare(max_length=3)
        first, second, third = await rig.publish(*rig.messages(3))
        again = [Transfer(id, rig.queue, rig.message(id=f"{id}'")) for id in (first, third)]
        assert await transferred(rig, *again) == [None, None]
        assert isinstance((await rig.results(rig.message()))[0], QueueFullError)
        assert await rig.drain(expected=3) == [second, f"{first}'", f"{third}'"]
        await rig.counts(0, 0, 0)

    @case("transfer")
    async def test_50_where_the_message_cannot_go_it_stays(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        unique = Outgoing("0001", b"body", {}, unique=Unique("k"))
        told = await transferred(rig, to_other(rig, "0000"), Transfer("0001", rig.queue, unique))
        assert [type(each) for each in told] == [QueueNotFoundError, UnsupportedError]
        assert await rig.drain(expected=2) == ["0000", "0001"]

    @case("transfer", "dedup")
    async def test_50_a_known_id_is_stored(self, rig: Rig) -> None:
        await declare_near(rig, dedup_window=rig.window)
        await rig.publish(rig.message(id="known"), queue=rig.other)
        assert await rig.drain(queue=rig.other) == ["known"]
        await rig.publish(rig.message(id="known"), rig.message(id="new"))
        assert await transferred(rig, to_other(rig, "known"), to_other(rig, "new")) == [None, None]
        await rig.publish(rig.message(id="new"), rig.message(id="known"), queue=rig.other)
        assert await rig.drain(queue=rig.other, expected=3) == ["known", "new", "new"], "the ids are as before"

    @case("transfer", "dedup")
    async def test_50_the_id_of_what_leaves_stays_known(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window)
        await declare_near(rig)
        await rig.publish(rig.message(id="once"))
        assert await transferred(rig, to_other(rig, "once")) == [None]
        await rig.publish(rig.message(id="once"))
        await rig.nothing()

    @case("transfer")
    async def test_50_of_several_messages_of_an_id_one_leaves(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(*(rig.message(id=id, deduplicate=False) for id in ("a", "b", "a", "a")))
        assert await transferred(rig, to_other(rig, "a", id="1")) == [None]
        assert await transferred(rig, to_other(rig, "a", id="2"), to_other(rig, "a", id="3")) == [None, None]
        assert [type(each) for each in await transferred(rig, to_other(rig, "a"))] == [MessageNotFoundError]
        assert await rig.drain(queue=rig.other) == ["1", "2", "3"]
        assert await rig.drain() == ["b"]

    @case("transfer")
    async def test_50_a_held_one_hides_no_other_of_its_id(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(*(rig.message(id="a", deduplicate=False) for _ in range(2)))
        held = await rig.one()
        told = await transferred(rig, to_other(rig, "a"), to_other(rig, "a"))
        assert [type(each) for each in told] == [type(None), MessageNotFoundError]
        await rig.ack(held)
        await rig.counts(0, 0, 0)

    @case("transfer", "peek")
    async def test_50_a_message_is_found_where_it_is_now(self, rig: Rig) -> None:
        """It was shown at another place."""
        await declare_near(rig)
        await rig.publish(*rig.messages(3))
        assert len(await rig.driver.peek(rig.queue, 3)) == 3
        await rig.ack(*await rig.take(2))
        await rig.publish(rig.message(id="0001", deduplicate=False))
        told = await transferred(rig, to_other(rig, "0000"), to_other(rig, "0001"), to_other(rig, "0002"))
        assert [type(each) for each in told] == [MessageNotFoundError, type(None), type(None)]
        assert sorted(await rig.drain(queue=rig.other)) == ["0001", "0002"]
        await rig.counts(0, 0, 0)

    @case("transfer", "peek")
    async def test_50_a_shown_message_that_is_held_is_missing(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(*rig.messages(2))
        await rig.driver.peek(rig.queue, 2)
        held = await rig.one()
        told = await transferred(rig, to_other(rig, held.id), to_other(rig, "0001"))
        assert [type(each) for each in told] == [MessageNotFoundError, type(None)]
        await rig.ack(held)

    @case("transfer", "ordering_key")
    async def test_50_the_order_of_a_key_is_kept(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await declare_near(rig, ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for number in range(3) for key in "ab"))
        batch = [to_other(rig, "a0", key="k"), to_other(rig, "b1", key="k"), to_other(rig, "b2", key="l")]
        assert await transferred(rig, *batch) == [None] * 3
        await rig.ack(*await rig.only("a1", "b0"))
        await rig.only("a2")
        await rig.ack(*await rig.only("a0", "b2", queue=rig.other), queue=rig.other)
        assert await rig.drain(queue=rig.other, expected=1) == ["b1"]

    @case("transfer", "limits")
    async def test_50_limits_and_lanes(self, rig: Rig) -> None:
        """A transfer costs nothing of the limit of the one queue, and enters a lane of the other."""
        await rig.declare(limit=Limit(rate=1 / FAR))
        await declare_near(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(4))
        lanes = {"0001": "a", "0002": "a", "0003": "b"}
        assert await transferred(rig, *(to_other(rig, id, lane=lane) for id, lane in lanes.items())) == [None] * 3
        await rig.ack(*await rig.only("0001", "0003", queue=rig.other), queue=rig.other)
        assert await rig.drain(queue=rig.other, expected=1) == ["0002"]
        assert ids(await rig.take()) == ["0000"]

    @case("transfer", "limits")
    async def test_50_a_message_leaves_its_lane(self, rig: Rig) -> None:
        await rig.declare(fair=1, lane_limit=Limit(concurrency=1))
        await declare_near(rig)
        await rig.publish(*(rig.message(id=f"{lane}{number}", lane=lane) for number in range(2) for lane in "ab"))
        assert await transferred(rig, to_other(rig, "a0"), to_other(rig, "a1"), to_other(rig, "b0")) == [None] * 3
        assert await rig.drain(expected=1) == ["b1"]
        await rig.publish(rig.message(id="a2", lane="a"))
        assert await rig.drain(expected=1) == ["a2"]

    @case("transfer", "unique:pending", "unique:running")
    async def test_50_the_key_of_what_leaves_is_free(self, rig: Rig) -> None:
        await declare_near(rig)
        for span in ("pending", "running"):
            unique = [Outgoing(f"{span}{number}", b"body", {}, unique=Unique("k", span)) for number in range(2)]
            await rig.publish(unique[0])
            assert await transferred(rig, to_other(rig, f"{span}0")) == [None]
            await rig.publish(unique[1])
            assert await rig.drain(expected=1) == [f"{span}1"]

    @case("transfer")
    async def test_50_a_waiting_receive_is_woken(self, rig: Rig) -> None:
        await declare_near(rig)
        await rig.publish(rig.message(id="a"))
        other = await rig.elsewhere()
        await other.declare(rig.spec(name=rig.other))
        got = await rig.woken(lambda: other.transfer(rig.queue, [to_other(rig, "a")]), queue=rig.other)
        assert got.id == "a"

    @case("transfer", "ordering_key")
    async def test_50_what_may_follow_wakes_a_receive(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await declare_near(rig)
        await rig.publish(rig.message(id="a", key="k", delay=FAR), rig.message(id="b", key="k"))
        await rig.nothing()
        got = await rig.woken(lambda: transferred(rig, to_other(rig, "a")))
        assert got.id == "b"

    @case("transfer")
    async def test_50_of_many_callers_one_does_it(self, rig: Rig) -> None:
        await declare_near(rig)
        published = await rig.publish(*rig.messages(100))
        drivers = [rig.driver, await rig.elsewhere()]
        await drivers[1].declare(rig.spec(name=rig.other))
        done: list[str] = []

        async def carry(number: int) -> None:
            driver = drivers[number % 2]
            for start in range(0, 100, 20):
                part = published[start : start + 20]
                batch = [to_other(rig, id) for id in (part if number < 2 else reversed(part))]
                told = await each_result(driver.transfer(rig.queue, batch), len(batch))
                assert all(each is None or isinstance(each, MessageNotFoundError) for each in told), told
                done.extend(item.id for item, error in zip(batch, told, strict=True) if error is None)

        await asyncio.gather(*map(carry, range(4)))
        assert sorted(done) == published
        assert sorted(await rig.drain(queue=rig.other, expected=100)) == published
        await rig.counts(0, 0, 0)

    @case("transfer")
    async def test_50_some_among_many(self, rig: Rig) -> None:
        """A search that takes several steps; another one of messages that were shown."""
        await declare_near(rig)
        published = await rig.publish(*rig.messages(1000))
        wanted = published[::100]
        assert await transferred(rig, *(to_other(rig, id) for id in wanted)) == [None] * len(wanted)
        shown = published[7::100]
        if rig.driver.capabilities.has("peek"):
            await rig.driver.peek(rig.queue, 1000)
        assert await transferred(rig, *(to_other(rig, id) for id in shown)) == [None] * len(shown)
        assert await rig.drain(queue=rig.other, expected=20) == wanted + shown
        assert sorted(await rig.drain(expected=980)) == sorted(set(published) - {*wanted, *shown})

    @case("transfer", "max_length", "ordering_key")
    async def test_50_transfers_that_meet_lose_and_double_nothing(self, rig: Rig) -> None:
        """In both directions, where there is room for some only, while others receive."""
        await rig.declare(max_length=30, ordering="key")
        await declare_near(rig, max_length=30, ordering="key")
        drivers = [rig.driver, await rig.elsewhere(max_length=30, ordering="key")]
        await drivers[1].declare(rig.spec(name=rig.other, max_length=30, ordering="key"))
        ids = [f"{number}" for number in range(40)]
        for queue, part in ((rig.queue, ids[:20]), (rig.other, ids[20:])):
            await rig.publish(*(rig.message(id=id, key=id[-1]) for id in part), queue=queue)
        acked: list[str] = []

        async def carry(number: int, source: str, to: str) -> None:
            driver = drivers[number % 2]
            for start in range(0, 40, 8):
                batch = [Transfer(id, to, Outgoing(id, b"body", {}, key=id[-1])) for id in ids[start : start + 8]]
                for told in await each_result(driver.transfer(source, batch), len(batch)):
                    assert told is None or isinstance(told, MessageNotFoundError | QueueFullError), told

        async def handle(queue: str) -> None:
            for _ in range(5):
                taken = await rig.driver.receive(queue, 2, 0.0)
                await rig.ack(*taken, queue=queue)
                acked.extend(each.id for each in taken)
                await asyncio.sleep(0)

        ways = [(rig.queue, rig.other), (rig.other, rig.queue)]
        await asyncio.gather(
            *(carry(number, *ways[number // 2 % 2]) for number in range(4)), handle(rig.queue), handle(rig.other)
        )
        left = await rig.drain() + await rig.drain(queue=rig.other)
        assert sorted(acked + left) == sorted(ids)

    @case("transfer")
    async def test_50_a_cancelled_transfer_loses_nothing(self, rig: Rig) -> None:
        await declare_near(rig)
        published = await rig.publish(*rig.messages(20))
        for number, id in enumerate(published):
            task = asyncio.create_task(transferred(rig, to_other(rig, id)))
            await turn(number % 10)
            await cancelled(task)
        there = await rig.drain(queue=rig.other)
        assert sorted(there + await rig.drain(expected=20 - len(there))) == published

    @case("transfer")
    async def test_50_a_transfer_that_is_cut_short_is_whole(self, rig: Rig) -> None:
        await declare_near(rig)
        published: list[str] = []
        for answers in range(_CUTS):
            published += await rig.publish(*rig.messages(3))
            batch = [to_other(rig, id) for id in published[-3:]]
            async with rig.suite.cut_short(rig.place, answers) as is_cut:
                told = await transferred(rig, *batch)
                has_been_cut = is_cut()
            await until_back(lambda: rig.driver.depth(rig.queue))
            for transfer, error in zip(batch, told, strict=True):
                if error is None or error.outcome == "rejected":
                    again = await transferred(rig, transfer)
                    found = not isinstance(again[0], MessageNotFoundError)
                    assert found == (error is not None), f"{error!r}, and then {again}"
            if not has_been_cut:
                break
        else:
            raise AssertionError(f"a transfer took more than {_CUTS} answers")
        there = await rig.drain(queue=rig.other)
        assert sorted(there + await rig.drain(expected=len(published) - len(there))) == published

    @case("transfer", "peek")
    async def test_57_a_transfer_takes_out_the_message_at_its_place(self, rig: Rig) -> None:
        """The stored one was made from the message that was read, and that one leaves."""
        await declare_near(rig)
        await _publish_twins(rig, b"1", b"2", b"3")
        first, second, third = await rig.driver.peek(rig.queue, 10)
        assert len({place_of(first), place_of(second), place_of(third), ""}) == 4
        assert await transferred(rig, _from(rig, third), _from(rig, second)) == [None, None]
        assert [each.body for each in await rig.take(2, queue=rig.other)] == [b"3", b"2"]
        assert [each.body for each in await rig.driver.peek(rig.queue, 10)] == [b"1"]
        assert await transferred(rig, _from(rig, first)) == [None]
        await rig.counts(0, 0, 0)

    @case("transfer", "peek")
    async def test_57_what_has_left_its_place_is_missing(self, rig: Rig) -> None:
        """Another message of the id is not taken for it, and one that names the id alone gets one that none names."""
        await declare_near(rig)
        await _publish_twins(rig, b"1", b"2", b"3", b"4")
        await rig.publish(rig.message(id="b"))
        first, _, _, _, other = await rig.driver.peek(rig.queue, 10)
        strange = [Transfer("a", rig.other, rig.message(), place) for place in ("no", "1e3", "-1", "9" * 40)]
        strange.append(Transfer("a", rig.other, rig.message(), place_of(other)))
        told = await transferred(rig, *strange)
        assert [type(each) for each in told] == [MessageNotFoundError] * 5, told
        told = await transferred(rig, _from(rig, first), _from(rig, first), to_other(rig, "a", body=b"any"))
        assert [type(each) for each in told] == [type(None), MessageNotFoundError, type(None)]
        told = await transferred(rig, _from(rig, first))
        assert [type(each) for each in told] == [MessageNotFoundError], "the others of the id stay"
        assert [each.body for each in await rig.take(2, queue=rig.other)] == [b"1", b"any"]
        await rig.nothing(queue=rig.other)
        left = [each.body for each in await rig.take(3)]
        assert left[-1] == b"body", "and two of the others"
        assert set(left[:2]) < {b"2", b"3", b"4"}

    @case("transfer", "peek", "find")
    async def test_57_a_place_is_kept_past_nacks_and_releases(self, rig: Rig) -> None:
        await declare_near(rig)
        await _publish_twins(rig, b"1", b"2")
        before = {each.body: place_of(each) for each in await rig.driver.find(rig.queue, ["a"])}
        assert before == {each.body: place_of(each) for each in await rig.driver.peek(rig.queue, 10)}
        for settlement in (Nack, Release):
            got = await rig.take(2)
            told = await transferred(rig, *(_from(rig, each, before[each.body]) for each in got))
            assert [type(each) for each in told] == [MessageNotFoundError] * 2, "they are held"
            await rig.driver.settle(rig.queue, [settlement(each.receipt) for each in got])
        found = await rig.driver.find(rig.queue, ["a"])
        assert {each.body: place_of(each) for each in found} == before
        assert await transferred(rig, *(_from(rig, each, before[each.body]) for each in found)) == [None, None]

    @case("transfer", "causes")
    async def test_57_delayed_messages_and_those_of_a_cause_have_places_too(self, rig: Rig) -> None:
        await declare_near(rig)
        cause = "0123456789ab"
        await _publish_twins(rig, b"1", b"2", headers={"x_cause": cause}, delay=FAR)
        first, second = await rig.driver.peek_cause(rig.queue, cause, 10)
        assert [place_of(each) for each in await rig.driver.peek(rig.queue, 10)] == [place_of(first), place_of(second)]
        assert await transferred(rig, _from(rig, second)) == [None]
        assert [each.body for each in await rig.take(queue=rig.other)] == [b"2"]
        assert [each.body for each in await rig.driver.peek(rig.queue, 10)] == [b"1"]


def to_other(rig: Rig, source: str, *, id: str | None = None, body: bytes = b"body", **options: Any) -> Transfer:
    """A transfer to ``other``; without its own id the message has the same one."""
    return Transfer(source, rig.other, rig.message(body, id=id or source, **options))


async def declare_near(rig: Rig, **options: Any) -> None:
    """Declare ``other``; messages need not be transferable between all queues."""
    await rig.declare(name=rig.other, **options)
    if not rig.driver.can_transfer(rig.queue, rig.other):
        raise SkipTest(f"not applicable: driver {rig.driver.name} has these queues in two places")


async def transferred(rig: Rig, *batch: Transfer) -> list[DriverError | None]:
    """One result a transfer."""
    return await each_result(rig.driver.transfer(rig.queue, batch), len(batch))


_CUTS = 20
"""Answers of the broker that a transfer does not need."""


async def _publish_twins(rig: Rig, *bodies: bytes, **options: Any) -> None:
    """Messages of one id."""
    await rig.publish(*(rig.message(body, id="a", deduplicate=False, **options) for body in bodies))


def _from(rig: Rig, message: Message, place: str = "") -> Transfer:
    """A transfer of a message that was read, as it is."""
    sent = rig.message(message.body, id=message.id)
    return Transfer(message.id, rig.other, sent, place or place_of(message))
