"""Mutants of moves."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Driver,
    Move,
)
from tasuki.drivers.toolkit.results import Results
from tasuki.errors import DriverError, StaleReceiptError
from tasuki.testing.mutants.mutant import Mutant


class AMoveAcksNothing(Mutant):
    noticed_by = ("test_36_a_move_acks_and_stores",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        for move in batch:
            if move.messages:
                await self.publish(move.to, move.messages)
        return ()


class AMoveAcksFirst(Mutant):
    noticed_by = ("test_36_a_full_queue_leaves_the_delivery_held",)
    needs = "max_length"

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        await self.settle(queue, [Ack(move.receipt) for move in batch])
        return await super().move(queue, batch)


class AMoveIsTwoSteps(Mutant):
    noticed_by = ("test_36_a_stale_receipt_stores_nothing",)
    needs = "atomic_move"

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        return await Driver.move(self, queue, batch)


class AMoveStoresAPart(Mutant):
    noticed_by = ("test_36_all_messages_of_a_move_or_none",)
    needs = "atomic_move"

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        results: list[DriverError | None] = []
        for move in batch:
            for message in move.messages[1:]:
                await self.publish(move.to, [message])
            first = msgspec.structs.replace(move, messages=move.messages[:1])
            results += await self.inner.move(queue, [first]) or [None]
        return results


class AMoveHidesWhatIsStale(Mutant):
    noticed_by = ("test_36_a_stale_receipt_is_told",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        results = await self.inner.move(queue, batch)
        return [None if isinstance(result, StaleReceiptError) else result for result in results]
