"""Break each driver on purpose, by its public verbs alone, and see that a case of the suite notices each time.

``python -m tests.conformance.mutate [DRIVER…]`` (``make mutate``) runs it against the real brokers, and prints a line a
mutant: the driver, the mutation, and the case that noticed. It ends with 1 if one was not noticed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import SkipTest

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Capabilities,
    Depth,
    Driver,
    Durability,
    Move,
    Nack,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError, QueueNotFoundError, StaleReceiptError
from tasuki.message import Message
from tasuki.testing.conformance import DriverConformance, ShiftedClock

SUITES = {
    "memory": "test_memory:TestMemory",
    "sqlite": "test_sqlite:TestSQLite",
    "redis": "test_redis:TestRedis",
    "valkey": "test_redis:TestValkey",
    "amqp": "test_amqp:TestAMQP",
    "sqs": "test_sqs:TestSQS",
    "postgres": "test_postgres:TestPostgres",
    "nats": "test_nats:TestNATS",
}
Results = Sequence[DriverError | None]
_PID = os.getpid()
_LATE = 2.5
"""Seconds that are too many for a message that is ready."""


class Mutant(Driver):
    """Passes everything on to a real driver, but for what a subclass breaks; a case in ``noticed_by`` must fail."""

    noticed_by: tuple[str, ...] = ()
    needs = ""
    """A capability without which it changes nothing."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner.name)
        self.inner = inner
        self.capabilities = inner.capabilities  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def durability(self) -> Durability:
        return self.inner.durability

    def durability_of(self, queue: str) -> Durability:
        return self.inner.durability_of(queue)

    @property
    def patience(self) -> float | None:
        return self.inner.patience

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def declare(self, spec: QueueSpec) -> None:
        await self.inner.declare(spec)

    async def undeclare(self, queue: str) -> None:
        await self.inner.undeclare(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return await self.inner.inspect(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await self.inner.publish(queue, batch)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        return await self.inner.start(queue, batch)

    async def delete(self, queue: str) -> None:
        await self.inner.delete(queue)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return await self.inner.receive(queue, limit, wait)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await self.inner.settle(queue, batch)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        return await self.inner.move(queue, batch)

    def is_move_atomic(self, queue: str, to: str) -> bool:
        return self.inner.is_move_atomic(queue, to)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        return await self.inner.extend(queue, batch, lease)

    async def depth(self, queue: str) -> Depth:
        return await self.inner.depth(queue)

    async def occupancy(self, queue: str) -> Occupancy:
        return await self.inner.occupancy(queue)

    async def attach(self, queue: str, consumers: int) -> None:
        await self.inner.attach(queue, consumers)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        return await self.inner.peek(queue, limit, after)

    async def purge(self, queue: str) -> int:
        return await self.inner.purge(queue)

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        return await self.inner.remove(queue, ids)


class Unbroken(Mutant):
    """No mutant: with it every case that is to notice one must pass, or its failing would prove nothing."""


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


class AttemptIsAlwaysOne(Mutant):
    noticed_by = ("test_08_attempts_rise_and_a_release_does_not_count",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        return [msgspec.structs.replace(item, attempt=1) for item in taken]


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


class HeadersAreDropped(Mutant):
    noticed_by = ("test_02_body_id_and_headers_arrive_unchanged",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, headers={}) for item in batch])


class HeadersBecomeText(Mutant):
    noticed_by = ("test_header_types_are_kept",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        changed = [
            msgspec.structs.replace(item, headers={key: str(value) for key, value in item.headers.items()})
            for item in batch
        ]
        return await super().publish(queue, changed)


class BodiesBecomeText(Mutant):
    noticed_by = ("test_02_body_id_and_headers_arrive_unchanged",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        changed = [msgspec.structs.replace(item, body=item.body.decode(errors="replace").encode()) for item in batch]
        return await super().publish(queue, changed)


class IdsAreMadeAnew(Mutant):
    noticed_by = ("test_02_body_id_and_headers_arrive_unchanged",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, id=f"x{item.id}") for item in batch])


class LastOfABatchIsLost(Mutant):
    noticed_by = ("test_the_largest_batch", "test_15_concurrent_receivers_do_not_overlap")

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        if len(batch) > 1:
            await super().publish(queue, batch[:-1])
            return ()
        return await super().publish(queue, batch)


class BatchIsStoredTwice(Mutant):
    noticed_by = ("test_publish_before_consume", "test_15_concurrent_receivers_do_not_overlap")

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        await super().publish(queue, batch)
        return await super().publish(queue, batch)


class DelayedComesEarly(Mutant):
    noticed_by = ("test_07_delayed_is_hidden_for_at_least_the_delay",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, delay=0.0) for item in batch])


