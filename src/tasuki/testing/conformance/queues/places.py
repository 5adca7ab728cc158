"""Clauses 42 and 45: what frees a place, or changes a limit, and that a receive which waits learns of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from tasuki.contracts.driver import Ack, Limit, Move, Nack, Received, Release
from tasuki.testing.conformance.killed import Holder
from tasuki.testing.conformance.queues.limits import FAR, SLOW, limited, settle
from tasuki.testing.conformance.rig import Rig, Suite, cancelled, case, ids, turn

Act = Callable[[], Awaitable[object]]


async def woken(rig: Rig, act: Act) -> Received:
    """What a receive that waits already is given once this has happened; it must come within the suite's patience."""
    waiting = asyncio.create_task(rig.driver.receive(rig.queue, 1, rig.suite.patience * 4))
    await asyncio.sleep(rig.suite.brief)
    assert not waiting.done(), f"nothing expected, {ids(waiting.result())} came"
    await act()
    async with asyncio.timeout(rig.suite.patience):
        (got,) = await waiting
    return got


class Places(Suite):
    """Cases: a receive that waits for a place or for another limit need not ask again."""

    @case("limits:concurrency")
    async def test_45_a_settlement_wakes_one_that_waits_for_a_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(6))
        got = await rig.one()
        for kind in (Ack, Nack, Release, Ack):
            got = await woken(rig, partial(settle, rig, kind(got.receipt)))

    @case("limits:concurrency", "native_delay")
    async def test_45_a_postponed_message_frees_its_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(3))
        for kind in (Nack, Release):
            got = await rig.one()
            after = await woken(rig, partial(settle, rig, kind(got.receipt, FAR)))
            assert after.id != got.id
            await settle(rig, Release(after.receipt))

    @case("limits:concurrency")
    async def test_45_a_move_frees_a_place(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.declare(name=rig.other)
        first, second = await rig.publish(*rig.messages(2))
        got = await rig.one()
        move = Move(got.receipt, rig.other, (rig.message(id=got.id),))
        after = await woken(rig, lambda: rig.driver.move(rig.queue, [move]))
        assert {got.id, after.id} == {first, second}
        assert await rig.drain(queue=rig.other, expected=1) == [got.id]

    @case("limits:concurrency", "leases")
    async def test_45_an_ended_lease_frees_its_place(self, rig: Rig) -> None:
        await rig.declare(limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(2))
        await rig.one()
        await rig.advance(rig.long * 0.5)
        await rig.nothing()
        await rig.advance(rig.long * 0.7)
        await rig.one()
        await rig.nothing()

    @case("limits:concurrency", "leases")
    async def test_45_the_end_of_a_lease_wakes_one_that_waits(self, rig: Rig) -> None:
        """In real time: a clock that jumps wakes none."""
        lease = 1.5
        await rig.declare(lease=lease, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(2))
        began = rig.clock.monotonic()
        await rig.one()
        await rig.one()
        assert rig.clock.monotonic() - began >= lease - 0.1

    @case("limits:concurrency", "multi_process", "leases")
    async def test_45_a_killed_holder_frees_its_places(self, rig: Rig) -> None:
        spec = await rig.declare(lease=2.0, limit=Limit(concurrency=2))
        published = await rig.publish(*rig.messages(4))
        async with Holder(rig.suite, rig.place, spec, 2) as holder:
            assert len(holder.ids) == 2
            holder.kill()
        await rig.driver.declare(rig.spec(lease=FAR, limit=Limit(concurrency=2)))
        got = await rig.take(2)
        await rig.nothing()
        await rig.ack(*got)
        assert sorted(ids(got) + await rig.drain(expected=2)) == published

    @case("limits:concurrency")
    async def test_45_a_close_frees_its_places(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=2))
        await rig.publish(*rig.messages(3))
        await rig.take(2)
        await rig.reopen()
        await limited(rig, limit=Limit(concurrency=2))
        await rig.take(2)
        await rig.nothing()

    @case("limits:rate")
    async def test_45_a_release_wakes_one_that_waits_for_the_rate(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(SLOW))
        await rig.publish(*rig.messages(2))
        got = await rig.one()
        await woken(rig, lambda: settle(rig, Release(got.receipt)))

    @case("limits:rate", "limits:concurrency")
    async def test_45_a_new_declaration_wakes_one_that_waits(self, rig: Rig) -> None:
        await limited(rig, limit=Limit(concurrency=1))
        await rig.publish(*rig.messages(6))
        await rig.one()
        await woken(rig, lambda: limited(rig, limit=Limit(concurrency=2)))
        await woken(rig, lambda: limited(rig, limit=Limit(SLOW)))
        await woken(rig, lambda: limited(rig, limit=Limit(50.0)))
        await limited(rig, limit=Limit(concurrency=1))
        await woken(rig, lambda: limited(rig))
        await rig.one()

    @case("limits:concurrency")
    async def test_42_a_lowered_limit_waits_until_places_are_free(self, rig: Rig) -> None:
        await limited(rig)
        await rig.publish(*rig.messages(6))
        got = await rig.take(3)
        await limited(rig, limit=Limit(concurrency=2))
        for held in got[:2]:
            await rig.nothing()
            await rig.ack(held)
        await rig.one()
        await rig.nothing()

    @case("limits:concurrency")
    async def test_45_what_one_waiting_receive_leaves_the_next_gets(self, rig: Rig) -> None:
        """Places that are free at once wake as many receives."""
        await limited(rig, limit=Limit(concurrency=3))
        await rig.publish(*rig.messages(6))
        got = await rig.take(3)
        waiting = [asyncio.create_task(rig.driver.receive(rig.queue, 1, rig.suite.patience * 4)) for _ in range(3)]
        await asyncio.sleep(rig.suite.brief)
        await rig.ack(*got)
        async with asyncio.timeout(rig.suite.patience):
            answers = await asyncio.gather(*waiting)
        assert [len(answer) for answer in answers] == [1, 1, 1]

    @case("limits:concurrency", "multi_process")
    async def test_45_a_settlement_in_another_process_wakes_here(self, rig: Rig) -> None:
        options = {"lease": FAR, "limit": Limit(concurrency=1)}
        await limited(rig, **options)
        other = await rig.another(**options)
        await rig.publish(*rig.messages(4))
        got = await rig.one(driver=other)
        for kind in (Ack, Release):
            got = await woken(rig, partial(settle, rig, kind(got.receipt), driver=other))
            await rig.ack(got)
            got = await rig.one(driver=other)

    @case("limits:concurrency", "multi_process")
    async def test_45_a_declaration_in_another_process_wakes_here(self, rig: Rig) -> None:
        options = {"lease": FAR, "limit": Limit(concurrency=1)}
        await limited(rig, **options)
        other = await rig.another(**options)
        await rig.publish(*rig.messages(2))
        await rig.one()
        await woken(rig, partial(other.declare, rig.spec(lease=FAR, limit=Limit(concurrency=2))))

    @case("limits:concurrency")
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

    @case("limits:concurrency", "remove", "purge")
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
