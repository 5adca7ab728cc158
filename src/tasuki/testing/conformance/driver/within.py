"""Clauses 46 to 48, and 56: deliveries are settled, and keys claimed, in a transaction of the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Driver, Nack, Receipt, Release, Settlement
from tasuki.errors import KeyBusyError, QueueFullError, QueueNotFoundError, StaleReceiptError
from tasuki.testing.conformance.queues.uniques import told, unique
from tasuki.testing.conformance.rig import Rig, Suite, case, ids

CAN = "settle_within"
_SOON = 0.05
"""Seconds for a task to begin its wait."""


class RolledBackError(Exception):
    """Ends a transaction."""


class SettlingWithin(Suite):
    """Settlements and claims in a transaction of the caller's."""

    @case(CAN)
    async def test_46_the_commit_settles(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(3))
        done, failed, back = await rig.take(3)
        async with rig.driver.transaction() as connection:
            batch: list[Settlement] = [Ack(done.receipt), Nack(failed.receipt), Release(back.receipt)]
            await rig.driver.settle_within(connection, rig.queue, batch)
            if rig.driver.one_writer is None:
                await rig.counts(0, 3, 0)
        await rig.counts(2, 0, 0)
        assert {got.id: got.attempt for got in await rig.take(2)} == {failed.id: 2, back.id: 1}
        await rig.nothing()

    @case(CAN)
    async def test_46_a_rollback_leaves_the_deliveries_held(self, rig: Rig) -> None:
        await rig.publish(*rig.messages(2))
        taken = await rig.take(2)
        async with _rolled_back(rig.driver) as connection:
            batch: list[Settlement] = [Ack(taken[0].receipt), Nack(taken[1].receipt)]
            await rig.driver.settle_within(connection, rig.queue, batch)
        await rig.counts(0, 2, 0)
        await rig.nothing()
        await rig.ack(*taken)
        await rig.counts(0, 0, 0)

    @case(CAN)
    async def test_56_a_transaction_that_keeps_a_key_holds_up_no_other_message(self, rig: Rig) -> None:
        if not rig.driver.capabilities.has("unique:pending"):
            raise SkipTest(f"not applicable: driver {rig.driver.name} has no unique messages")
        if rig.driver.one_writer is not None:
            raise SkipTest(f"not applicable: driver {rig.driver.name} lets one transaction write at a time")
        async with _rolled_back(rig.driver) as connection:
            await rig.driver.publish_within(connection, rig.queue, [unique(rig, "open")])
            batch = [unique(rig, "busy"), rig.message(id="plain"), unique(rig, "free", key="other")]
            answers = await told(rig, *batch)
            assert isinstance(answers[0], KeyBusyError)
            assert "'k'" in str(answers[0])
            assert answers[0].outcome == "rejected"
            assert answers[1:] == [None, None]
            assert sorted(ids(await rig.take(2))) == ["free", "plain"]
        assert await told(rig, unique(rig, "busy")) == [None]

    @case(CAN)
    async def test_46_it_commits_together_with_what_is_published(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message())
        got = await rig.one()
        async with _rolled_back(rig.driver) as connection:
            await rig.driver.publish_within(connection, rig.other, [rig.message(id="no")])
            await rig.driver.settle_within(connection, rig.queue, [Ack(got.receipt)])
        await rig.nothing(queue=rig.other)
        async with rig.driver.transaction() as connection:
            assert not await rig.driver.publish_within(connection, rig.other, [rig.message(id="yes")])
            await rig.driver.settle_within(connection, rig.queue, [Ack(got.receipt)])
        assert await rig.drain(queue=rig.other) == ["yes"]
        await rig.nothing()

    @case(CAN)
    async def test_46_the_commit_wakes_a_waiting_receive(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message())
        got = await rig.one()
        waiting = [asyncio.create_task(rig.take(queue=queue)) for queue in (rig.queue, rig.other)]
        await asyncio.sleep(_SOON)
        async with rig.driver.transaction() as connection:
            await rig.driver.publish_within(connection, rig.other, [rig.message(id="new")])
            await rig.driver.settle_within(connection, rig.queue, [Nack(got.receipt)])
        assert [ids(taken) for taken in await asyncio.gather(*waiting)] == [[got.id], ["new"]]

    @case(CAN, "ordering_key")
    async def test_46_the_next_of_a_key_comes_after_the_commit(self, rig: Rig) -> None:
        await rig.declare(ordering="key")
        await rig.publish(*(rig.message(id=f"{number}", key="k") for number in range(3)))
        for number in range(3):
            got = await rig.one()
            assert got.id == f"{number}"
            async with rig.driver.transaction() as connection:
                await rig.driver.settle_within(connection, rig.queue, [Ack(got.receipt)])

    @case(CAN, "max_length")
    async def test_46_the_commit_makes_room(self, rig: Rig) -> None:
        await rig.declare(max_length=1)
        await rig.publish(rig.message())
        got = await rig.one()
        async with _rolled_back(rig.driver) as connection:
            await rig.driver.settle_within(connection, rig.queue, [Ack(got.receipt)])
        assert isinstance((await rig.results(rig.message()))[0], QueueFullError)
        async with rig.driver.transaction() as connection:
            await rig.driver.settle_within(connection, rig.queue, [Ack(got.receipt)])
        await rig.publish(rig.message())

    @case(CAN, "leases")
    async def test_46_renewals_do_not_wait_for_an_open_transaction(self, rig: Rig) -> None:
        if rig.driver.one_writer is not None:
            raise SkipTest(f"not applicable: driver {rig.driver.name} lets one transaction write at a time")
        await rig.publish(*rig.messages(2))
        settled, other = await rig.take(2)
        receipts = [settled.receipt, other.receipt]
        async with _rolled_back(rig.driver) as connection:
            await rig.driver.settle_within(connection, rig.queue, [Ack(settled.receipt)])
            async with asyncio.timeout(rig.suite.patience):
                assert list(await rig.driver.extend(rig.queue, receipts, rig.long * 4)) == []
        assert list(await rig.driver.extend(rig.queue, receipts, rig.long)) == []
        async with rig.driver.transaction() as connection:
            await rig.driver.settle_within(connection, rig.queue, [Ack(settled.receipt)])
        assert list(await rig.driver.extend(rig.queue, receipts, rig.long)) == [settled.receipt]

    @case(CAN, "leases")
    async def test_46_a_settlement_after_the_lease_counts(self, rig: Rig) -> None:
        await rig.publish(rig.message())
        got = await rig.one()
        await rig.advance(rig.long * 1.2)
        await rig.driver.depth(rig.queue)  # which may notice the end of the lease
        async with rig.driver.transaction() as connection:
            await rig.driver.settle_within(connection, rig.queue, [Ack(got.receipt)])
        await rig.nothing()

    @case(CAN)
    async def test_46_nothing_and_an_unknown_queue(self, rig: Rig) -> None:
        async with rig.driver.transaction() as connection:
            await rig.driver.settle_within(connection, rig.queue, [])
        async with _rolled_back(rig.driver) as connection:
            try:
                await rig.driver.settle_within(connection, "never-declared", [Ack(1)])
            except QueueNotFoundError:
                return
            raise AssertionError("QueueNotFoundError expected, and nothing was raised")

    @case(CAN)
    async def test_47_a_stale_receipt_undoes_the_transaction(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(*rig.messages(2))
        done, held = await rig.take(2)
        await rig.ack(done)
        for receipts in ([held.receipt, done.receipt], ["never given"], [held.receipt, held.receipt]):
            await _stale(rig, rig.driver, receipts)
        await rig.nothing(queue=rig.other)
        await rig.counts(0, 1, 0)
        await rig.ack(held)

    @case(CAN)
    async def test_47_a_transaction_that_settles_nothing_finds_what_is_stale(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(*rig.messages(2))
        done, held = await rig.take(2)
        await rig.ack(done)
        for receipts in ([held.receipt, done.receipt], ["never given"]):
            try:
                async with rig.driver.transaction() as connection:
                    await rig.driver.publish_within(connection, rig.other, [rig.message(id="no")])
                    await rig.driver.hold_within(connection, rig.queue, receipts, settles=False)
            except StaleReceiptError:
                continue
            raise AssertionError("a stale receipt was held")
        await rig.nothing(queue=rig.other)
        async with rig.driver.transaction() as connection:
            await rig.driver.hold_within(connection, rig.queue, [held.receipt], settles=False)
            await rig.driver.publish_within(connection, rig.other, [rig.message(id="yes")])
        assert await rig.drain(queue=rig.other) == ["yes"]
        await rig.counts(0, 1, 0)
        await rig.ack(held)

    @case(CAN, "leases")
    async def test_47_of_two_holders_one_commits(self, rig: Rig) -> None:
        await rig.declare(name=rig.other)
        await rig.publish(rig.message())
        before = await rig.one()
        await rig.advance(rig.long * 1.2)
        now = await rig.one()
        await _stale(rig, rig.driver, [before.receipt])
        async with rig.driver.transaction() as connection:
            await rig.driver.publish_within(connection, rig.other, [rig.message(id="now")])
            await rig.driver.settle_within(connection, rig.queue, [Ack(now.receipt)])
        assert await rig.drain(queue=rig.other) == ["now"]

    @case(CAN)
    async def test_48_a_key_is_claimed_once(self, rig: Rig) -> None:
        consumer = f"app:{rig.queue}"
        assert await _claimed(rig.driver, consumer, "k", b"\x00result") is None
        assert await _claimed(rig.driver, consumer, "k") == b"\x00result"
        assert await _claimed(rig.driver, consumer, "ключ") is None
        assert await _claimed(rig.driver, consumer, "ключ") == b""
        assert await _claimed(rig.driver, f"{consumer} 2", "k") is None

    @case(CAN)
    async def test_48_a_rollback_forgets_the_claim(self, rig: Rig) -> None:
        consumer = f"app:{rig.queue}"
        async with _rolled_back(rig.driver) as connection:
            assert await rig.driver.claim_within(connection, consumer, "k", 600.0) is None
            await rig.driver.remember_within(connection, consumer, "k", b"no")
        assert await _claimed(rig.driver, consumer, "k", b"yes") is None
        assert await _claimed(rig.driver, consumer, "k") == b"yes"

    @case(CAN)
    async def test_48_a_second_claim_waits_for_the_first(self, rig: Rig) -> None:
        consumer, other = f"app:{rig.queue}", await rig.elsewhere()
        async with rig.driver.transaction() as connection:
            assert await rig.driver.claim_within(connection, consumer, "k", 600.0) is None
            second = asyncio.create_task(_claimed(other, consumer, "k"))
            await asyncio.sleep(_SOON)
            assert not second.done()
            await rig.driver.remember_within(connection, consumer, "k", b"first")
        assert await second == b"first"

    @case(CAN)
    async def test_48_after_a_rollback_the_next_one_has_the_key(self, rig: Rig) -> None:
        consumer, other = f"app:{rig.queue}", await rig.elsewhere()
        async with _rolled_back(rig.driver) as connection:
            assert await rig.driver.claim_within(connection, consumer, "k", 600.0) is None
            second = asyncio.create_task(_claimed(other, consumer, "k", b"second"))
            await asyncio.sleep(_SOON)
        assert await second is None
        assert await _claimed(rig.driver, consumer, "k") == b"second"

    @case(CAN)
    async def test_48_a_key_is_forgotten_after_its_time(self, rig: Rig) -> None:
        consumer = f"app:{rig.queue}"
        assert await _claimed(rig.driver, consumer, "k", b"old", ttl=rig.long) is None
        assert await _claimed(rig.driver, consumer, "k") == b"old"
        await rig.advance(rig.long * 1.2)
        assert await _claimed(rig.driver, consumer, "k") is None
        assert await _claimed(rig.driver, consumer, "k") == b""


async def _claimed(
    driver: Driver, consumer: str, key: str, result: bytes | None = None, ttl: float = 600.0
) -> bytes | None:
    """Claim a key in a transaction, remember a result, and commit."""
    async with driver.transaction() as connection:
        found = await driver.claim_within(connection, consumer, key, ttl)
        if found is None and result is not None:
            await driver.remember_within(connection, consumer, key, result)
    return found


async def _stale(rig: Rig, driver: Driver, receipts: Sequence[Receipt]) -> None:
    """Settle receipts of which one is stale, after a publish, and try to commit that all the same."""
    was_told = False
    try:
        async with driver.transaction() as connection:
            await driver.publish_within(connection, rig.other, [rig.message()])
            try:
                await driver.settle_within(connection, rig.queue, [Ack(receipt) for receipt in receipts])
            except StaleReceiptError:
                was_told = True
    except Exception:
        assert was_told
    assert was_told, f"StaleReceiptError expected for {receipts}"


@asynccontextmanager
async def _rolled_back(driver: Driver) -> AsyncIterator[Any]:
    try:
        async with driver.transaction() as connection:
            yield connection
            raise RolledBackError
    except RolledBackError:
        pass
