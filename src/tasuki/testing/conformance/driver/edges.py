"""Clause 32: what all drivers answer where nothing, or something impossible, is asked."""

from __future__ import annotations

import asyncio
from math import inf, nan

from tasuki.contracts.driver import Ack, Release
from tasuki.errors import QueueConflictError, UnsupportedError
from tasuki.testing.conformance.rig import Rig, Suite, case, ids


class Edges(Suite):
    """Empty batches, impossible values, late settlements, forced ids."""

    @case()
    async def test_32_nothing_asked_nothing_answered(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        async with asyncio.timeout(rig.suite.patience):
            assert list(await rig.driver.publish(rig.queue, [])) == []
            assert await rig.driver.receive(rig.queue, 0, 60.0) == []
            assert list(await rig.driver.settle(rig.queue, [])) == []
            assert list(await rig.driver.extend(rig.queue, [], rig.long)) == []
            assert list(await rig.driver.start(rig.queue, [])) == []
        assert ids(await rig.take()) == published

    @case()
    async def test_32_impossible_delays_and_priorities_are_refused(self, rig: Rig) -> None:
        for delay in (-1.0, inf, nan):
            results = await rig.results(rig.message(delay=delay))
            assert [type(result) for result in results] == [UnsupportedError], f"a delay of {delay}: {results}"
        for priority in (-1, 10, 42):
            results = await rig.results(rig.message(priority=priority))
            assert [type(result) for result in results] == [UnsupportedError], f"priority {priority}: {results}"
        await rig.nothing()

    @case("leases")
    async def test_32_a_settlement_after_the_lease_is_taken(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.driver.depth(rig.queue)  # which may notice the end of the lease
        await rig.ack(got)
        await rig.nothing()
        await rig.advance(rig.long * 1.2)
        await rig.nothing()

    @case("leases")
    async def test_32_a_release_after_the_lease_ends_the_delivery(self, rig: Rig) -> None:
        published = await rig.publish(rig.message())
        got = await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.driver.depth(rig.queue)
        assert list(await rig.driver.settle(rig.queue, [Release(got.receipt)])) == []
        assert list(await rig.driver.settle(rig.queue, [Ack(got.receipt)])) == [got.receipt]
        assert ids(await rig.take()) == published

    @case("leases", "ordering_key", "native_delay")
    async def test_32_a_settlement_after_the_lease_is_taken_also_behind_its_key(self, rig: Rig) -> None:
        """Meanwhile the queue has got an order per key, and an earlier message of its key has become due."""
        first, second = await rig.publish(rig.message(key="k", delay=rig.long * 1.1), rig.message(key="k"))
        got = await rig.one()
        assert got.id == second
        await rig.advance(rig.long * 1.3)
        await rig.driver.depth(rig.queue)
        try:
            await rig.declare(ordering="key")
        except QueueConflictError:  # a driver may refuse what it could not keep
            return
        await rig.ack(got)
        left = await rig.one()
        assert left.id == first
        await rig.ack(left)
        await rig.nothing()

    @case("dedup")
    async def test_32_a_forced_message_changes_nothing_in_what_is_known(self, rig: Rig) -> None:
        await rig.declare(dedup_window=rig.window, lease=300.0)
        await rig.publish(rig.message(id="new", deduplicate=False))
        await rig.publish(rig.message(id="new"))
        await rig.publish(rig.message(id="new"))
        await rig.publish(rig.message(id="known"))
        await rig.publish(rig.message(id="known", deduplicate=False))
        await rig.publish(rig.message(id="known"))
        assert sorted(await rig.drain()) == ["known"] * 2 + ["new"] * 2
