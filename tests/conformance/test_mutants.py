"""The suite notices: mutants of the memory driver from within, and the mutants of any driver on one with a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Capabilities,
    Depth,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import DriverError
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tasuki.testing.mutants import MUTANTS, Mutant, Unbroken, noticed
from tests.conformance.mutate import suite_of

SQLITE = suite_of("sqlite")
CASES = sorted({name for mutant in MUTANTS for name in mutant.noticed_by})


class NackIsLostWhenFull(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        most = self._queue(queue).spec.max_length
        if most is not None and self._queues[queue].total >= most:
            batch = [Ack(item.receipt) if isinstance(item, Nack) else item for item in batch]
        return await super().settle(queue, batch)


class ReleaseIsLostWhenFull(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        most = self._queue(queue).spec.max_length
        if most is not None and self._queues[queue].total >= most:
            batch = [Ack(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, batch)


class DelayedComesEarly(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, delay=item.delay * 0.8) for item in batch])


class ReleaseGoesToTheTail(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        for item in batch:
            if isinstance(item, Release) and item.receipt in self._queue(queue).held:
                self._queues[queue].held[item.receipt].number = next(self._numbers)
        return await super().settle(queue, batch)


class AnyReceiptEndsTheDelivery(MemoryDriver):
    """Redis' XACK does not look at the owner: an old receipt removes what another receiver holds."""

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if await super().settle(queue, batch) and self._queues[queue].held:
            self._queues[queue].held.popitem()
        return ()


class NobodyIsWoken(MemoryDriver):
    async def _wait(self, *arguments: Any) -> list[Received]:
        await asyncio.get_running_loop().create_future()
        return []


class WakeUpIsLostWithItsReceiver(MemoryDriver):
    async def _wait(self, source: Any, limit: int, wait: float) -> list[Received]:
        source.can_give = lambda: False
        return await super()._wait(source, limit, wait)


class CloseDoesNotWake(MemoryDriver):
    async def close(self) -> None:
        waiters = [(queue, queue.waiters) for queue in self._queues.values()]
        for queue, _ in waiters:
            queue.waiters = WaitList()
        await super().close()
        for queue, waiting in waiters:
            queue.waiters = waiting


class CloseKeepsHeld(MemoryDriver):
    async def close(self) -> None:
        held = [(queue, queue.held) for queue in self._queues.values()]
        for queue, _ in held:
            queue.held = {}
        await super().close()
        for queue, holding in held:
            queue.held = holding


class CloseStopsAtADeletedQueue(MemoryDriver):
    has_deleted = False

    async def delete(self, queue: str) -> None:
        await super().delete(queue)
        self.has_deleted = True

    async def close(self) -> None:
        held = [(queue, queue.held) for queue in self._queues.values()] if self.has_deleted else []
        for queue, _ in held:
            queue.held = {}
        await super().close()
        for queue, holding in held:
            queue.held = holding


class CloseForgetsQueues(MemoryDriver):
    async def close(self) -> None:
        await super().close()
        for queue in self._queues:
            self._known.forget(queue)


class CloseTwiceFails(MemoryDriver):
    async def close(self) -> None:
        if self._guard.current is None:
            raise DriverError("not open")
        await super().close()


