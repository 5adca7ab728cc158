"""Clauses 42 and 45: limits of a whole queue, what frees a place, and that a receive which waits learns of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Any

from tasuki.contracts.driver import Ack, Driver, Limit, Move, Nack, Outgoing, QueueSpec, Received, Release, Settlement
from tasuki.contracts.values import SHORTEST_DELAY
from tasuki.testing.conformance.clock import Taken, check_windows
from tasuki.testing.conformance.killed import killed
from tasuki.testing.conformance.rig import FAR, Rig, Suite, cancelled, case, ids, turn

SLOW = 1e-3
"""Messages a second: none more comes during a case."""


async def limited(rig: Rig, **options: Any) -> QueueSpec:
    """Declare the queue of the case with these options, and a lease that does not end."""
    return await rig.declare(**{"lease": FAR, **options})


async def first(rig: Rig, number: int, batch: list[Outgoing], **options: Any) -> list[Received]:
    """Declare the queue as ``limited`` does, publish these messages, and take the first of them."""
    await limited(rig, **options)
    await rig.publish(*batch)
    return await rig.take(number)


async def two(rig: Rig, **options: Any) -> tuple[Driver, Driver]:
    """Declare the queue as ``limited`` does, at two drivers: of two processes, where more than one can have it."""
    await limited(rig, **options)
    return rig.driver, await rig.elsewhere(**{"lease": FAR, **options})


async def settle(rig: Rig, *batch: Settlement, driver: Driver | None = None) -> None:
    """Settle; no receipt may be stale."""
    stale = await (driver or rig.driver).settle(rig.queue, batch)
    assert list(stale) == [], f"stale receipts: {stale}"


class Limits(Suite):
    """A message that must wait is not handed out, and a receive that waits is woken when it may be."""

    @case("limits")
    async def test_42_a_burst_and_then_no_more(self, rig: Rig) -> None:
        got = await first(rig, 3, rig.messages(5), limit=Limit(SLOW, burst=3))
        await rig.nothing()
        await rig.counts(2, 3, 0)
        await settle(rig, Ack(got[0].receipt), Nack(got[1].receipt))
        await rig.nothing()
        await rig.counts(3, 1, 0)

    @case("limits")
    async def test_42_the_next_one_comes_by_itself(self, rig: Rig) -> None:
        rate = 5.0
        await limited(rig, limit=Limit(rate))
        await rig.publish(*rig.messages(4))
        began = rig.clock.monotonic()
        got = await rig.take(4)
        took = rig.clock.monotonic() - began
        assert took >= 3 / rate - 0.02, f"4 messages in {took} s"
        assert [(each.attempt, each.suspect) for each in got] == [(1, False)] * 4, "to wait is no attempt"

    @case("limits")
    async def test_42_a_queue_gathers_no_more_than_its_burst(self, rig: Rig) -> None:
        rate = 10 / rig.long
        await first(rig, 3, rig.messages(30), limit=Limit(rate, burst=3))
        await rig.advance(rig.long)  # ten more
        began = rig.clock.monotonic()
        taken = [len(await rig.driver.receive(rig.queue, 30, 0.0)) for _ in range(4)]
        most = 3 + (rig.clock.monotonic() - began) * rate
        assert 3 <= sum(taken) <= most + 0.01, f"{taken}, at most {most}"

    @case("limits")
    async def test_42_no_window_has_more_than_burst_and_rate(self, rig: Rig) -> None:
        numbers = random.Random(42)  # noqa: S311 - no secret
        rate, burst = 60 / rig.long, 5
        drivers = await two(rig, limit=Limit(rate, burst))
        await rig.publish(*rig.messages(400))
        taken: list[Taken] = []

        async def receive(worker: int) -> None:
            driver, before = drivers[worker % 2], rig.clock.monotonic()
            got = await driver.receive(rig.queue, numbers.randint(1, 4), 0.0)
            taken.append(Taken(before, rig.clock.monotonic(), len(got)))
            await settle(rig, *(numbers.choice((Ack, Ack, Nack))(each.receipt) for each in got), driver=driver)

        for _ in range(30):
            await asyncio.gather(*map(receive, range(numbers.randint(1, 6))))
            await rig.advance(rig.long * numbers.choice((0.0, 0.01, 0.02, 0.05)))
        check_windows(taken, rate, burst)
        assert sum(each.tokens for each in taken) > burst, "no more than the burst has come"

    @case("limits")
    async def test_42_a_release_gives_its_part_back_and_a_nack_does_not(self, rig: Rig) -> None:
        got = await first(rig, 2, rig.messages(3), limit=Limit(SLOW, burst=2))
        await rig.nothing()
        await settle(rig, *(Release(each.receipt) for each in got))
        one, two = await rig.take(2)
        await rig.nothing()
        await settle(rig, Nack(one.receipt), Release(two.receipt, 0.1))
        await asyncio.sleep(0.2)  # both are there, and neither has given anything back
        await rig.nothing()

    @case("limits")
    async def test_42_a_release_with_the_shortest_delay_gives_nothing_back(self, rig: Rig) -> None:
        """As a message has whose handler has started, and then postponed it by no time at all."""
        await limited(rig, limit=Limit(SLOW, burst=2))
        await rig.publish(*rig.messages(1))
        await settle(rig, Release((await rig.one()).receipt, SHORTEST_DELAY))
        again = await rig.one()
        assert (again.attempt, again.suspect) == (1, False)
        await settle(rig, Release(again.receipt, SHORTEST_DELAY))
        await asyncio.sleep(0.1)
        await rig.nothing()

    @case("limits")
    async def test_42_releases_fill_no_more_than_the_burst(self, rig: Rig) -> None:
        got = await first(rig, 3, rig.messages(9), limit=Limit(1000.0, burst=3))
        await asyncio.sleep(0.1)  # it is full again
        await limited(rig, limit=Limit(SLOW, burst=3))
        await settle(rig, *(Release(each.receipt) for each in got))
        assert len(await rig.take(3)) == 3
        await rig.nothing()

    @case("limits")
    async def test_42_no_more_than_its_places_are_held(self, rig: Rig) -> None:
        _, other = await two(rig, limit=Limit(concurrency=3))
        await rig.publish(*rig.messages(6))
        got = await rig.take(2)
        got += await rig.take(1, driver=other)
        await rig.nothing()
        await rig.nothing(driver=other)
        await rig.counts(3, 3, 0)
        await rig.ack(got[0])
        got += await rig.take(1, driver=other)
        await rig.nothing()
        assert len(set(ids(got))) == 4

    @case("limits")
    async def test_42_many_receivers_share_the_places(self, rig: Rig) -> None:
        places, number = 3, 80
        drivers = await two(rig, limit=Limit(concurrency=places))
        published = await rig.publish(*rig.messages(number))
        held: set[str] = set()
        handled: Counter[str] = Counter()

        async def work(worker: int) -> None:
            driver = drivers[worker % 2]
            while sum(handled.values()) < number:
                got = await driver.receive(rig.queue, 1 + worker % 3, 0.2)
                held.update(ids(got))
                assert len(held) <= places, f"{len(held)} are held: {sorted(held)}"
                await asyncio.sleep(0.001)
                held.difference_update(ids(got))
                handled.update(ids(got))
                await settle(rig, *(Ack(each.receipt) for each in got), driver=driver)

        async with asyncio.timeout(rig.suite.patience * 6):
            await asyncio.gather(*map(work, range(8)))
        assert handled == Counter(published)

    @case("limits")
    async def test_42_a_rate_and_places_hold_together(self, rig: Rig) -> None:
        got = await first(rig, 3, rig.messages(6), limit=Limit(SLOW, burst=4, concurrency=3))
        await rig.nothing()
        await rig.ack(*got)
        await rig.one()
        await rig.nothing()

    @case("limits", "native_priority")
    async def test_42_priority_decides_what_is_next(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1), priorities=True)
        await rig.publish(*(rig.message(id=f"{priority}", priority=priority) for priority in (1, 9, 0, 5)))
        for expected in ("9", "5", "1", "0"):
            await rig.ack(*await rig.only(expected))

    @case("limits", "ordering_key")
    async def test_42_order_per_key_holds_too(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=2), ordering="key")
        await rig.publish(*(rig.message(id=f"{key}{number}", key=key) for key in "abc" for number in range(3)))
        seen: list[str] = []
        for _ in range(3):
            got = await rig.take(2)
            assert len({id[0] for id in ids(got)}) == 2, f"two of a key: {ids(got)}"
            await rig.nothing()
            await rig.ack(*got)
            seen += ids(got)
        seen += await rig.drain(expected=3)
        assert all([id for id in seen if id[0] == key] == [f"{key}{number}" for number in range(3)] for key in "abc")

    @case("limits")
    async def test_42_another_rate_or_burst_gives_no_second_burst(self, rig: Rig) -> None:
        await first(rig, 5, rig.messages(20), limit=Limit(SLOW, burst=5))
        for rate, burst in ((SLOW * 2, 5), (SLOW / 100, 5), (SLOW, 1), (SLOW, 5), (SLOW, 3)):
            await limited(rig, limit=Limit(rate, burst))
            await rig.nothing()

    @case("limits")
    async def test_42_a_larger_burst_adds_the_difference(self, rig: Rig) -> None:
        await first(rig, 2, rig.messages(9), limit=Limit(SLOW, burst=2))
        await limited(rig, limit=Limit(SLOW, burst=5))
        await rig.take(3)
        await rig.nothing()

    @case("limits")
    async def test_42_a_raised_rate_holds_at_once(self, rig: Rig) -> None:
        await first(rig, 1, rig.messages(3), limit=Limit(SLOW))
        await rig.nothing()
        await limited(rig, limit=Limit(20.0))
        await rig.take(2)

    @case("limits", "multi_process")
    async def test_42_a_limit_holds_for_those_that_did_not_declare_it(self, rig: Rig) -> None:
        await rig.declare(lease=FAR)
        await rig.publish(*rig.messages(5))
        await rig.another(lease=FAR, limit=Limit(SLOW, burst=3, concurrency=2))
        got: list[Received] = await rig.take(2)
        await rig.nothing()
        await rig.ack(*got)
        await rig.one()
        await rig.nothing()

    @case("limits")
    async def test_42_an_inspection_leaves_the_limit(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(3))
        await rig.driver.undeclare(rig.queue)
        await rig.driver.inspect(rig.spec(lease=FAR))
        await rig.one()
        await rig.nothing()

    @case("limits", "multi_process")
    async def test_42_a_spent_rate_outlives_a_restart(self, rig: Rig) -> None:
        await rig.ack(*await first(rig, 2, rig.messages(4), limit=Limit(SLOW, burst=2)))
        await rig.restart()
        await limited(rig, limit=Limit(SLOW, burst=2))
        await rig.nothing()
        await rig.counts(2, 0, 0)

    @case("limits", "purge")
    async def test_42_a_purge_gives_no_second_burst(self, rig: Rig) -> None:
        await rig.ack(*await first(rig, 2, rig.messages(4), limit=Limit(SLOW, burst=2)))
        assert await rig.driver.purge(rig.queue) == 2
        await rig.publish(rig.message())
        await rig.nothing()

    @case("limits")
    async def test_42_a_deleted_queue_has_spent_nothing(self, rig: Rig) -> None:
        await first(rig, 2, rig.messages(2), limit=Limit(SLOW, burst=2))
        await rig.driver.delete(rig.queue)
        await first(rig, 2, rig.messages(2), limit=Limit(SLOW, burst=2))

    @case("limits")
    async def test_45_a_settlement_wakes_one_that_waits_for_a_place(self, rig: Rig) -> None:
        (got,) = await first(rig, 1, rig.messages(6), limit=Limit(concurrency=1))
        for kind in (Ack, Nack, Release, Ack):
            got = await rig.woken(partial(settle, rig, kind(got.receipt)))

    @case("limits")
    async def test_45_a_postponed_message_frees_its_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(3))
        for kind in (Nack, Release):
            got = await rig.one()
            after = await rig.woken(partial(settle, rig, kind(got.receipt, FAR)))
            assert after.id != got.id
            await settle(rig, Release(after.receipt))

    @case("limits")
    async def test_45_a_move_frees_a_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.declare(name=rig.other)
        first, second = await rig.publish(*rig.messages(2))
        got = await rig.one()
        move = Move(got.receipt, rig.other, (rig.message(id=got.id),))
        after = await rig.woken(lambda: rig.driver.move(rig.queue, [move]))
        assert {got.id, after.id} == {first, second}
        assert await rig.drain(queue=rig.other, expected=1) == [got.id]

    @case("limits", "leases")
    async def test_45_an_ended_lease_frees_its_place(self, rig: Rig) -> None:
        await rig.declare(limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(2))
        await rig.one()
        await rig.advance(rig.long * 0.5)
        await rig.nothing()
        await rig.advance(rig.long * 0.7)
        await rig.one()
        await rig.nothing()

    @case("limits", "leases")
    async def test_45_the_end_of_a_lease_wakes_one_that_waits(self, rig: Rig) -> None:
        """In real time: a clock that jumps wakes none."""
        lease = 1.5
        await rig.declare(lease=lease, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(2))
        began = rig.clock.monotonic()
        await rig.one()
        await rig.one()
        assert rig.clock.monotonic() - began >= lease - 0.1

    @case("limits", "multi_process", "leases")
    async def test_45_a_killed_holder_frees_its_places(self, rig: Rig) -> None:
        spec = await rig.declare(lease=2.0, limit=Limit(concurrency=2))
        published = await rig.publish(*rig.messages(4))
        assert len(await killed(rig, spec, 2)) == 2
        await rig.driver.declare(rig.spec(lease=FAR, limit=Limit(concurrency=2)))
        got = await rig.take(2)
        await rig.nothing()
        await rig.ack(*got)
        assert sorted(ids(got) + await rig.drain(expected=2)) == published

    @case("limits")
    async def test_45_a_close_frees_its_places(self, rig: Rig) -> None:
        await first(rig, 2, rig.messages(3), limit=Limit(concurrency=2))
        await rig.reopen()
        await limited(rig, limit=Limit(concurrency=2))
        await rig.take(2)
        await rig.nothing()

    @case("limits")
    async def test_45_a_release_wakes_one_that_waits_for_the_rate(self, rig: Rig) -> None:
        (got,) = await first(rig, 1, rig.messages(2), limit=Limit(SLOW))
        await rig.woken(lambda: settle(rig, Release(got.receipt)))

    @case("limits")
    async def test_45_a_new_declaration_wakes_one_that_waits(self, rig: Rig) -> None:
        await first(rig, 1, rig.messages(6), limit=Limit(concurrency=1))
        await rig.woken(lambda: limited(rig, limit=Limit(concurrency=2)))
        await rig.woken(lambda: limited(rig, limit=Limit(SLOW)))
        await rig.woken(lambda: limited(rig, limit=Limit(50.0)))
        await limited(rig, limit=Limit(concurrency=1))
        await rig.woken(lambda: limited(rig))
        await rig.one()

    @case("limits")
    async def test_42_a_lowered_limit_waits_until_places_are_free(self, rig: Rig) -> None:
        got = await first(rig, 3, rig.messages(6))
        await limited(rig, limit=Limit(concurrency=2))
        for held in got[:2]:
            await rig.nothing()
            await rig.ack(held)
        await rig.one()
        await rig.nothing()

    @case("limits")
    async def test_45_what_one_waiting_receive_leaves_the_next_gets(self, rig: Rig) -> None:
        """Places that are free at once wake as many receives."""
        got = await first(rig, 3, rig.messages(6), limit=Limit(concurrency=3))
        waiting = [asyncio.create_task(rig.driver.receive(rig.queue, 1, rig.suite.patience * 4)) for _ in range(3)]
        await asyncio.sleep(rig.suite.brief)
        await rig.ack(*got)
        async with asyncio.timeout(rig.suite.patience):
            answers = await asyncio.gather(*waiting)
        assert [len(answer) for answer in answers] == [1, 1, 1]

    @case("limits", "multi_process")
    async def test_45_a_settlement_in_another_process_wakes_here(self, rig: Rig) -> None:
        _, other = await two(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(4))
        got = await rig.one(driver=other)
        for kind in (Ack, Release):
            got = await rig.woken(partial(settle, rig, kind(got.receipt), driver=other))
            await rig.ack(got)
            got = await rig.one(driver=other)

    @case("limits", "multi_process")
    async def test_45_a_declaration_in_another_process_wakes_here(self, rig: Rig) -> None:
        _, other = await two(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(2))
        await rig.one()
        await rig.woken(partial(other.declare, rig.spec(lease=FAR, limit=Limit(concurrency=2))))

    @case("limits")
    async def test_42_a_cancelled_receive_keeps_no_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        for turns in range(30):
            task = asyncio.create_task(rig.driver.receive(rig.queue, 1, rig.suite.patience))
            await asyncio.sleep(0)
            published = await rig.publish(rig.message())
            await turn(turns % 10)
            kept = await cancelled(task)
            got = kept if isinstance(kept, list) and kept else await rig.take()
            assert ids(got) == published
            await rig.ack(*got)

    @case("limits", "remove", "purge")
    async def test_42_what_is_removed_needs_no_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        published = await rig.publish(*rig.messages(3))
        got = await rig.one()
        assert await rig.driver.remove(rig.queue, [id for id in published if id != got.id]) == 2
        await rig.ack(got)
        await rig.nothing()
        await rig.publish(rig.message(id="a"))
        got = await rig.one()
        await rig.publish(rig.message(id="b"))
        assert await rig.driver.purge(rig.queue) == 1
        await rig.publish(rig.message(id="c"))
        await rig.nothing()
        await rig.ack(got)
        assert (await rig.one()).id == "c"
