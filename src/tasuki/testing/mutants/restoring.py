"""Mutants of receipts after the broker's data was put back to an earlier state."""

# The name of a mutant says what it breaks.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tasuki.contracts.driver import Ack, Driver, Nack, Receipt, Received, Release, Settlement
from tasuki.testing.mutants.mutant import Mutant


class _ReceiptsByNumber(Mutant):
    """An old receipt settles the delivery that has its number now: of the same id, whichever driver holds it."""

    kind: ClassVar[type[Ack] | type[Nack] | type[Release]]
    needs = "durable"
    newest: ClassVar[dict[tuple[str, str], tuple[Driver, Receipt]]] = {}

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._ids: dict[Receipt, str] = {}

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        received = await super().receive(queue, limit, wait)
        for each in received:
            self._ids[each.receipt] = each.id
            self.newest[queue, each.id] = self.inner, each.receipt
        return received

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = list(await super().settle(queue, batch))
        for item in batch:
            found = self.newest.get((queue, self._ids.get(item.receipt, "")))
            if item.receipt not in stale or not isinstance(item, self.kind) or found is None:
                continue
            driver, receipt = found
            if receipt != item.receipt and not await driver.settle(queue, [self.kind(receipt)]):
                stale.remove(item.receipt)
        return stale


class OldReceiptsAck(_ReceiptsByNumber):
    """As by numbers that are counted from where the data was put back to."""

    noticed_by = ("test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing",)
    kind = Ack


class OldReceiptsNack(_ReceiptsByNumber):
    """The same, for a nack."""

    noticed_by = ("test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing",)
    kind = Nack


class OldReceiptsRelease(_ReceiptsByNumber):
    """The same, for a release."""

    noticed_by = ("test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing",)
    kind = Release


class OldReceiptsExtend(Mutant):
    """The lease of an old receipt is renewed, as the driver does not ask the broker."""

    noticed_by = ("test_54_a_receipt_from_before_the_data_was_put_back_settles_nothing",)
    needs = "durable"

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        await super().extend(queue, batch, lease)
        return []