class LimitIsIgnored(Mutant):
    noticed_by = ("test_03_at_most_limit_and_an_empty_receive_waits",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return await super().receive(queue, limit + 1, wait)


class WaitIsIgnored(Mutant):
    noticed_by = ("test_03_at_most_limit_and_an_empty_receive_waits",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return await super().receive(queue, limit, 0.0)


class NothingIsHeld(Mutant):
    noticed_by = ("test_04_a_message_is_with_one_receiver",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        if taken:
            await super().settle(queue, [Release(item.receipt) for item in taken])
        return taken


class CancelledReceiveLoses(Mutant):
    noticed_by = ("test_16_a_cancelled_receive_loses_nothing", "test_a_cancelled_waiter_passes_its_message_on")

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        await asyncio.sleep(0.002)  # whatever it waits for, with what it took in its hands
        return taken


class CloseIsForgotten(Mutant):
    noticed_by = ("test_a_closed_driver_is_unavailable", "test_17_close_is_idempotent_frees_and_wakes")

    async def close(self) -> None:
        if getattr(self, "_closing_now", False):
            await super().close()
        self._closing_now = not getattr(self, "_closing_now", False)


class QueuesAppearByThemselves(Mutant):
    noticed_by = ("test_13_an_undeclared_queue_is_not_found",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        await self.declare(QueueSpec(queue))
        return await super().publish(queue, batch)


class BoundIsIgnored(Mutant):
    noticed_by = ("test_23_a_full_queue_rejects_in_order_and_takes_back",)

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, max_length=None))


class PriorityIsIgnored(Mutant):
    noticed_by = ("test_21_higher_priority_comes_first",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, priority=0) for item in batch])