class DeclaringAgainEmpties(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        self._queues.pop(spec.name, None)
        await super().declare(spec)


class DeclaringAgainChangesNothing(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        if spec.name not in self._queues:
            await super().declare(spec)


class PublisherIsNotIsolated(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        results = await super().publish(queue, batch)
        for slot, item in zip(reversed(self._queues[queue].plain.fresh), reversed(batch), strict=False):
            slot.headers = item.headers
        return results


class ReceiverIsNotIsolated(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        for item in taken:
            item.headers = self._queues[queue].held[item.receipt].headers
        return taken


class UnknownQueueIsAKeyError(MemoryDriver):
    async def depth(self, queue: str) -> Depth:
        self._queues[queue]
        return await super().depth(queue)


class QueuesAreMixed(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(min(self._queues) if queue in self._queues else queue, batch)


class KeyIsIgnored(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, ordering="none"))


class FailedKeyIsOvertaken(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        source = self._queue(queue)
        for item in batch:
            slot = source.held.get(item.receipt)
            if isinstance(item, Nack) and item.delay and slot is not None:
                source.leave(slot)
                slot.key = None
        return await super().settle(queue, batch)


class HeldMessagesTakeNoRoom(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        source = self._queue(queue)
        source.total -= len(source.held)
        try:
            return await super().publish(queue, batch)
        finally:
            source.total += len(source.held)


class PurgeTakesHeld(MemoryDriver):
    async def purge(self, queue: str) -> int:
        source = self._queue(queue)
        removed, source.held = await super().purge(queue), {}
        return removed


class PurgeForgetsDelayed(MemoryDriver):
    async def purge(self, queue: str) -> int:
        delayed = self._queue(queue).delayed
        removed = await super().purge(queue)
        self._queue(queue).delayed = delayed
        return removed


class DuplicateStartsTheWindowAnew(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        results = await super().publish(queue, batch)
        known = self._queue(queue).known
        known.update((item.id, self._clock.monotonic()) for item in batch if item.id in known)
        return results


class DuplicateIsAnError(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        before = self._queue(queue).total
        results = await super().publish(queue, batch)
        if any(results) or self._queue(queue).total == before + len(batch):
            return results
        return [DriverError("known") for _ in batch]


class AckForgetsTheId(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        target = self._queue(queue)
        for item in batch:
            if isinstance(item, Ack) and item.receipt in target.held:
                target.known.pop(target.held[item.receipt].id, None)
        return await super().settle(queue, batch)


class NackForgetsTheId(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        target = self._queue(queue)
        for item in batch:
            if isinstance(item, Nack) and item.receipt in target.held:
                target.known.pop(target.held[item.receipt].id, None)
        return await super().settle(queue, batch)


class DuplicatesWithinABatchAreStored(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        target = self._queue(queue)
        known: set[str] = set(target.known)
        seen: set[str] = set()
        twice: list[Outgoing] = []
        for item in batch:
            if item.id in seen:
                twice.append(item)
            elif item.id not in known:
                seen.add(item.id)
        results = await super().publish(queue, batch)
        await super().publish(queue, [msgspec.structs.replace(item, deduplicate=False) for item in twice])
        return results


class RejectedIdIsKnown(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        target = self._queue(queue)
        try:
            return await super().publish(queue, batch)
        finally:
            if target.spec.dedup_window is not None:
                target.known.update((item.id, self._clock.monotonic()) for item in batch)


class IdsOfAllQueuesAreOne(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        self._queues[spec.name].known = self.__dict__.setdefault("shared", {})


class DeletedQueueIsOnlyEmptied(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self._queue(queue).let_go()
        await self.purge(queue)


class DeletedQueueComesBackWithItsMessages(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self.gone = {queue: self._queue(queue)}
        await super().delete(queue)

    async def declare(self, spec: QueueSpec) -> None:
        if spec.name in getattr(self, "gone", {}):
            self._queues[spec.name] = self.gone.pop(spec.name)
        await super().declare(spec)


class DeletingLeavesWaitersWaiting(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self._queue(queue).waiters = WaitList()
        await super().delete(queue)


class ReplacesAHeldMessage(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        self._queue(spec.name).uniques.is_waiting = lambda unique: True  # type: ignore[method-assign]


class PurgeLeavesTheKeys(MemoryDriver):
    async def purge(self, queue: str) -> int:
        self._queue(queue).uniques.keep_only = lambda left: None  # type: ignore[method-assign]
        return await super().purge(queue)


class AReplacedMessageKeepsItsFailures(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        before = {slot.number: slot.failures for slot in self._queue(queue).peek()}
        answers = await super().publish(queue, batch)
        for slot in self._queue(queue).peek():
            slot.failures = before.get(slot.number, 0)
        return answers


INNER = [mutant for mutant in MemoryDriver.__subclasses__() if mutant.__module__ == __name__]

NOTICED_BY = {
    "AckForgetsTheId": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "AnyReceiptEndsTheDelivery": "test_09_the_second_settlement_is_stale",
    "CloseDoesNotWake": "test_17_close_is_idempotent_frees_and_wakes",
    "CloseForgetsQueues": "test_05_acked_is_gone",
    "CloseKeepsHeld": "test_17_close_is_idempotent_frees_and_wakes",
    "CloseStopsAtADeletedQueue": "test_17_a_close_releases_the_rest_where_a_queue_was_deleted",
    "CloseTwiceFails": "test_17_close_is_idempotent_frees_and_wakes",
    "DeclaringAgainChangesNothing": "test_22_one_at_a_time_and_in_order_per_key",
    "DeclaringAgainEmpties": "test_01_declaring_again_loses_nothing",
    "DelayedComesEarly": "test_07_delayed_is_hidden_for_at_least_the_delay",
    "DeletedQueueComesBackWithItsMessages": "test_27_a_deleted_queue_is_gone_with_all_that_it_held",
    "DeletedQueueIsOnlyEmptied": "test_27_a_deleted_queue_is_gone_with_all_that_it_held",
    "DeletingLeavesWaitersWaiting": "test_deleting_wakes_whoever_waits_and_leaves_other_queues_alone",
    "DuplicateIsAnError": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "DuplicateStartsTheWindowAnew": "test_an_id_may_come_again_after_the_window",
    "DuplicatesWithinABatchAreStored": "test_a_duplicate_of_a_delayed_message",
    "FailedKeyIsOvertaken": "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    "HeldMessagesTakeNoRoom": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "IdsOfAllQueuesAreOne": "test_ids_of_other_queues_are_not_known",
    "KeyIsIgnored": "test_22_one_at_a_time_and_in_order_per_key",
    "NackForgetsTheId": "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    "NackIsLostWhenFull": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "NobodyIsWoken": "test_03_at_most_limit_and_an_empty_receive_waits",
    "PublisherIsNotIsolated": "test_what_the_publisher_changes_later_is_not_seen",
    "PurgeForgetsDelayed": "test_purge_removes_all_kinds_of_waiting_messages",
    "PurgeLeavesTheKeys": "test_41_purge_frees_keys",
    "ReplacesAHeldMessage": "test_40_a_held_message_is_not_replaced",
    "AReplacedMessageKeepsItsFailures": "test_40_a_replaced_retry_begins_afresh",
    "PurgeTakesHeld": "test_24_purge_removes_what_is_not_held",
    "QueuesAreMixed": "test_24_a_message_published_during_a_purge_survives_it",
    "ReceiverIsNotIsolated": "test_what_a_receiver_changes_is_not_seen",
    "RejectedIdIsKnown": "test_32_a_forced_message_changes_nothing_in_what_is_known",
    "ReleaseGoesToTheTail": "test_12_one_publishers_order_is_kept",
    "ReleaseIsLostWhenFull": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "UnknownQueueIsAKeyError": "test_13_an_undeclared_queue_is_not_found",
    "WakeUpIsLostWithItsReceiver": "test_a_cancelled_waiter_passes_its_message_on",
}
"""A case that fails for each; trying them all for each would take minutes."""


def noticed_in(mutant: Callable[..., MemoryDriver], *cases: str, timeout: float = 5.0) -> str:
    """The first of the cases that fails, or an empty text."""

    class Suite(DriverConformance):
        patience = 0.5
        case_timeout = timeout

        def make_driver(self, place: Path, clock: ShiftedClock) -> MemoryDriver:
            return mutant("mutant", clock=clock)

    for name in cases:
        run = getattr(Suite(), name)
        try:
            run()
        except Exception:
            return name
    return ""


@pytest.mark.parametrize("mutant", INNER, ids=lambda mutant: mutant.__name__)
def test_the_suite_notices(mutant: type[MemoryDriver]) -> None:
    name = NOTICED_BY[mutant.__name__]
    assert noticed_in(mutant, name) == name


def test_the_original_passes() -> None:
    """In the cases that notice a mutant; ``test_memory.py`` runs them all."""
    assert noticed_in(MemoryDriver, *sorted(set(NOTICED_BY.values())), timeout=60.0) == ""


def test_each_mutant_names_cases_that_exist() -> None:
    assert len(MUTANTS) >= 70
    assert [name for mutant in MUTANTS for name in mutant.noticed_by if not hasattr(DriverConformance, name)] == []
    assert all(
        mutant.noticed_by and (not mutant.needs or Capabilities().has(mutant.needs) is False) for mutant in MUTANTS
    )


@pytest.mark.parametrize("case", CASES)
def test_a_driver_with_a_store_passes_unbroken(case: str) -> None:
    found, how = noticed(SQLITE, Unbroken, [case])
    assert not found, how


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_suite_notices_it_on_a_driver_with_a_store(mutant: type[Mutant]) -> None:
    """The same for all drivers is ``make mutate``: it takes minutes."""
    found, how = noticed(SQLITE, mutant)
    if how.startswith("not applicable"):
        pytest.skip(how)
    assert found, how
