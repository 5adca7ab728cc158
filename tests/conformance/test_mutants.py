"""The suite notices: each mutant is the memory driver with one thing wrong, and at least one case fails for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import SkipTest

import msgspec
import pytest

from tasuki.contracts.driver import Ack, Depth, Nack, Outgoing, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import DriverError, QueueFullError
from tasuki.message import Message
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tests.conformance import mutate

Results = Sequence[DriverError | None]


class AckDoesNothing(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [item for item in batch if not isinstance(item, Ack)])


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


class HeadersAreDropped(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, headers={}) for item in batch])


class HeadersBecomeFloats(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        def turn(value: Any) -> Any:
            return float(value) if type(value) is int else value

        changed = [
            msgspec.structs.replace(item, headers={key: turn(value) for key, value in item.headers.items()})
            for item in batch
        ]
        return await super().publish(queue, changed)


class BodiesBecomeText(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        changed = [msgspec.structs.replace(item, body=item.body.decode(errors="replace").encode()) for item in batch]
        return await super().publish(queue, changed)


class IdsAreMadeAnew(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, id=f"x{item.id}") for item in batch])


class SameIdIsSwallowed(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        await super().publish(queue, list({item.id: item for item in batch}.values()))
        return ()


class DelayedComesEarly(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, delay=item.delay * 0.8) for item in batch])


class NackDelayIsIgnored(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        plain = [Nack(item.receipt) if isinstance(item, Nack) else item for item in batch]
        return await super().settle(queue, plain)


class NackTakesItsTime(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        late = [Nack(item.receipt, item.delay or 30.0) if isinstance(item, Nack) else item for item in batch]
        return await super().settle(queue, late)


class ReleaseCounts(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        counted = [Nack(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, counted)


class DelayedReleaseCounts(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        is_delayed = [isinstance(item, Release) and item.delay > 0 for item in batch]
        counted = [
            Nack(item.receipt, getattr(item, "delay", 0.0)) if delayed else item
            for item, delayed in zip(batch, is_delayed, strict=True)
        ]
        return await super().settle(queue, counted)


class ReleaseDelayIsIgnored(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        plain = [Release(item.receipt) if isinstance(item, Release) else item for item in batch]
        return await super().settle(queue, plain)


class NackDoesNotCount(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        free = [Release(item.receipt) if isinstance(item, Nack) and not item.delay else item for item in batch]
        return await super().settle(queue, free)


class ReleaseGoesToTheTail(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        for item in batch:
            if isinstance(item, Release) and item.receipt in self._queue(queue).held:
                self._queues[queue].held[item.receipt].number = next(self._numbers)
        return await super().settle(queue, batch)


class StaleIsNotReported(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        await super().settle(queue, batch)
        return ()


class StaleIsRaised(MemoryDriver):
    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if await super().settle(queue, batch):
            raise DriverError("stale")
        return ()


class AnyReceiptEndsTheDelivery(MemoryDriver):
    """Redis' XACK does not look at the owner: an old receipt removes what another receiver holds."""

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if await super().settle(queue, batch) and self._queues[queue].held:
            self._queues[queue].held.popitem()
        return ()


