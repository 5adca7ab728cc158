"""Clauses 43 and 45: lanes beside all else that can happen to a queue."""

from __future__ import annotations

from tasuki.contracts.driver import Limit, Merged, Move, Nack, Outgoing
from tasuki.errors import QueueFullError
from tasuki.testing.conformance.queues.lanes import lanes_of, of
from tasuki.testing.conformance.queues.limits import FAR, SLOW, limited, settle
from tasuki.testing.conformance.queues.turns import served
from tasuki.testing.conformance.queues.uniques import told, unique
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

_ONE = Limit(concurrency=1)


class LaneChanges(Suite):
    """Cases: declarations, moves, removals, and other features on a queue with lanes."""

    @case("lanes", "limits:concurrency")
    async def test_45_a_queue_with_messages_gets_lanes(self, rig: Rig) -> None:
        await limited(rig)
        before = await rig.publish(*of(rig, "a", *range(3)), *of(rig, "b", *range(3)))
        held = await rig.one()
        await limited(rig, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "c", 0, 1))
        seen = {each.id for each in await rig.take(1)}
        await rig.nothing()  # the earlier messages are in one lane, of which one is held
        assert seen == {"c0"}
        await rig.ack(held)
        got = await rig.one()
        await rig.nothing()
        await limited(rig, fair=1)
        rest = await rig.drain(expected=5)
        assert sorted([held.id, got.id, *rest]) == sorted([*before, "c1"])

    @case("lanes", "limits:concurrency")
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

    @case("lanes")
    async def test_45_a_queue_loses_its_lanes_and_has_them_again_at_once(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        published = await rig.publish(*of(rig, "a", *range(3)), *of(rig, "b", *range(3)))
        got = await rig.one()
        for fair in (0, 1):  # as two applications do that declare it differently
            await limited(rig, fair=fair)
        assert sorted([got.id, *await rig.drain(expected=5)]) == sorted(published)

    @case("lanes", "limits:concurrency", "ordering_key")
    async def test_43_a_queue_in_order_per_key_gets_lanes(self, rig: Rig) -> None:
        await limited(rig, ordering="key")
        await rig.publish(*rig.messages(30), *(rig.message(id=f"{key}{n}", key=key) for key in "ab" for n in range(2)))
        held = await rig.one()
        await limited(rig, fair=1, lane_limit=_ONE, ordering="key")
        for number in range(2):  # what waits in the lane '', which is full, holds up no key
            got = await rig.take(2)
            assert sorted(ids(got)) == [f"a{number}", f"b{number}"]
            await rig.nothing()
            await rig.ack(*got)
        await rig.ack(held)
        await rig.one()
        await rig.nothing()

    @case("lanes", "ordering_key")
    async def test_45_a_queue_with_lanes_gets_order_per_key(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*(rig.message(id=f"{key}{n}", key=key, lane="x") for key in "ab" for n in range(3)))
        await limited(rig, fair=1, ordering="key")
        for number in range(2):
            got = await rig.take(2)
            assert sorted(ids(got)) == [f"a{number}", f"b{number}"]
            await rig.nothing()
            await rig.ack(*got)
        await limited(rig, fair=1)
        assert sorted(ids(await rig.take(2))) == ["a2", "b2"]

    @case("lanes", "limits:concurrency", "multi_process")
    async def test_45_lanes_hold_for_those_that_did_not_declare_them(self, rig: Rig) -> None:
        await limited(rig)
        await rig.another(lease=FAR, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(4)))
        got = await rig.take(2)
        assert lanes_of(got) == {"a": 1, "b": 1}
        await rig.nothing()
        await rig.ack(*got)
        assert await served(rig, 6) == {"a": 3, "b": 3}

    @case("lanes", "limits:concurrency")
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

    @case("lanes", "limits:concurrency", "purge")
    async def test_45_a_purge_of_lanes_leaves_what_is_held(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(4)))
        got = {each.id: each for each in await rig.take(2)}
        assert await rig.driver.purge(rig.queue) == 6
        await rig.ack(got["a0"])
        await rig.nothing()
        await rig.publish(*of(rig, "a", 9), *of(rig, "b", 9))
        assert (await rig.one()).id == "a9"
        await rig.nothing()
        await rig.ack(got["b0"])
        assert (await rig.one()).id == "b9"
        await rig.counts(0, 2, 0)

    @case("lanes", "remove")
    async def test_45_messages_are_removed_from_their_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", *range(2)))
        assert await rig.driver.remove(rig.queue, ["a0", "a2", "b0", "b1", "c0"]) == 4
        assert sorted(ids(await rig.take(2))) == ["a1", "a3"]
        await rig.nothing()
        await rig.publish(*of(rig, "b", 2))
        assert (await rig.one()).id == "b2"

    @case("lanes", "limits:rate", "delete")
    async def test_45_a_deleted_queue_has_no_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=2, concurrency=2))
        await rig.publish(*of(rig, "a", *range(4)))
        await rig.take(2)
        await rig.driver.delete(rig.queue)
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=2, concurrency=2))
        await rig.nothing()
        await rig.publish(*of(rig, "a", *range(4)))
        await rig.take(2)
        await rig.nothing()

    @case("lanes", "max_length")
    async def test_45_a_full_queue_counts_all_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, max_length=4)
        await rig.publish(*of(rig, "a", 0, 1), *of(rig, "b", 0))
        results = await rig.results(*of(rig, "c", 0, 1))
        assert [type(each) for each in results] == [type(None), QueueFullError]
        assert await served(rig, 4) == {"a": 2, "b": 1, "c": 1}

    @case("lanes", "dedup")
    async def test_45_ids_are_remembered_for_all_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1, dedup_window=rig.window)
        await rig.publish(rig.message(id="1", lane="a"), rig.message(id="1", lane="b"))
        await rig.ack(await rig.one())
        await rig.nothing()

    @case("lanes", "limits:concurrency", "unique:replace")
    async def test_45_a_replaced_message_stays_in_its_lane(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=_ONE)
        await rig.publish(*of(rig, "a", 0))
        first, second = unique(rig, "1"), unique(rig, "2", act="replace")
        first.lane, second.lane = "a", "b"
        assert await told(rig, first) == [None]
        assert await told(rig, second) == [Merged("replaced", "1")]
        assert (await rig.one()).id == "a0"
        await rig.nothing()

    @case("lanes", "peek")
    async def test_45_peek_shows_the_messages_of_all_lanes(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        published = await rig.publish(*of(rig, "a", 0, 1), *of(rig, "b", 0, delay=FAR), *of(rig, "c", 0))
        assert sorted(each.id for each in await rig.driver.peek(rig.queue, 10)) == sorted(published)
        pages = [await rig.driver.peek(rig.queue, 1, after) for after in range(5)]
        assert sorted(each.id for page in pages for each in page) == sorted(published)