class KeyIsIgnored(Mutant):
    noticed_by = ("test_22_one_at_a_time_and_in_order_per_key",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        return await super().publish(queue, [msgspec.structs.replace(item, key=item.id) for item in batch])


class OrderIsTurnedRound(Mutant):
    noticed_by = ("test_12_one_publishers_order_is_kept",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return list(await super().receive(queue, limit, wait))[::-1]


class DepthForgetsHeld(Mutant):
    noticed_by = ("test_depth_is_exact",)

    async def depth(self, queue: str) -> Depth:
        return replace(await super().depth(queue), in_flight=0)


class OccupancyForgetsHidden(Mutant):
    noticed_by = ("test_depth_is_exact",)
    needs = "exact_depth"

    async def occupancy(self, queue: str) -> Occupancy:
        return replace(await super().occupancy(queue), hidden=False)


class OccupancyForgetsWhatIsBehind(Mutant):
    """As a driver that looks at the messages alone that can be received."""

    noticed_by = ("test_35_occupancy_counts_what_stands_behind_its_key",)
    needs = "exact_depth"

    async def occupancy(self, queue: str) -> Occupancy:
        found = await super().occupancy(queue)
        return replace(found, ready=found.ready and not found.hidden)


class PeekTakes(Mutant):
    noticed_by = ("test_24_peek_shows_without_receiving",)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        return list(await super().receive(queue, limit, 0.0))


class PurgeTakesWhatComesMeanwhile(Mutant):
    noticed_by = ("test_24_a_message_published_during_a_purge_survives_it",)

    async def purge(self, queue: str) -> int:
        removed = 0
        while count := await self.inner.purge(queue):
            removed += count
        return removed


class PurgeDoesNothing(Mutant):
    noticed_by = ("test_24_purge_removes_what_is_not_held",)

    async def purge(self, queue: str) -> int:
        return 0


class ErrorsAreTheClients(Mutant):
    noticed_by = ("test_14_a_broker_that_is_gone_is_unavailable",)

    async def depth(self, queue: str) -> Depth:
        try:
            return await super().depth(queue)
        except DriverError as error:
            raise RuntimeError("whatever the client raises") from error


class ExtendAdds(Mutant):
    needs = "leases"
    noticed_by = ("test_11_extend_sets_the_lease_and_reports_stale_receipts",)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        self.added = getattr(self, "added", 0.0) + lease
        return await super().extend(queue, batch, self.added)


class EveryFailureIsCertain(Mutant):
    noticed_by = ("test_14_what_was_not_answered_is_not_called_rejected",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        try:
            results = await super().publish(queue, batch)
        except DriverError as error:
            error.outcome = "rejected"
            raise
        for result in results:
            if result is not None:
                result.outcome = "rejected"
        return results


class WaitsForEver(Mutant):
    noticed_by = ("test_14_a_silent_broker_is_noticed_and_its_connection_replaced",)

    async def depth(self, queue: str) -> Depth:
        while True:
            try:
                return await super().depth(queue)
            except (BrokerUnavailableError, BrokerTimeoutError):
                await asyncio.sleep(0.05)


class ConfirmsBeforeItIsStored(Mutant):
    noticed_by = ("test_19_confirmed_messages_survive_a_kill_of_the_broker",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        self.late = [*getattr(self, "late", []), *batch]
        if len(self.late) >= 20:
            late, self.late = self.late, []
            await super().publish(queue, late)
        return ()


class ConsumersAreNotCounted(Mutant):
    noticed_by = ("test_25_depth_counts_consumers",)

    async def attach(self, queue: str, consumers: int) -> None:
        return


class ConsumersAreCountedForEver(Mutant):
    noticed_by = ("test_25_the_consumers_of_a_killed_process_are_forgotten",)

    async def depth(self, queue: str) -> Depth:
        depth = await super().depth(queue)
        self.most = max(depth.consumers or 0, getattr(self, "most", 0))
        return replace(depth, consumers=self.most)


class PollsNowAndThen(Mutant):
    noticed_by = ("test_another_driver_sees_a_message_soon",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        end = asyncio.get_running_loop().time() + wait
        while True:
            taken = await super().receive(queue, limit, 0.0)
            left = end - asyncio.get_running_loop().time()
            if taken or left <= 0:
                return taken
            await asyncio.sleep(min(left, _LATE))


class GoesOnWaitingUnasked(Mutant):
    """What wakes a process whose receive has ended is lost for a while.

    Not at a broker that pushes: it gives such a receive one message, and goes on with the next process.
    """

    noticed_by = ("test_a_driver_that_waits_no_more_keeps_no_message_from_another",)
    needs = "leases"

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        task = asyncio.create_task(super().receive(queue, limit, wait))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.late = asyncio.create_task(self._release_late(queue, task))
            raise

    async def _release_late(self, queue: str, task: asyncio.Task[list[Received]]) -> None:
        taken = await task
        await asyncio.sleep(_LATE)
        await super().settle(queue, [Release(item.receipt) for item in taken])


class NewOrderingForNewMessagesOnly(Mutant):
    noticed_by = ("test_switching_the_ordering_of_many_messages_puts_all_in_order",)
    needs = "ordering_key"

    async def declare(self, spec: QueueSpec) -> None:
        if spec.ordering == "key" and getattr(self, "has_messages", False):
            spec = replace(spec, ordering="none")
        await super().declare(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        self.has_messages = True
        return await super().publish(queue, batch)


class AForkIsNotNoticed(Mutant):
    noticed_by = ("test_34_a_forked_child_leaves_the_connections_of_its_parent_alone",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        if os.getpid() != _PID:  # written into the parent's connection, and answered for there, or nowhere
            return ()
        return await super().publish(queue, batch)


class TemporaryIsIgnored(Mutant):
    noticed_by = ("test_the_temporary_queue_of_a_killed_process_goes",)

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, temporary=False))


class OptionsAreItsOwn(Mutant):
    noticed_by = ("test_33_options_of_another_process_hold_at_once",)

    async def declare(self, spec: QueueSpec) -> None:
        self.own = spec
        await super().declare(spec)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if self.own.name == queue:
            await super().declare(self.own)
        return await super().receive(queue, limit, wait)


class StartsAreNotRecorded(Mutant):
    noticed_by = ("test_28_only_the_recorded_starts_of_a_killed_holder_count",)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        return ()


class EveryDeathCounts(Mutant):
    noticed_by = ("test_28_a_suspect_that_never_started_is_not_charged",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        return [msgspec.structs.replace(item, attempt=item.attempt + item.suspect) for item in taken]


class NobodyIsSuspected(Mutant):
    noticed_by = ("test_20_attempts_survive_a_kill_and_a_restart",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        return [msgspec.structs.replace(item, suspect=False) for item in taken]


class EverybodyIsSuspected(Mutant):
    noticed_by = ("test_28_a_released_message_is_no_suspect",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        return [msgspec.structs.replace(item, suspect=True) for item in taken]


class AStartCountsBesideItsNack(Mutant):
    noticed_by = ("test_28_a_start_counts_once_with_its_nack_and_not_with_its_release",)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        return ()

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        self.seen = getattr(self, "seen", 0)
        taken = await super().receive(queue, limit, wait)
        self.seen += len(taken)
        return [msgspec.structs.replace(item, attempt=self.seen) for item in taken]


class UndeclareIsForgotten(Mutant):
    noticed_by = ("test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",)

    async def undeclare(self, queue: str) -> None:
        return


class UndeclareDeletes(Mutant):
    noticed_by = ("test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",)

    async def undeclare(self, queue: str) -> None:
        await super().delete(queue)


class InspectDeclares(Mutant):
    noticed_by = ("test_30_inspecting_makes_no_queue",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        await super().declare(spec)
        return spec


class InspectShowsADefault(Mutant):
    noticed_by = ("test_30_inspecting_finds_what_was_declared",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        found = await super().inspect(spec)
        return replace(found, options={**found.options, "partitions": 16})


class InspectChangesOptions(Mutant):
    noticed_by = ("test_30_inspecting_changes_no_option",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        await super().inspect(spec)
        await super().declare(spec)
        return spec


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


class PublishMakesTheQueueAgain(Mutant):
    noticed_by = ("test_30_an_inspected_queue_is_not_made_again",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        try:
            results = await super().publish(queue, batch)
        except QueueNotFoundError as error:
            results = [error]
        if not any(isinstance(result, QueueNotFoundError) for result in results):
            return results
        await super().declare(QueueSpec(queue))
        return await super().publish(queue, batch)


class AForcedIdIsRemembered(Mutant):
    noticed_by = ("test_32_a_forced_message_changes_nothing_in_what_is_known",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Results:
        forced = self.__dict__.setdefault("forced", set())
        kept = [item for item in batch if item.id not in forced or not item.deduplicate]
        forced.update(item.id for item in batch if not item.deduplicate)
        return await super().publish(queue, kept) if kept else ()


class ALateSettlementIsRefused(Mutant):
    noticed_by = ("test_32_a_settlement_after_the_lease_is_taken",)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await self.inner.extend(queue, [item.receipt for item in batch], 0.001)
        return [*stale, *(item.receipt for item in batch if item.receipt not in stale)]


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
            results += await self.inner.move(queue, [msgspec.structs.replace(move, messages=move.messages[:1])]) or [
                None
            ]
        return results


class AMoveHidesWhatIsStale(Mutant):
    noticed_by = ("test_36_a_stale_receipt_is_told",)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        results = await self.inner.move(queue, batch)
        return [None if isinstance(result, StaleReceiptError) else result for result in results]


class RemoveTakesHeld(Mutant):
    noticed_by = ("test_37_a_held_message_stays",)
    needs = "remove"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._held: dict[str, Receipt] = {}

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        self._held.update((one.id, one.receipt) for one in taken)
        return taken

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        await self.settle(queue, [Ack(self._held[id]) for id in ids if id in self._held])
        return await super().remove(queue, ids)


class RemoveTakesOneOfAnId(Mutant):
    noticed_by = ("test_37_all_messages_of_an_id_go",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        return min(await super().remove(queue, ids), len(ids))


class RemoveTakesThemAll(Mutant):
    noticed_by = ("test_37_remove_takes_what_it_names",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        count = await super().remove(queue, ids)
        await self.purge(queue)
        return count


class RemoveMissesWhatIsDelayed(Mutant):
    noticed_by = ("test_37_delayed_and_urgent_messages_go_too",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        depth = await self.depth(queue)
        return 0 if depth.delayed else await super().remove(queue, ids)


MUTANTS: tuple[type[Mutant], ...] = tuple(mutant for mutant in Mutant.__subclasses__() if mutant is not Unbroken)
CASES = tuple(dict.fromkeys(name for mutant in MUTANTS for name in mutant.noticed_by))


def suite_of(name: str) -> type[DriverConformance]:
    """The suite class of a driver; the name is a key of SUITES."""
    module, _, suite = SUITES[name].partition(":")
    found: type[DriverConformance] = getattr(import_module(f"tests.conformance.{module}"), suite)
    return found


def _capabilities(base: type[DriverConformance]) -> Capabilities:
    with tempfile.TemporaryDirectory(prefix="tasuki-") as place:
        return base().make_driver(Path(place), ShiftedClock()).capabilities


def _unbroken(base: type[DriverConformance], place: Path, clock: Any) -> Driver:
    return base().make_driver(place, clock)


def _make(mutant: type[Mutant], make: Any, place: Path, clock: Any) -> Driver:
    return mutant(make(place, clock))


def noticed(base: type[DriverConformance], mutant: type[Mutant], cases: Sequence[str] = ()) -> tuple[bool, str]:
    """Whether a case fails for the driver with this mutation, and which; or why none applies."""

    class Broken(base):  # type: ignore[valid-type, misc]
        patience = min(base.patience, 6.0)
        case_timeout = 40.0

        def make_driver(self, place: Path, clock: Any) -> Any:
            return mutant(super().make_driver(place, clock))

        def maker(self) -> Any:
            return partial(_make, mutant, partial(_unbroken, base))

    if mutant.needs and not getattr(_capabilities(base), mutant.needs):
        return False, f"not applicable: lacks {mutant.needs}"
    reason = "no case"
    for name in cases or mutant.noticed_by:
        try:
            getattr(Broken(), name)()
        except SkipTest as skip:
            reason = str(skip)
        except Exception as error:
            return True, f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:150]
        else:
            reason = f"{name} passes"
    return False, reason


def main(names: Sequence[str]) -> Iterator[str]:
    """A line for each mutant of each driver; those that were not noticed begin with ``MISSED``."""
    for name in names:
        base = suite_of(name)
        failed, how = noticed(base, Unbroken, CASES)
        if failed:
            yield f"MISSED  {name:<9} the suite fails without a mutation: {how}"
            continue
        for mutant in MUTANTS:
            found, how = noticed(base, mutant)
            word = "noticed" if found else "skipped" if how.startswith("not applicable") else "MISSED "
            yield f"{word} {name:<9} {mutant.__name__:<26} {how}"


if __name__ == "__main__":
    missed = False
    for line in main(sys.argv[1:] or list(SUITES)):
        print(line, flush=True)
        missed |= line.startswith("MISSED")
    sys.exit(missed)
