"""Mutants of settlements and claims in a transaction of the caller's."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tasuki.contracts.driver import Answers, Outgoing, QueueSpec, Receipt, Settlement
from tasuki.drivers.toolkit.held import HeldReceipts
from tasuki.errors import KeyBusyError, StaleReceiptError
from tasuki.testing.mutants.mutant import Mutant


class _OfTransactions(Mutant):
    needs = "transactional_settle"


class ATransactionSettlesNothing(_OfTransactions):
    noticed_by = ("test_46_the_commit_settles",)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        return


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


class AKeyIsClaimedByAll(_OfTransactions):
    noticed_by = ("test_48_a_key_is_claimed_once",)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        await self.inner.claim_within(connection, consumer, key, ttl)
        return None


class ARollbackForgetsNoClaim(_OfTransactions):
    noticed_by = ("test_48_a_rollback_forgets_the_claim",)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        async with self.inner.transaction() as other:
            return await self.inner.claim_within(other, consumer, key, ttl)


class AClaimRemembersNothing(_OfTransactions):
    noticed_by = ("test_48_a_key_is_claimed_once",)

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        return


class AClaimNeverEnds(_OfTransactions):
    noticed_by = ("test_48_a_key_is_forgotten_after_its_time",)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        return await self.inner.claim_within(connection, consumer, key, ttl * 1000)


class KeysOfAllConsumersAreOne(_OfTransactions):
    noticed_by = ("test_48_a_key_is_claimed_once",)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        return await self.inner.claim_within(connection, "", key, ttl)

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        await self.inner.remember_within(connection, "", key, result)