class LimitIsIgnored(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return await super().receive(queue, limit + 1, wait)


class WaitIsIgnored(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return await super().receive(queue, limit, 0.0)


class NothingIsHeld(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        await super().settle(queue, [Release(item.receipt) for item in taken])
        return taken


class CancelledReceiveLoses(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        await asyncio.sleep(0)
        return taken


class NobodyIsWoken(MemoryDriver):
    async def _woken(self, *arguments: Any) -> bool:
        await asyncio.get_running_loop().create_future()
        return False


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


class CloseForgetsQueues(MemoryDriver):
    async def close(self) -> None:
        await super().close()
        self._queues.clear()


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
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
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


class QueuesAppearByThemselves(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        if queue not in self._queues:
            await self.declare(QueueSpec(queue))
        return await super().publish(queue, batch)


class UnknownQueueIsAKeyError(MemoryDriver):
    async def depth(self, queue: str) -> Depth:
        self._queues[queue]
        return await super().depth(queue)


class QueuesAreMixed(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(min(self._queues) if queue in self._queues else queue, batch)


class PriorityIsIgnored(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, priority=0) for item in batch])


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


class OrderIsTurnedRound(MemoryDriver):
    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return (await super().receive(queue, limit, wait))[::-1]


class FullQueueDropsSilently(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        try:
            await super().publish(queue, batch)
        except QueueFullError:
            pass
        return ()


class OneForAll(MemoryDriver):
    """A batch that is partly stored is reported as rejected."""

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        results = await super().publish(queue, batch)
        for error in results:
            if error is not None:
                raise error
        return results


class BoundIsIgnored(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, max_length=None))


class HeldMessagesTakeNoRoom(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        source = self._queue(queue)
        source.total -= len(source.held)
        try:
            return await super().publish(queue, batch)
        finally:
            source.total += len(source.held)


class ExtendIsNeverStale(MemoryDriver):
    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        await super().extend(queue, batch, lease)
        return ()


class ExtendNeedsItsLoop(MemoryDriver):
    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super().open()

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("attached to a different loop")
        return await super().extend(queue, batch, lease)


class DepthForgetsHeld(MemoryDriver):
    async def depth(self, queue: str) -> Depth:
        return replace(await super().depth(queue), in_flight=0)


class AgeOfTheYoungest(MemoryDriver):
    async def depth(self, queue: str) -> Depth:
        depth = await super().depth(queue)
        return replace(depth, oldest_age=0.0 if depth.ready else None)


class PeekTakes(MemoryDriver):
    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        return list(await self.receive(queue, limit, 0.0))


class PurgeTakesHeld(MemoryDriver):
    async def purge(self, queue: str) -> int:
        source = self._queue(queue)
        removed, source.held = await super().purge(queue), {}
        return removed


class PurgeTakesWhatComesMeanwhile(MemoryDriver):
    async def purge(self, queue: str) -> int:
        removed = 0
        while count := await super().purge(queue):
            removed += count
            await asyncio.sleep(0)
        return removed


class PurgeForgetsDelayed(MemoryDriver):
    async def purge(self, queue: str) -> int:
        delayed = self._queue(queue).delayed
        removed = await super().purge(queue)
        self._queue(queue).delayed = delayed
        return removed


class DuplicatesAreStored(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, dedup_window=None))


class WindowNeverEnds(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, dedup_window=spec.dedup_window and spec.dedup_window * 1000))


class WindowEndsEarly(MemoryDriver):
    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, dedup_window=spec.dedup_window and spec.dedup_window / 1000))


class DuplicateStartsTheWindowAnew(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        results = await super().publish(queue, batch)
        known = self._queue(queue).known
        known.update((item.id, self._clock.monotonic()) for item in batch if item.id in known)
        return results


class ForcedDuplicateIsSwallowed(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, deduplicate=True) for item in batch])


class DuplicateIsAnError(MemoryDriver):
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
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
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
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
    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
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
        self.__dict__.setdefault("gone", {})[queue] = self._queue(queue)
        await super().delete(queue)

    async def declare(self, spec: QueueSpec) -> None:
        if spec.name in self.__dict__.get("gone", {}):
            self._queues[spec.name] = self.__dict__["gone"].pop(spec.name)
        await super().declare(spec)


class DeletingLeavesWaitersWaiting(MemoryDriver):
    async def delete(self, queue: str) -> None:
        self._queue(queue).waiters = WaitList()
        await super().delete(queue)


MUTANTS = [mutant for mutant in MemoryDriver.__subclasses__() if mutant.__module__ == __name__]

