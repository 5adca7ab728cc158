"""Clauses 43 and 45: lanes: a message waits for its own lane alone, whatever else happens to the queue."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

from tasuki.contracts.driver import Ack, Driver, Limit, Merged, Move, Nack, Outgoing, Received, Release, Settlement
from tasuki.errors import QueueFullError
from tasuki.testing.conformance.queues.limits import SLOW, first, limited, settle, two
from tasuki.testing.conformance.queues.uniques import told, unique
from tasuki.testing.conformance.rig import FAR, Rig, Suite, case, ids


def of(rig: Rig, lane: str, *numbers: int, **options: Any) -> list[Outgoing]:
    """Messages of a lane: the first ones of ``a`` are a0, a1, a2."""
    return [rig.message(id=f"{lane}{number}", lane=lane, **options) for number in numbers]


def lanes_of(received: list[Received]) -> Counter[str]:
    """How many messages of each lane: of what ``of`` made."""
    return Counter(each.id.rstrip("0123456789") for each in received)


async def served(rig: Rig, number: int, limit: int = 1) -> Counter[str]:
    """How many messages of each lane come among the next ones, taken this many at a time, and acked."""
    seen: Counter[str] = Counter()
    while seen.total() < number:
        got = await rig.take(min(limit, number - seen.total()))
        seen.update(lanes_of(got))
        await rig.ack(*got)
    return seen


class Lanes(Suite):
    """Limits of lanes, the order within one, and all that can happen to a queue with lanes."""

    @case("limits")
    async def test_43_a_queue_with_lanes_gives_all_its_messages(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        published = await rig.publish(*of(rig, "a", 0, 1, 2), *rig.messages(2), *of(rig, "b", 0))
        await rig.counts(6, 0, 0)
        await rig.only(*published)
        await rig.counts(0, 6, 0)

    @case("limits")
    async def test_43_a_full_lane_holds_up_no_other(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", *range(5)), *of(rig, "b", 0, 1), *rig.messages(2))
        got = {each.id[0]: each for each in await rig.take(3)}
        assert set(got) == {"a", "b", "0"}, f"one of each lane: {sorted(got)}"
        await rig.nothing()
        await rig.ack(got["b"])
        await rig.only("b1")
        await rig.publish(*of(rig, "c", 0))
        await rig.only("c0")

    @case("limits")
    async def test_43_a_spent_lane_holds_up_no_other(self, rig: Rig) -> None:
        got = await first(rig, 4, of(rig, "a", *range(5)) + of(rig, "b", 0, 1), fair=1, lane_limit=Limit(SLOW, burst=2))
        assert lanes_of(got) == {"a": 2, "b": 2}
        await rig.ack(*got)
        await rig.nothing()
        await rig.publish(*of(rig, "b", 2), *of(rig, "c", 0))
        await rig.only("c0")

    @case("limits")
    async def test_43_the_next_one_of_a_lane_comes_by_itself(self, rig: Rig) -> None:
        rate = 5.0
        await limited(rig, fair=1, lane_limit=Limit(rate))
        await rig.publish(*of(rig, "a", 0, 1, 2), *of(rig, "b", 0, 1, 2))
        began = rig.clock.monotonic()
        await rig.take(6)
        took = rig.clock.monotonic() - began
        assert took >= 2 / rate - 0.02, f"3 messages of a lane in {took} s"

    @case("limits")
    async def test_43_a_release_gives_its_part_back_to_its_lane(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(SLOW))
        await rig.publish(*of(rig, "a", 0, 1), *of(rig, "b", 0, 1))
        got = {each.id: each for each in await rig.take(2)}
        await settle(rig, Release(got["a0"].receipt), Nack(got["b0"].receipt))
        assert lanes_of([await rig.one()]) == {"a": 1}
        await rig.nothing()

    @case("limits")
    async def test_43_each_lane_has_so_many_places(self, rig: Rig) -> None:
        await limited(rig, fair=2, lane_limit=Limit(concurrency=3))
        await rig.publish(*(message for lane in "abcd" for message in of(rig, lane, *range(6))))
        got = await rig.take(12)
        assert lanes_of(got) == dict.fromkeys("abcd", 3)
        await rig.nothing()
        await rig.ack(*(each for each in got if each.id[0] in "ab"))
        assert lanes_of(await rig.take(6)) == {"a": 3, "b": 3}
        await rig.nothing()

    @case("limits")
    async def test_43_limits_of_the_queue_and_of_lanes_hold_together(self, rig: Rig) -> None:
        await limited(rig, fair=1, limit=Limit(SLOW, burst=5, concurrency=3), lane_limit=Limit(concurrency=2))
        await rig.publish(*of(rig, "a", *range(5)), *of(rig, "b", *range(5)))
        got = await rig.take(3)
        assert sorted(lanes_of(got).values()) == [1, 2]
        await rig.nothing()
        await rig.ack(*got)
        got = await rig.take(2)
        await rig.nothing()
        await rig.ack(*got)
        await rig.nothing()

    @case("limits")
    async def test_43_names_of_lanes_are_compared_exactly(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        names = ["", "a", "A", "á", "a\u0301", "a b", "a.b", "a*b", "a>b", "{a}", "鍵", "k" * 255, "%_\\'\"", "\n", " "]
        batch = [rig.message(name.encode(), lane=name) for _ in range(2) for name in names]
        await rig.publish(*batch)
        for _ in range(2):
            got = await rig.take(len(names))
            assert sorted(each.body.decode() for each in got) == sorted(names)
            await rig.nothing()
            await rig.ack(*got)

    @case("limits", "ordered")
    async def test_43_order_is_kept_within_a_lane(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*(message for number in range(6) for lane in "ab" for message in of(rig, lane, number)))
        first = await rig.take(4)
        await settle(rig, *(Release(each.receipt) for each in first))
        seen: list[str] = []
        while len(seen) < 12:
            got = await rig.one()
            seen.append(got.id)
            await rig.ack(got)
        for lane in "ab":
            assert [id for id in seen if id[0] == lane] == [f"{lane}{number}" for number in range(6)]

    @case("limits", "native_priority")
    async def test_43_priority_orders_within_a_lane(self, rig: Rig) -> None:
        await limited(rig, fair=1, priorities=True)
        await rig.publish(*(m for n in (0, 5, 9, 3) for lane in "ab" for m in of(rig, lane, n, priority=n)))
        seen: list[str] = []
        while len(seen) < 8:
            got = await rig.one()
            seen.append(got.id)
            await rig.ack(got)
        for lane in "ab":
            assert [id for id in seen if id[0] == lane] == [f"{lane}{number}" for number in (9, 5, 3, 0)]

    @case("limits")
    async def test_43_a_delayed_message_is_in_no_ones_way(self, rig: Rig) -> None:
        got = await first(rig, 2, of(rig, "a", 0, delay=rig.long) + of(rig, "a", 1) + of(rig, "b", 0), fair=1)
        assert sorted(ids(got)) == ["a1", "b0"]
        await rig.advance(rig.long * 1.1)
        assert (await rig.one()).id == "a0"

    @case("limits", "ordering_key")
    async def test_43_with_order_per_key_the_keys_are_the_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{n}", key=key, lane="x") for n in range(3) for key in "ab"))
        await rig.publish(*(rig.message(id=f"-{n}") for n in range(3)))
        got = {each.id: each for each in await rig.take(5)}
        assert set(got) == {"a0", "b0", "-0", "-1", "-2"}, "one of each key, all without a key"
        await rig.nothing()
        began = rig.clock.monotonic()
        await settle(rig, Nack(got["a0"].receipt, rig.long), Ack(got["b0"].receipt))
        assert (await rig.one()).id == "b1", "a delayed front holds up its own lane alone"
        if rig.clock.monotonic() < began + rig.long * 0.8:
            await rig.nothing()
        await rig.advance(rig.long * 1.1)
        for number in range(3):
            got = {each.id: each for each in await rig.take()}
            assert set(got) == {f"a{number}"}
            await rig.ack(*got.values())

    @case("limits", "ordering_key")
    async def test_43_with_order_per_key_each_key_has_its_rate(self, rig: Rig) -> None:
        await limited(rig, fair=1, ordering="key", lane_limit=Limit(SLOW, burst=2))
        await rig.publish(*(rig.message(id=f"{key}{n}", key=key) for key in "ab" for n in range(4)))
        for number in range(2):
            got = await rig.take(2)
            assert sorted(ids(got)) == [f"a{number}", f"b{number}"]
            await rig.ack(*got)
        await rig.nothing()

    @case("limits")
    async def test_43_without_fair_there_are_no_lanes(self, rig: Rig) -> None:
        await first(rig, 2, of(rig, "a", 0, 1, 2) + of(rig, "b", 0), limit=Limit(concurrency=2))
        await rig.nothing()

    @case("limits")
    async def test_43_nothing_is_lost_among_many_lanes(self, rig: Rig) -> None:
        numbers = random.Random(43)  # noqa: S311 - no secret
        places, lanes = 2, [f"lane-{number}-" for number in range(12)]
        drivers = await two(rig, fair=1, lane_limit=Limit(concurrency=places))
        batch = [message for lane in lanes for message in of(rig, lane, *range(numbers.randint(1, 12)))]
        numbers.shuffle(batch)
        held: Counter[str] = Counter()
        handled: Counter[str] = Counter()

        async def work(driver: Driver) -> None:
            while sum(handled.values()) < len(batch):
                got = await driver.receive(rig.queue, numbers.randint(1, 5), 0.1)
                held.update(lanes_of(got))
                assert max(held.values(), default=0) <= places, f"too many of a lane: {held}"
                await asyncio.sleep(0.001 * numbers.randint(0, 2))
                held.subtract(lanes_of(got))
                await settle(rig, *(_verdict(numbers, each, handled) for each in got), driver=driver)

        async with asyncio.timeout(rig.suite.patience * 8), asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(work(drivers[number % 2]))
            for start in range(0, len(batch), 9):
                await rig.publish(*batch[start : start + 9])
        assert handled == Counter(message.id for message in batch)
        await rig.counts(0, 0, 0)

    @case("limits")
    async def test_45_a_queue_with_messages_gets_lanes(self, rig: Rig) -> None:
        await limited(rig)
        before = await rig.publish(*of(rig, "a", *range(3)), *of(rig, "b", *range(3)))
        held = await rig.one()
        seen = {each.id for each in await first(rig, 1, of(rig, "c", 0, 1), fair=1, lane_limit=_ONE)}
        await rig.nothing()  # the earlier messages are in one lane, of which one is held
        assert seen == {"c0"}
        await rig.ack(held)
        got = await rig.one()
        await rig.nothing()
        await limited(rig, fair=1)
        rest = await rig.drain(expected=5)
        assert sorted([held.id, got.id, *rest]) == sorted([*before, "c1"])

    @case("limits")
    async def test_45_a_queue_with_messages_loses_its_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=_ONE)
        published = await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(4)))
        got = await rig.take(2)
        await rig.nothing()
        await limited(rig)
        got += await rig.take(6)
        assert sorted(ids(got)) == sorted(published)
        await settle(rig, *(Nack(each.receipt) for each in got))
        await limited(rig, fair=1)
        assert sorted(await rig.drain(expected=8)) == sorted(published)
        await rig.counts(0, 0, 0)

    @case("limits")
    async def test_45_a_queue_loses_its_lanes_and_has_them_again_at_once(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        published = await rig.publish(*of(rig, "a", *range(3)), *of(rig, "b", *range(3)))
        got = await rig.one()
        for fair in (0, 1):  # as two applications do that declare it differently
            await limited(rig, fair=fair)
        assert sorted([got.id, *await rig.drain(expected=5)]) == sorted(published)

    @case("limits", "ordering_key")
    async def test_43_a_queue_in_order_per_key_gets_lanes(self, rig: Rig) -> None:
        await limited(rig, ordering="key")
        await rig.publish(*rig.messages(30), *(rig.message(id=f"{key}{n}", key=key) for key in "ab" for n in range(2)))
        held = await rig.one()
        await limited(rig, fair=1, lane_limit=_ONE, ordering="key")
        for number in range(2):  # what waits in the lane '', which is full, holds up no key
            await rig.ack(*await rig.only(f"a{number}", f"b{number}"))
        await rig.ack(held)
        await rig.one()
        await rig.nothing()

    @case("limits", "ordering_key")
    async def test_45_a_queue_with_lanes_gets_order_per_key(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*(rig.message(id=f"{key}{n}", key=key, lane="x") for key in "ab" for n in range(3)))
        await limited(rig, fair=1, ordering="key")
        for number in range(2):
            await rig.ack(*await rig.only(f"a{number}", f"b{number}"))
        await limited(rig, fair=1)
        assert sorted(ids(await rig.take(2))) == ["a2", "b2"]

    @case("limits", "multi_process")
    async def test_45_lanes_hold_for_those_that_did_not_declare_them(self, rig: Rig) -> None:
        await limited(rig)
        await rig.another(lease=FAR, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(4)))
        got = await rig.take(2)
        assert lanes_of(got) == {"a": 1, "b": 1}
        await rig.nothing()
        await rig.ack(*got)
        assert await served(rig, 6) == {"a": 3, "b": 3}

    @case("limits")
    async def test_43_moved_messages_enter_their_lane(self, rig: Rig) -> None:
        await rig.declare(lease=FAR)
        await rig.declare(name=rig.other, lease=FAR, fair=1, lane_limit=_ONE)
        await rig.publish(*rig.messages(4))
        for got, lane in zip(await rig.take(4), ("a", "a", "b", "b"), strict=True):
            letter = Outgoing(f"{lane}{got.id}", b"", {}, lane=lane, deduplicate=False)
            assert not any(await rig.driver.move(rig.queue, [Move(got.receipt, rig.other, (letter,))]))
        for _ in range(2):
            letters = await rig.take(2, queue=rig.other)
            assert lanes_of(letters) == {"a": 1, "b": 1}
            await rig.nothing(queue=rig.other)
            await rig.ack(*letters, queue=rig.other)

    @case("limits", "purge")
    async def test_45_a_purge_of_lanes_leaves_what_is_held(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(4)))
        got = {each.id: each for each in await rig.take(2)}
        assert await rig.driver.purge(rig.queue) == 6
        await rig.ack(got["a0"])
        await rig.nothing()
        await rig.publish(*of(rig, "a", 9), *of(rig, "b", 9))
        await rig.only("a9")
        await rig.ack(got["b0"])
        assert (await rig.one()).id == "b9"
        await rig.counts(0, 2, 0)

    @case("limits", "remove")
    async def test_45_messages_are_removed_from_their_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(2)))
        assert await rig.driver.remove(rig.queue, ["a0", "a2", "b0", "b1", "c0"]) == 4
        await rig.only("a1", "a3")
        await rig.publish(*of(rig, "b", 2))
        assert (await rig.one()).id == "b2"

    @case("limits")
    async def test_45_a_deleted_queue_has_no_lanes(self, rig: Rig) -> None:
        await first(rig, 2, of(rig, "a", *range(4)), fair=1, lane_limit=Limit(SLOW, burst=2, concurrency=2))
        await rig.driver.delete(rig.queue)
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=2, concurrency=2))
        await rig.nothing()
        await rig.publish(*of(rig, "a", *range(4)))
        await rig.take(2)
        await rig.nothing()

    @case("limits", "max_length")
    async def test_45_a_full_queue_counts_all_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, max_length=4)
        await rig.publish(*of(rig, "a", 0, 1), *of(rig, "b", 0))
        results = await rig.results(*of(rig, "c", 0, 1))
        assert [type(each) for each in results] == [type(None), QueueFullError]
        assert await served(rig, 4) == {"a": 2, "b": 1, "c": 1}

    @case("limits", "dedup")
    async def test_45_ids_are_remembered_for_all_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, dedup_window=rig.window)
        await rig.publish(rig.message(id="1", lane="a"), rig.message(id="1", lane="b"))
        await rig.ack(await rig.one())
        await rig.nothing()

    @case("limits", "unique:replace")
    async def test_45_a_replaced_message_stays_in_its_lane(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "a", 0))
        first, second = unique(rig, "1"), unique(rig, "2", act="replace")
        first.lane, second.lane = "a", "b"
        assert await told(rig, first) == [None]
        assert await told(rig, second) == [Merged("replaced", "1")]
        await rig.only("a0")

    @case("limits", "peek")
    async def test_45_peek_shows_the_messages_of_all_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        published = await rig.publish(*of(rig, "a", 0, 1), *of(rig, "b", 0, delay=FAR), *of(rig, "c", 0))
        assert sorted(each.id for each in await rig.driver.peek(rig.queue, 10)) == sorted(published)
        pages = [await rig.driver.peek(rig.queue, 1, after) for after in range(5)]
        assert sorted(each.id for page in pages for each in page) == sorted(published)


def _verdict(numbers: random.Random, got: Received, handled: Counter[str]) -> Settlement:
    kind = numbers.choice((Ack, Ack, Nack, Release))
    if kind is Ack:
        handled[got.id] += 1
    return kind(got.receipt)


_ONE = Limit(concurrency=1)
