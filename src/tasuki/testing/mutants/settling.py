"""Mutants of settlements and leases, and of settlements and claims in a transaction of the caller's."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tasuki.contracts.driver import Ack, Answers, Nack, Outgoing, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.toolkit.guard import HeldReceipts
from tasuki.errors import DriverError, KeyBusyError, StaleReceiptError
from tasuki.testing.mutants.mutant import Mutant, MutantTable

_TABLE = MutantTable(__name__)
settles = _TABLE.given("settle")

settles("AckDoesNothing", "test_05_acked_is_gone", lambda each: None if isinstance(each, Ack) else each)
settles(
    "NackAcks",
    "test_06_nacked_without_delay_is_back_at_once",
    lambda each: Ack(each.receipt) if isinstance(each, Nack) else each,
)
settles(
    "ReleaseAcks",
    ("test_a_nack_and_a_release_wake_a_waiting_receive", "test_all_kinds_in_one_batch"),
    lambda each: Ack(each.receipt) if isinstance(each, Release) else each,
)
settles(
    "NackTakesItsTime",
    "test_06_nacked_without_delay_is_back_at_once",
    lambda each: Nack(each.receipt, each.delay or 30.0) if isinstance(each, Nack) else each,
)
settles(
    "NackDelayIsIgnored",
    "test_07_delayed_is_hidden_for_at_least_the_delay",
    lambda each: Nack(each.receipt) if isinstance(each, Nack) else each,
)
settles(
    "NackDoesNotCount",
    "test_08_attempts_rise_and_a_release_does_not_count",
    lambda each: Release(each.receipt) if isinstance(each, Nack) and not each.delay else each,
)
settles(
    "ReleaseCounts",
    "test_08_attempts_rise_and_a_release_does_not_count",
    lambda each: Nack(each.receipt) if isinstance(each, Release) else each,
)
settles(
    "DelayedReleaseCounts",
    "test_a_delayed_release_is_hidden_and_counts_nothing",
    lambda each: Nack(each.receipt, each.delay) if isinstance(each, Release) and each.delay else each,
)
settles(
    "ReleaseDelayIsIgnored",
    "test_a_delayed_release_is_hidden_and_counts_nothing",
    lambda each: Release(each.receipt) if isinstance(each, Release) else each,
)
settles(
    "ErrorsAreNotKept",
    "test_38_peek_shows_the_last_error_and_its_time",
    lambda each: Nack(each.receipt, each.delay) if isinstance(each, Nack) else each,
)
settles(
    "EveryNackHasAnError",
    "test_38_an_error_stays_until_another_one_is_given",
    lambda each: Nack(each.receipt, each.delay, each.error or "none") if isinstance(each, Nack) else each,
)
_TABLE.instead("counts_releases")(
    "ReleasesAreSaidToCount",
    "test_08_a_release_counts_only_where_the_driver_says_so",
    lambda real, queue, receipt: True,
)
_TABLE.answer("settle")("StaleIsNotReported", "test_09_the_second_settlement_is_stale", lambda stale: ())
_TABLE.answer("extend")(
    "ExtendIsNeverStale", "test_11_extend_sets_the_lease_and_reports_stale_receipts", lambda stale: ()
)

WITHIN = "settle_within"
_TABLE.given("settle_within")("ATransactionSettlesNothing", "test_46_the_commit_settles", lambda each: None)
_TABLE.answer("claim_within")("AKeyIsClaimedByAll", "test_48_a_key_is_claimed_once", lambda result: None)
_TABLE.instead("claim_within")(
    "AClaimNeverEnds",
    "test_48_a_key_is_forgotten_after_its_time",
    lambda real, connection, consumer, key, ttl: real.claim_within(connection, consumer, key, ttl * 1000),
)


class ReleasesCountUnsaid(Mutant):
    """As the default does in a driver whose broker counts each delivery."""

    noticed_by = ("test_08_a_release_counts_only_where_the_driver_says_so",)

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        return False

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        counted = [Nack(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await self.inner.settle(queue, counted)


class StaleIsRaised(Mutant):
    noticed_by = ("test_09_the_second_settlement_is_stale",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if await self.inner.settle(queue, batch):
            raise DriverError("stale")
        return ()


class ALateSettlementIsRefused(Mutant):
    noticed_by = ("test_32_a_settlement_after_the_lease_is_taken",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await self.inner.extend(queue, [item.receipt for item in batch], 0.001)
        return [*stale, *(item.receipt for item in batch if item.receipt not in stale)]


class HoldsWhatItCouldNotSettle(Mutant):
    noticed_by = ("test_31_what_could_not_be_settled_comes_back",)
    needs = "leases"

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        try:
            await self.inner.depth(queue)  # an ack that was sent may arrive although its sender gets an error
        except DriverError:
            self.holding = asyncio.create_task(self._hold(queue, [item.receipt for item in batch]))
            raise
        return await self.inner.settle(queue, batch)

    async def _hold(self, queue: str, owed: Sequence[Receipt]) -> None:
        while True:
            try:
                await self.inner.extend(queue, owed, 300.0)
            except DriverError:
                await asyncio.sleep(0.05)
            else:
                return

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if holding := getattr(self, "holding", None):
            await holding
        return await self.inner.receive(queue, limit, wait)


class ExtendNeedsItsLoop(Mutant):
    noticed_by = ("test_extend_from_another_thread_with_its_own_loop",)

    async def open(self) -> None:
        self._opened_on = asyncio.get_running_loop()
        await self.inner.open()

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        if asyncio.get_running_loop() is not self._opened_on:
            raise RuntimeError("attached to a different loop")
        return await self.inner.extend(queue, batch, lease)


class ExtendAdds(Mutant):
    needs = "leases"
    noticed_by = ("test_11_extend_sets_the_lease_and_reports_stale_receipts",)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        self.added = getattr(self, "added", 0.0) + lease
        return await self.inner.extend(queue, batch, self.added)


class _OfTransactions(Mutant):
    needs = "settle_within"


class ATransactionSettlesFirst(_OfTransactions):
    noticed_by = ("test_46_a_rollback_leaves_the_deliveries_held",)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        async with self.inner.transaction() as other:
            await self.inner.settle_within(other, queue, batch)


class ATransactionHidesWhatIsStale(_OfTransactions):
    noticed_by = ("test_47_a_stale_receipt_undoes_the_transaction",)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        with suppress(StaleReceiptError):
            await self.inner.settle_within(connection, queue, batch)


class ATransactionOutlivesWhatIsStale(_OfTransactions):
    noticed_by = ("test_47_a_stale_receipt_undoes_the_transaction",)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        for each in batch:  # the receipts that are good first, and the bad ones in a transaction of their own
            async with self.inner.transaction() as other:
                await self.inner.settle_within(other, queue, [each])


class ATransactionThatSettlesNothingHoldsWhatIsStale(_OfTransactions):
    noticed_by = ("test_47_a_transaction_that_settles_nothing_finds_what_is_stale",)

    async def hold_within(self, connection: Any, queue: str, batch: Sequence[Receipt], *, settles: bool = True) -> None:
        with suppress(StaleReceiptError):
            await self.inner.hold_within(connection, queue, batch, settles=settles)


class ARenewalLosesWhatASettlementLocks(_OfTransactions):
    noticed_by = ("test_46_renewals_do_not_wait_for_an_open_transaction",)

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._settling: HeldReceipts[QueueSpec] = HeldReceipts()

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        await self.inner.settle_within(connection, queue, batch)
        self._settling.hold(queue, QueueSpec(queue), [each.receipt for each in batch])

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        locked = {receipt for _, _, receipts in self._settling.all() for receipt in receipts}
        return [*await self.inner.extend(queue, batch, lease), *(each for each in batch if each in locked)]


class AnOpenTransactionFailsAllThatAreJoined(_OfTransactions):
    noticed_by = ("test_56_a_transaction_that_keeps_a_key_holds_up_no_other_message",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = await self.inner.publish(queue, batch)
        for each in answers:
            if isinstance(each, KeyBusyError):
                raise each
        return answers


class ARollbackForgetsNoClaim(_OfTransactions):
    noticed_by = ("test_48_a_rollback_forgets_the_claim",)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        async with self.inner.transaction() as other:
            return await self.inner.claim_within(other, consumer, key, ttl)


class AClaimRemembersNothing(_OfTransactions):
    noticed_by = ("test_48_a_key_is_claimed_once",)

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        return


class KeysOfAllConsumersAreOne(_OfTransactions):
    noticed_by = ("test_48_a_key_is_claimed_once",)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        return await self.inner.claim_within(connection, "", key, ttl)

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        await self.inner.remember_within(connection, "", key, result)