NOTICED_BY = {
    "AckDoesNothing": "test_05_acked_is_gone",
    "AckForgetsTheId": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "AgeOfTheYoungest": "test_the_age_of_the_oldest_ready_message",
    "AnyReceiptEndsTheDelivery": "test_09_the_second_settlement_is_stale",
    "BodiesBecomeText": "test_02_body_id_and_headers_arrive_unchanged",
    "BoundIsIgnored": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "CancelledReceiveLoses": "test_16_a_cancelled_receive_loses_nothing",
    "CloseDoesNotWake": "test_17_close_is_idempotent_frees_and_wakes",
    "CloseForgetsQueues": "test_05_acked_is_gone",
    "CloseKeepsHeld": "test_17_close_is_idempotent_frees_and_wakes",
    "CloseTwiceFails": "test_17_close_is_idempotent_frees_and_wakes",
    "DeclaringAgainChangesNothing": "test_22_one_at_a_time_and_in_order_per_key",
    "DeclaringAgainEmpties": "test_01_declaring_again_loses_nothing",
    "DelayedComesEarly": "test_07_delayed_is_hidden_for_at_least_the_delay",
    "DeletedQueueComesBackWithItsMessages": "test_27_a_deleted_queue_is_gone_with_all_that_it_held",
    "DeletedQueueIsOnlyEmptied": "test_27_a_deleted_queue_is_gone_with_all_that_it_held",
    "DeletingLeavesWaitersWaiting": "test_deleting_wakes_whoever_waits_and_leaves_other_queues_alone",
    "DepthForgetsHeld": "test_depth_is_exact",
    "DuplicateIsAnError": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "DelayedReleaseCounts": "test_a_delayed_release_is_hidden_and_counts_nothing",
    "DuplicateStartsTheWindowAnew": "test_an_id_may_come_again_after_the_window",
    "DuplicatesAreStored": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "DuplicatesWithinABatchAreStored": "test_a_duplicate_of_a_delayed_message",
    "ExtendIsNeverStale": "test_11_extend_sets_the_lease_and_reports_stale_receipts",
    "ExtendNeedsItsLoop": "test_extend_from_another_thread_with_its_own_loop",
    "FailedKeyIsOvertaken": "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    "ForcedDuplicateIsSwallowed": "test_26_a_known_id_is_confirmed_and_not_stored_again",
    "FullQueueDropsSilently": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "HeadersAreDropped": "test_02_body_id_and_headers_arrive_unchanged",
    "HeadersBecomeFloats": "test_header_types_are_kept",
    "HeldMessagesTakeNoRoom": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "IdsAreMadeAnew": "test_01_declaring_again_loses_nothing",
    "IdsOfAllQueuesAreOne": "test_ids_of_other_queues_are_not_known",
    "KeyIsIgnored": "test_22_one_at_a_time_and_in_order_per_key",
    "LimitIsIgnored": "test_03_at_most_limit_and_an_empty_receive_waits",
    "NackDelayIsIgnored": "test_07_delayed_is_hidden_for_at_least_the_delay",
    "NackDoesNotCount": "test_08_attempts_rise_and_a_release_does_not_count",
    "NackForgetsTheId": "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    "NackIsLostWhenFull": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "NackTakesItsTime": "test_06_nacked_without_delay_is_back_at_once",
    "NobodyIsWoken": "test_03_at_most_limit_and_an_empty_receive_waits",
    "NothingIsHeld": "test_03_at_most_limit_and_an_empty_receive_waits",
    "OneForAll": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "OrderIsTurnedRound": "test_01_declaring_again_loses_nothing",
    "PeekTakes": "test_24_peek_shows_without_receiving",
    "PriorityIsIgnored": "test_21_higher_priority_comes_first",
    "PublisherIsNotIsolated": "test_what_the_publisher_changes_later_is_not_seen",
    "PurgeForgetsDelayed": "test_purge_removes_all_kinds_of_waiting_messages",
    "PurgeTakesHeld": "test_24_purge_removes_what_is_not_held",
    "PurgeTakesWhatComesMeanwhile": "test_24_a_message_published_during_a_purge_survives_it",
    "QueuesAppearByThemselves": "test_13_an_undeclared_queue_is_not_found",
    "QueuesAreMixed": "test_24_a_message_published_during_a_purge_survives_it",
    "ReceiverIsNotIsolated": "test_what_a_receiver_changes_is_not_seen",
    "RejectedIdIsKnown": "test_32_a_forced_message_changes_nothing_in_what_is_known",
    "ReleaseCounts": "test_08_attempts_rise_and_a_release_does_not_count",
    "ReleaseDelayIsIgnored": "test_a_delayed_release_is_hidden_and_counts_nothing",
    "ReleaseGoesToTheTail": "test_12_one_publishers_order_is_kept",
    "ReleaseIsLostWhenFull": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "SameIdIsSwallowed": "test_23_a_full_queue_rejects_in_order_and_takes_back",
    "StaleIsNotReported": "test_09_the_second_settlement_is_stale",
    "StaleIsRaised": "test_09_the_second_settlement_is_stale",
    "UnknownQueueIsAKeyError": "test_13_an_undeclared_queue_is_not_found",
    "WaitIsIgnored": "test_03_at_most_limit_and_an_empty_receive_waits",
    "WakeUpIsLostWithItsReceiver": "test_a_cancelled_waiter_passes_its_message_on",
    "WindowEndsEarly": "test_an_id_may_come_again_after_the_window",
    "WindowNeverEnds": "test_an_id_may_come_again_after_the_window",
}
"""A case that fails for each; trying them all for each would take minutes."""


def failure(mutant: Callable[..., MemoryDriver], cases: Sequence[str] = (), timeout: float = 5.0) -> str:
    """The first of the cases (none given: of all) that fails, or an empty text."""

    class Suite(DriverConformance):
        patience = 0.5
        case_timeout = timeout

        def make_driver(self, place: Path, clock: ShiftedClock) -> MemoryDriver:
            return mutant("mutant", clock=clock)

    for name in cases or [name for name in dir(Suite) if name.startswith("test_")]:
        try:
            getattr(Suite(), name)()
        except SkipTest:
            continue
        except Exception:
            return name
    return ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_suite_notices(mutant: type[MemoryDriver]) -> None:
    name = NOTICED_BY[mutant.__name__]
    assert failure(mutant, [name]) == name


def test_there_are_enough_mutants() -> None:
    assert len(MUTANTS) >= 40
    assert len(mutate.MUTANTS) >= 50


def test_a_driver_with_a_store_passes_unbroken() -> None:
    found, how = mutate.noticed(mutate.suite_of("sqlite"), mutate.Unbroken, mutate.CASES)
    assert not found, how


@pytest.mark.parametrize("mutant", mutate.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_suite_notices_it_on_a_driver_with_a_store(mutant: type[mutate.Mutant]) -> None:
    """The same for all drivers is ``make mutate``: it takes minutes."""
    found, how = mutate.noticed(mutate.suite_of("sqlite"), mutant)
    if how.startswith("not applicable"):
        pytest.skip(how)
    assert found, how


def test_the_original_passes() -> None:
    """In the cases that notice a mutant; ``test_memory.py`` runs them all."""
    assert failure(MemoryDriver, sorted(set(NOTICED_BY.values())), timeout=60.0) == ""
