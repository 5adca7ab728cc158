"""Clauses 28 and 61: which message is charged for the death of a worker, and when its messages come back."""

from __future__ import annotations

import asyncio
from unittest import SkipTest

from tasuki.contracts.driver import SILENCE, Ack, Nack, Release
from tasuki.testing.conformance.killed import Holder, killed
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

_LEASE = 3.0
_SEEN = 30.0
_LONG_LEASE = 300.0
_BACK = 15.0
"""Seconds within which the messages of a process that died are back."""
_CHECKED = 3.0
"""Seconds within which a waiting process looks at silent messages."""


class Suspects(Suite):
    """Messages whose last delivery ended without a settlement, or whose holder died."""

    @case("leases")
    async def test_28_a_lost_lease_makes_a_suspect_and_does_not_count(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        first = await rig.one()
        assert (first.attempt, first.suspect) == (1, False)
        for _ in range(2):
            await rig.advance(rig.long * 1.2)
            got = await rig.one()
            assert (got.attempt, got.suspect) == (1, True)

    @case("multi_process")
    async def test_28_only_the_recorded_starts_of_a_killed_holder_count(self, rig: Rig) -> None:
        spec = await rig.declare(lease=_LEASE)
        published = await rig.publish(*rig.messages(4))
        for deaths in (1, 2):
            assert sorted(await killed(rig, spec, 4, starts=1)) == published
            got = await rig.take(4)
            assert all(delivery.suspect for delivery in got)
            # Which one comes first may differ from death to death where the driver is not ordered.
            assert sum(delivery.attempt - 1 for delivery in got) == deaths
            await rig.driver.settle(rig.queue, [Release(delivery.receipt) for delivery in reversed(got)])

    @case("multi_process")
    async def test_28_a_release_keeps_a_suspect_and_a_nack_clears_it(self, rig: Rig) -> None:
        spec = await rig.declare(lease=_LEASE)
        await rig.publish(rig.message())
        await killed(rig, spec, 1)
        for settlement, attempt, suspect in ((Release, 1, True), (Release, 1, True), (Nack, 1, True), (Nack, 2, False)):
            got = await rig.one()
            assert (got.attempt, got.suspect) == (attempt, suspect)
            await rig.driver.settle(rig.queue, [settlement(got.receipt)])
        assert (await rig.one()).attempt == 3

    @case("multi_process")
    async def test_28_every_process_counts_the_suspects(self, rig: Rig) -> None:
        spec = await rig.declare(lease=_LEASE)
        await rig.publish(rig.message())
        await killed(rig, spec, 1, starts=1)
        got = await rig.begin(await rig.one())
        assert got.suspect
        await rig.driver.settle(rig.queue, [Release(got.receipt)])
        other = await rig.another(lease=_LEASE)
        async with asyncio.timeout(_SEEN):
            while True:  # a count may be behind
                if (await other.depth(rig.queue)).ready == 1:
                    return
                await asyncio.sleep(0.1)

    @case()
    async def test_28_a_released_message_is_no_suspect(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        for _ in range(3):
            got = await rig.one()
            assert (got.attempt, got.suspect) == (1, False)
            await rig.driver.settle(rig.queue, [Release(got.receipt)])

    @case()
    async def test_28_a_start_counts_once_with_its_nack_and_not_with_its_release(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        for settlement, attempt in ((Nack, 1), (Release, 2), (Nack, 2), (Nack, 3), (Ack, 4)):
            got = await rig.one()
            assert (got.attempt, got.suspect) == (attempt, False)
            got = await rig.begin(got)
            assert list(await rig.driver.settle(rig.queue, [settlement(got.receipt)])) == []
        await rig.nothing()

    @case("leases")
    async def test_28_a_start_that_ends_with_its_lease_counts_once(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        for attempt in (1, 2, 3):
            got = await rig.one()
            assert (got.attempt, got.suspect) == (attempt, attempt > 1)
            got = await rig.begin(got)
            assert list(await rig.driver.start(rig.queue, [got.receipt])) == []
            await rig.advance(rig.long * 1.2)

    @case("leases")
    async def test_28_a_start_counts_once_also_if_the_settlement_comes_after_the_lease(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        for settlement, attempt in ((Nack, 1), (Release, 2), (Nack, 2), (Ack, 3)):
            got = await rig.begin(await rig.one())
            assert got.attempt == attempt, f"{settlement.__name__} was to come at attempt {attempt}"
            await rig.advance(rig.long * 1.2)
            await rig.driver.depth(rig.queue)  # which may notice the end of the lease
            assert list(await rig.driver.settle(rig.queue, [settlement(got.receipt)])) == []

    @case()
    async def test_28_the_start_of_a_settled_delivery_is_stale(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        acked, nacked = await rig.take(2)
        await rig.driver.settle(rig.queue, [Ack(acked.receipt), Nack(nacked.receipt, rig.long)])
        receipts = [acked.receipt, nacked.receipt]
        assert list(await rig.driver.start(rig.queue, receipts)) == receipts

    @case("multi_process", "ordering_key")
    async def test_28_a_suspect_stays_in_front_of_its_key(self, rig: Rig) -> None:
        spec = await rig.declare(lease=_LEASE, ordering="key")
        published = await rig.publish(*rig.messages(3, key="k"))
        assert await killed(rig, spec, 1, starts=1) == published[:1]
        seen: list[tuple[str, int, bool]] = []
        for _ in published:
            got = await rig.one()
            seen.append((got.id, got.attempt, got.suspect))
            await rig.nothing()
            got = await rig.begin(got)
            await rig.ack(got)
        assert [id for id, _, _ in seen] == published
        assert seen[0][1:] == (2, True)
        assert [attempt for _, attempt, _ in seen[1:]] == [1, 1]

    @case("multi_process")
    async def test_28_a_suspect_that_never_started_is_not_charged(self, rig: Rig) -> None:
        spec = await rig.declare(lease=_LEASE)
        published = await rig.publish(*rig.messages(2))
        for _ in range(2):
            await killed(rig, spec, 2)
        got = await rig.take(2)
        assert sorted(ids(got)) == published
        assert [(delivery.attempt, delivery.suspect) for delivery in got] == [(1, True)] * 2

    @case("sees_deaths", "multi_process")
    async def test_61_a_killed_holder_is_seen_and_a_silent_one_keeps_its_messages(self, rig: Rig) -> None:
        if rig.suite.hides_deaths:
            raise SkipTest("not applicable: a pooler hides the death of a process")
        spec = await rig.declare(lease=_LONG_LEASE)
        published = await rig.publish(*rig.messages(3))
        silent_for = SILENCE + _CHECKED if rig.driver.capabilities.has("sees_silence") else _CHECKED
        async with Holder(rig.suite, rig.place, spec, 3) as holder:  # it renews nothing
            assert list(await rig.driver.receive(rig.queue, 1, silent_for)) == [], "its process lives"
            holder.kill()
            got = list(await rig.driver.receive(rig.queue, 3, _BACK))
            got += await rig.take(len(published) - len(got))
        assert sorted(ids(got)) == published
        assert all(delivery.suspect for delivery in got)
        assert list(await rig.driver.settle(rig.queue, [Ack(delivery.receipt) for delivery in got])) == []
        await rig.nothing()
