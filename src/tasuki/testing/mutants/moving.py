"""Mutants of moves and transfers."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from msgspec.structs import replace

from tasuki.contracts.driver import Ack, Driver, Move, Receipt, Received, Release, Settlement, Transfer, place_of
from tasuki.drivers.toolkit.results import Results
from tasuki.errors import DriverError, MessageNotFoundError, QueueFullError, StaleReceiptError
from tasuki.message import Message
from tasuki.testing.mutants.mutant import Mutant, MutantTable

_TABLE = MutantTable(__name__)
transfers = _TABLE.given("transfer")

_TABLE.answer("move")(
    "AMoveHidesWhatIsStale",
    "test_36_a_stale_receipt_is_told",
    lambda results: [None if isinstance(result, StaleReceiptError) else result for result in results],
)
_TABLE.given("move")(
    "MovedMessagesLoseTheirLane",
    "test_43_moved_messages_enter_their_lane",
    lambda move: replace(move, messages=tuple(replace(each, lane="") for each in move.messages)),
)
# It takes out the oldest message of the id, whichever one was read.
transfers(
    "TransferTakesAnyOfAnId",
    "test_57_a_transfer_takes_out_the_message_at_its_place",
    lambda each: replace(each, place=""),
)
transfers("TransferForgetsTheDelay", "test_50_a_delayed_message_waits_too", lambda each: _changed(each, delay=0.0))
transfers(
    "TransferForgetsThePriority", "test_50_the_stored_message_has_its_priority", lambda each: _changed(each, priority=0)
)
transfers("TransferForgetsTheKey", "test_50_the_order_of_a_key_is_kept", lambda each: _changed(each, key=None))
transfers("TransferForgetsTheLane", "test_50_limits_and_lanes", lambda each: _changed(each, lane=""))


class AMoveAcksNothing(Mutant):
    noticed_by = ("test_36_a_move_acks_and_stores",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        for move in batch:
            if move.messages:
                await self.publish(move.to, move.messages)
        return ()


class AMoveAcksFirst(Mutant):
    noticed_by = ("test_36_a_full_queue_leaves_the_delivery_held",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        await self.settle(queue, [Ack(move.receipt) for move in batch])
        return await self.inner.move(queue, batch)


class AMoveIsTwoSteps(Mutant):
    noticed_by = ("test_36_a_stale_receipt_stores_nothing",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        return await Driver.move(self, queue, batch)


class AMoveStoresAPart(Mutant):
    noticed_by = ("test_36_all_messages_of_a_move_or_none",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        results: list[DriverError | None] = []
        for move in batch:
            for message in move.messages[1:]:
                await self.publish(move.to, [message])
            first = replace(move, messages=move.messages[:1])
            results += await self.inner.move(queue, [first]) or [None]
        return results


class TransferHoldsWhatItTakes(Mutant):
    """It receives, publishes and acks, as everything could before."""

    noticed_by = ("test_50_of_many_callers_one_does_it", "test_50_some_among_many", "test_50_limits_and_lanes")

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        left = {each.id: each for each in batch}
        others: list[Received] = []
        while left and (taken := await self.receive(queue, 100, 0.0)):
            for received in taken:
                if (transfer := left.pop(received.id, None)) is None:
                    others.append(received)
                    continue
                await self.publish(transfer.to, [transfer.message])
                await self.settle(queue, [Ack(received.receipt)])
        await self.settle(queue, [Release(received.receipt) for received in others])
        return [_missing(each) if each.id in left else None for each in batch]


class TransferIsTwoSteps(Mutant):
    noticed_by = ("test_50_of_many_callers_one_does_it",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        results: list[DriverError | None] = []
        for each in batch:
            await self.publish(each.to, [replace(each.message, deduplicate=False)])
            await asyncio.sleep(0)
            results.append(None if await self.remove(queue, [each.id]) else _missing(each))
        return results


class TransferStoresWhatIsMissing(Mutant):
    noticed_by = ("test_50_what_does_not_wait_is_missing",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        results = await _each(self.inner, queue, batch)
        for each, result in zip(batch, results, strict=True):
            if isinstance(result, MessageNotFoundError):
                await self.publish(each.to, [each.message])
        return results


class TransferTakesHeldMessages(Mutant):
    noticed_by = ("test_50_what_does_not_wait_is_missing", "test_50_a_shown_message_that_is_held_is_missing")

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._held: dict[str, Receipt] = {}

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        self._held.update((one.id, one.receipt) for one in taken)
        return taken

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        await self.settle(queue, [Release(self._held[each.id]) for each in batch if each.id in self._held])
        return await self.inner.transfer(queue, batch)


class TransferLosesWhatFindsNoRoom(Mutant):
    noticed_by = ("test_50_a_full_queue_leaves_the_message",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        results = await _each(self.inner, queue, batch)
        full = [each.id for each, result in zip(batch, results, strict=True) if isinstance(result, QueueFullError)]
        await self.remove(queue, full)
        return results


class TransferFindsNoRoomForItself(Mutant):
    """A full queue refuses a message that was its own."""

    noticed_by = ("test_50_within_one_queue_no_room_is_needed",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        results: list[DriverError | None] = []
        for each in batch:
            try:
                await self.publish(each.to, [each.message])
            except DriverError as error:
                results.append(error)
            else:
                results.append(None if await self.remove(queue, [each.id]) else _missing(each))
        return results


class TransferIsADuplicate(Mutant):
    noticed_by = ("test_50_a_known_id_is_stored",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        await self.publish(batch[0].to, [each.message for each in batch])
        await self.remove(queue, [each.id for each in batch])
        return ()


class TransferTakesAllOfAnId(Mutant):
    noticed_by = ("test_50_of_several_messages_of_an_id_one_leaves",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        results = await self.inner.transfer(queue, batch)
        await self.remove(queue, [each.id for each in batch])
        return results


class TransferLooksElsewhere(Mutant):
    """It takes out another message of the id where the one that is named has gone."""

    noticed_by = ("test_57_what_has_left_its_place_is_missing",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        results = await _each(self.inner, queue, batch)
        again = [each for each, told in zip(batch, results, strict=True) if isinstance(told, MessageNotFoundError)]
        others = iter(await _each(self.inner, queue, [replace(each, place="") for each in again]))
        return [next(others) if isinstance(told, MessageNotFoundError) else told for told in results]


class TransferTrustsThePlace(Mutant):
    """It takes out whatever is at the place, whichever id is asked for."""

    noticed_by = ("test_57_what_has_left_its_place_is_missing",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        ids = {place_of(each): each.id for each in await self.inner.peek(queue, 100)}
        batch = [replace(each, id=ids.get(each.place, each.id)) for each in batch]
        return await self.inner.transfer(queue, batch)


class APlaceEndsWithADelivery(Mutant):
    """A message that comes back is at another place."""

    noticed_by = ("test_57_a_place_is_kept_past_nacks_and_releases",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._count = 0

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        self._count += 1
        return await self.inner.receive(queue, limit, wait)

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        found = await self.inner.find(queue, ids)
        return [replace(each, place=f"{place_of(each)}{self._count}") for each in found]


class TransferMissesWhatIsDelayed(Mutant):
    noticed_by = ("test_50_a_delayed_message_waits_too",)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        if (await self.depth(queue)).delayed:
            return [_missing(each) for each in batch]
        return await self.inner.transfer(queue, batch)


class TransferKeepsToWhatWasShown(Mutant):
    """It looks for a message where ``peek`` has shown it, and nowhere else."""

    noticed_by = ("test_50_a_message_is_found_where_it_is_now",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._gone: set[str] = set()

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        self._gone |= {message.id for message in await self.peek(queue, 100)}
        return await self.inner.settle(queue, batch)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        found = [each for each in batch if each.id in self._gone]
        told = iter(await _each(self.inner, queue, found))
        return [next(told) if each.id in self._gone else _missing(each) for each in batch]


class TransferWakesNobody(Mutant):
    """A waiting receive sees the message at the end of its wait only."""

    noticed_by = ("test_50_a_waiting_receive_is_woken", "test_50_what_may_follow_wakes_a_receive")

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if taken := await self.inner.receive(queue, limit, 0.0):
            return taken
        await asyncio.sleep(wait)
        return await self.inner.receive(queue, limit, 0.0)


async def _each(driver: Driver, queue: str, batch: Sequence[Transfer]) -> list[DriverError | None]:
    """One result a transfer."""
    try:
        return [*await driver.transfer(queue, batch)] or [None] * len(batch)
    except DriverError as error:
        return [error] * len(batch)


def _changed(transfer: Transfer, **fields: Any) -> Transfer:
    return Transfer(transfer.id, transfer.to, replace(transfer.message, **fields))


def _missing(transfer: Transfer) -> MessageNotFoundError:
    return MessageNotFoundError(f"no message {transfer.id!r} waits")
