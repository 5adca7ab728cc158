"""Mutants of settlements and leases."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.contracts.driver import (
    Ack,
    Nack,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.errors import DriverError
from tasuki.testing.mutants.mutant import Mutant


class AckDoesNothing(Mutant):
    noticed_by = ("test_05_acked_is_gone",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [item for item in batch if not isinstance(item, Ack)])


class NackAcks(Mutant):
    noticed_by = ("test_06_nacked_without_delay_is_back_at_once",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [Ack(item.receipt) if isinstance(item, Nack) else item for item in batch])


class ReleaseAcks(Mutant):
    noticed_by = ("test_a_nack_and_a_release_wake_a_waiting_receive", "test_all_kinds_in_one_batch")

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [Ack(item.receipt) if isinstance(item, Release) else item for item in batch])


class NackTakesItsTime(Mutant):
    noticed_by = ("test_06_nacked_without_delay_is_back_at_once",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        late = [Nack(item.receipt, item.delay or 30.0) if isinstance(item, Nack) else item for item in batch]
        return await super().settle(queue, late)


class NackDelayIsIgnored(Mutant):
    noticed_by = ("test_07_delayed_is_hidden_for_at_least_the_delay",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        plain = [Nack(item.receipt) if isinstance(item, Nack) else item for item in batch]
        return await super().settle(queue, plain)


class ReleaseCounts(Mutant):
    noticed_by = ("test_08_attempts_rise_and_a_release_does_not_count",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        counted = [Nack(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, counted)


class ReleasesAreSaidToCount(Mutant):
    noticed_by = ("test_08_a_release_counts_only_where_the_driver_says_so",)
    needs = "counts_attempts"

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        return True


class ReleasesCountUnsaid(Mutant):
    """As the default does in a driver whose broker counts each delivery."""

    noticed_by = ("test_08_a_release_counts_only_where_the_driver_says_so",)
    needs = "counts_attempts"

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        return False

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        counted = [Nack(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, counted)


class DelayedReleaseCounts(Mutant):
    noticed_by = ("test_a_delayed_release_is_hidden_and_counts_nothing",)
    needs = "counts_attempts"

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [_counted(item) for item in batch])


def _counted(item: Settlement) -> Settlement:
    return Nack(item.receipt, item.delay) if isinstance(item, Release) and item.delay else item


class ReleaseDelayIsIgnored(Mutant):
    noticed_by = ("test_a_delayed_release_is_hidden_and_counts_nothing",)
    needs = "counts_attempts"

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        plain = [Release(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, plain)


class NackDoesNotCount(Mutant):
    noticed_by = ("test_08_attempts_rise_and_a_release_does_not_count",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        free = [Release(item.receipt) if isinstance(item, Nack) and not item.delay else item for item in batch]
        return await super().settle(queue, free)


class StaleIsNotReported(Mutant):
    noticed_by = ("test_09_the_second_settlement_is_stale",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        await super().settle(queue, batch)
        return ()


class StaleIsRaised(Mutant):
    noticed_by = ("test_09_the_second_settlement_is_stale",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if await super().settle(queue, batch):
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
            await super().depth(queue)  # an ack that was sent may arrive although its sender gets an error
        except DriverError:
            self.holding = asyncio.create_task(self._hold(queue, [item.receipt for item in batch]))
            raise
        return await super().settle(queue, batch)

    async def _hold(self, queue: str, owed: Sequence[Receipt]) -> None:
        while True:
            try:
                await super().extend(queue, owed, 300.0)
            except DriverError:
                await asyncio.sleep(0.05)
            else:
                return

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if holding := getattr(self, "holding", None):
            await holding
        return await super().receive(queue, limit, wait)


class ExtendIsNeverStale(Mutant):
    noticed_by = ("test_11_extend_sets_the_lease_and_reports_stale_receipts",)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        await super().extend(queue, batch, lease)
        return ()


class ExtendNeedsItsLoop(Mutant):
    noticed_by = ("test_extend_from_another_thread_with_its_own_loop",)

    async def open(self) -> None:
        self._opened_on = asyncio.get_running_loop()
        await super().open()

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        if asyncio.get_running_loop() is not self._opened_on:
            raise RuntimeError("attached to a different loop")
        return await super().extend(queue, batch, lease)


class ExtendAdds(Mutant):
    needs = "leases"
    noticed_by = ("test_11_extend_sets_the_lease_and_reports_stale_receipts",)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        self.added = getattr(self, "added", 0.0) + lease
        return await super().extend(queue, batch, self.added)


class ErrorsAreNotKept(Mutant):
    noticed_by = ("test_38_peek_shows_the_last_error_and_its_time",)
    needs = "keeps_errors"

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [_with_error(item, "") for item in batch])


class EveryNackHasAnError(Mutant):
    noticed_by = ("test_38_an_error_stays_until_another_one_is_given",)
    needs = "keeps_errors"

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [_with_error(item, "none") for item in batch])


def _with_error(item: Settlement, error: str) -> Settlement:
    """A nack with this error in place of none, or, where it is empty, of its own."""
    if isinstance(item, Nack) and bool(item.error) is not bool(error):
        return Nack(item.receipt, item.delay, error)
    return item
