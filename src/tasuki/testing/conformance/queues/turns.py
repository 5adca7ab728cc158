"""Clauses 44 and 45: lanes take turns, and each comes to life when it can give something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from tasuki.contracts.driver import Ack, Limit, Move, Nack, Release
from tasuki.testing.conformance.killed import killed
from tasuki.testing.conformance.queues.lanes import lanes_of, of, served
from tasuki.testing.conformance.queues.limits import SLOW, limited, settle
from tasuki.testing.conformance.rig import Rig, Suite, case


async def served_after(rig: Rig, empty: Callable[[str], Awaitable[int]]) -> None:
    """``empty`` takes what waits in a lane, of which one message is held; then others are served, and it comes back."""
    await limited(rig, fair=1)
    await rig.publish(*of(rig, "a", 0, 1))
    held = await rig.one()
    assert await empty(rig.queue) == 1
    for number in range(8):
        await rig.publish(*of(rig, "m", number))
        await served(rig, 1)
    await rig.publish(*of(rig, "m", *range(9)), *of(rig, "b", *range(9)), *of(rig, "a", *range(1, 9)))
    await settle(rig, Nack(held.receipt))
    counts = await served(rig, 9)
    assert all(2 <= counts[lane] <= 4 for lane in "abm"), counts


class Turns(Suite):
    """Cases: fairness between lanes, wakes of lanes, and changes of a queue's options."""

    @case("limits")
    async def test_44_lanes_take_turns(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        for lane in "abc":
            await rig.publish(*of(rig, lane, *range(20)))
        for limit in (1, 3, 4):
            counts = await served(rig, 12, limit)
            assert all(3 <= counts[lane] <= 5 for lane in "abc"), counts

    @case("limits")
    async def test_44_lanes_that_come_anew_hold_up_no_other(self, rig: Rig) -> None:
        """Each has a message more than can be taken, as of very many users who come once."""
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "m", *range(20)), *of(rig, "a0-", 0), *of(rig, "z0-", 0))
        counts: Counter[str] = Counter()
        for number in range(1, 31):
            await rig.publish(*of(rig, f"a{number}-", 0), *of(rig, f"z{number}-", 0))
            counts += await served(rig, 2)
        assert counts["m"] >= 3, counts

    @case("limits")
    async def test_44_a_lane_that_empties_again_and_again_holds_up_no_other(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "m", *range(20)))
        counts: Counter[str] = Counter()
        for number in range(10):
            await rig.publish(*of(rig, "a", number))
            counts += await served(rig, 1)
            await rig.publish(*of(rig, "z", number))
            counts += await served(rig, 1)
        assert counts["m"] >= 5, counts

    @case("limits")
    async def test_44_a_turn_gives_so_many(self, rig: Rig) -> None:
        fair = 4
        await limited(rig, fair=fair)
        await rig.publish(*of(rig, "a", *range(60)), *of(rig, "b", *range(60)))
        counts: Counter[str] = Counter(a=0, b=0)
        for limit in (1, 2, 3, 5, 7, 11, 13, 1, 1):
            got = await rig.driver.receive(rig.queue, limit, rig.suite.patience)
            counts.update(lanes_of(got))
            await rig.ack(*got)
            assert abs(counts["a"] - counts["b"]) <= 2 * fair, counts

    @case("limits")
    async def test_44_a_new_lane_need_not_wait_and_starves_none(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "a", *range(60)))
        await served(rig, 30)
        await rig.publish(*of(rig, "b", *range(40)))
        counts = await served(rig, 20)
        assert abs(counts["a"] - counts["b"]) <= 2, counts

    @case("limits")
    async def test_44_a_lane_that_was_full_need_not_wait_for_newer_ones(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", *range(30)))
        await served(rig, 20)
        held = await rig.one()  # now no lane has anything to give
        await rig.nothing()
        await rig.publish(*of(rig, "b", *range(30)))
        await served(rig, 3)
        await rig.ack(held)
        counts = await served(rig, 8)
        assert counts["a"] >= 3, counts
        assert counts["b"] >= 3, counts

    @case("limits")
    async def test_44_a_lane_that_was_full_has_no_arrears(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", *range(20)), *of(rig, "b", *range(40)))
        got = {each.id: each for each in await rig.take(2)}
        await rig.ack(got["b0"])
        assert await served(rig, 15) == {"b": 15}
        await rig.ack(got["a0"])
        counts = await served(rig, 10)
        assert abs(counts["a"] - counts["b"]) <= 2, counts

    @case("limits", "remove")
    async def test_44_removals_change_no_turn(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "a", *range(40)), *of(rig, "b", *range(40)))
        counts: Counter[str] = Counter()
        for number in range(20):
            await rig.publish(*of(rig, "x", number))
            assert await rig.driver.remove(rig.queue, [f"x{number}"]) == 1
            counts += await served(rig, 1)
        assert abs(counts["a"] - counts["b"]) <= 2, counts

    @case("limits")
    async def test_44_a_lane_that_was_purged_has_no_arrears(self, rig: Rig) -> None:
        await served_after(rig, rig.driver.purge)

    @case("limits", "remove")
    async def test_44_a_lane_whose_messages_were_removed_has_no_arrears(self, rig: Rig) -> None:
        await served_after(rig, partial(rig.driver.remove, ids=["a1"]))

    @case("limits", "remove")
    async def test_44_removals_a_purge_and_a_nack_leave_no_lane_behind(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        await rig.publish(*of(rig, "m", 0), *of(rig, "a", 0))
        await rig.driver.remove(rig.queue, ["m0"])
        held = await rig.one()
        await rig.publish(*of(rig, "a", 1), *of(rig, "m", 1, 2))
        await rig.driver.remove(rig.queue, ["a1", "m1"])
        await rig.publish(*of(rig, "m", 3))
        await rig.driver.purge(rig.queue)
        await rig.publish(*of(rig, "m", 4, 5, 6), *of(rig, "b", 0), *of(rig, "a", 2, 3))
        await settle(rig, Nack(held.receipt))
        counts = await served(rig, 4)
        assert all(abs(counts[lane] - counts["b"]) <= 2 for lane in "am"), counts

    @case("limits")
    async def test_44_a_shorter_turn_holds_at_once(self, rig: Rig) -> None:
        await limited(rig, fair=9)
        await rig.publish(*of(rig, "a", *range(30)))
        await rig.publish(*of(rig, "b", *range(30)))
        await limited(rig, fair=1)
        counts = await served(rig, 8)
        assert abs(counts["a"] - counts["b"]) <= 2, counts

    @case("limits")
    async def test_44_a_few_messages_behind_very_many_come_at_once(self, rig: Rig) -> None:
        await limited(rig, fair=1)
        for start in range(0, 1000, 200):
            await rig.publish(*of(rig, "noisy-", *range(start, start + 200)))
        await rig.publish(*of(rig, "b", 0), *of(rig, "c", 0), *of(rig, "d", 0))
        counts = await served(rig, 10)
        assert counts == {"noisy-": 7, "b": 1, "c": 1, "d": 1}

    @case("limits")
    async def test_44_a_lane_in_which_nothing_can_come_is_passed_over(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=3))
        for start in range(0, 1000, 200):
            await rig.publish(*of(rig, "noisy-", *range(start, start + 200)))
        await served(rig, 3)
        await rig.nothing()
        for lane in "abcdefgh":
            await rig.publish(*of(rig, lane, *range(5)))
        assert await served(rig, 24, 7) == dict.fromkeys("abcdefgh", 3)
        await rig.nothing()

    @case("limits")
    async def test_45_a_settlement_brings_its_lane_to_life(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", *range(6)), *of(rig, "b", *range(6)))
        got = {each.id[0]: each for each in await rig.take(2)}
        for lane, kind in (("a", Ack), ("b", Ack), ("a", Nack), ("b", Nack), ("a", Release), ("b", Release)):
            got[lane] = await rig.woken(partial(settle, rig, kind(got[lane].receipt)))
            assert got[lane].id[0] == lane
        await rig.declare(name=rig.other)
        move = Move(got["a"].receipt, rig.other, (rig.message(),))
        assert (await rig.woken(partial(rig.driver.move, rig.queue, [move]))).id[0] == "a"

    @case("limits", "leases")
    async def test_45_an_ended_lease_brings_its_lane_to_life(self, rig: Rig) -> None:
        await rig.declare(fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", 0, 1))
        await rig.one()
        await rig.advance(rig.long * 0.5)
        await rig.nothing()
        await rig.advance(rig.long * 0.7)
        got = await rig.one()
        assert (got.id, got.suspect) == ("a0", True) or got.id == "a1"
        await rig.nothing()

    @case("limits", "multi_process", "leases")
    async def test_45_a_killed_holder_frees_its_lanes(self, rig: Rig) -> None:
        options = {"fair": 1, "lane_limit": Limit(concurrency=1)}
        spec = await rig.declare(lease=2.0, **options)
        await rig.publish(*of(rig, "a", 0, 1, 2), *of(rig, "b", 0, 1))
        assert sorted(id[0] for id in await killed(rig, spec, 2)) == ["a", "b"]
        await limited(rig, **options)
        assert await served(rig, 5) == {"a": 3, "b": 2}

    @case("limits")
    async def test_45_a_publish_brings_its_lane_to_life(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", 0, 1))
        await rig.one()
        got = await rig.woken(partial(rig.publish, *of(rig, "b", 0)))
        assert got.id == "b0"
        await rig.ack(got)
        assert (await rig.woken(partial(rig.publish, *of(rig, "b", 1)))).id == "b1"

    @case("limits")
    async def test_45_another_limit_of_lanes_holds_at_once(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.publish(*of(rig, "a", *range(9)), *of(rig, "b", *range(9)))
        await rig.take(2)
        first = await rig.woken(partial(limited, rig, fair=1, lane_limit=Limit(concurrency=2)))
        got = [first, await rig.one()]
        assert lanes_of(got) == {"a": 1, "b": 1}
        await rig.nothing()
        await limited(rig, fair=1, lane_limit=Limit(concurrency=1))
        await rig.ack(*got)
        await rig.nothing()
        assert lanes_of([await rig.woken(partial(limited, rig, fair=1)), *await rig.take(13)]) == {"a": 7, "b": 7}

    @case("limits")
    async def test_45_another_rate_of_lanes_gives_no_second_burst(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=3))
        await rig.publish(*of(rig, "a", *range(9)), *of(rig, "b", 0))
        await rig.ack(*await rig.take(4))
        for rate, burst in ((SLOW * 2, 3), (SLOW / 100, 3), (SLOW, 1), (SLOW, 3)):
            await limited(rig, fair=1, lane_limit=Limit(rate, burst))
            await rig.nothing()
        await limited(rig, fair=1, lane_limit=Limit(20.0))
        await rig.take(2)

    @case("limits", "multi_process")
    async def test_45_lanes_outlive_a_restart(self, rig: Rig) -> None:
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=2))
        await rig.publish(*of(rig, "a", *range(4)), *of(rig, "b", 0))
        assert await served(rig, 3) == {"a": 2, "b": 1}
        await rig.restart()
        await limited(rig, fair=1, lane_limit=Limit(SLOW, burst=2))
        await rig.nothing()
        await rig.publish(*of(rig, "b", 1, 2), *of(rig, "c", 0))
        assert await served(rig, 2) == {"b": 1, "c": 1}
        await rig.nothing()
