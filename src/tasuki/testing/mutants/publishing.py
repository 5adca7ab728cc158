"""Mutants of published messages."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from tasuki.contracts.driver import (
    Answers,
    Outgoing,
    QueueSpec,
)
from tasuki.errors import DriverError, QueueFullError, QueueNotFoundError
from tasuki.message import HeaderValue
from tasuki.testing.mutants.mutant import PID, Mutant


class HeadersAreDropped(Mutant):
    noticed_by = ("test_02_body_id_and_headers_arrive_unchanged",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, headers={}) for item in batch])


class HeadersBecomeText(Mutant):
    noticed_by = ("test_header_types_are_kept",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        changed = [
            msgspec.structs.replace(item, headers={key: str(value) for key, value in item.headers.items()})
            for item in batch
        ]
        return await super().publish(queue, changed)


class BodiesBecomeText(Mutant):
    noticed_by = ("test_02_body_id_and_headers_arrive_unchanged",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        changed = [msgspec.structs.replace(item, body=item.body.decode(errors="replace").encode()) for item in batch]
        return await super().publish(queue, changed)


class IdsAreReplaced(Mutant):
    noticed_by = ("test_02_body_id_and_headers_arrive_unchanged",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, id=f"x{item.id}") for item in batch])


class LastOfABatchIsLost(Mutant):
    noticed_by = ("test_the_largest_batch", "test_15_concurrent_receivers_do_not_overlap")

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        if len(batch) > 1:
            await super().publish(queue, batch[:-1])
            return ()
        return await super().publish(queue, batch)


class BatchIsStoredTwice(Mutant):
    noticed_by = ("test_publish_before_consume", "test_15_concurrent_receivers_do_not_overlap")

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        await super().publish(queue, batch)
        return await super().publish(queue, batch)


class DelayedComesEarly(Mutant):
    noticed_by = ("test_07_delayed_is_hidden_for_at_least_the_delay",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, delay=0.0) for item in batch])


class PriorityIsIgnored(Mutant):
    noticed_by = ("test_21_higher_priority_comes_first",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, priority=0) for item in batch])


class KeyIsIgnored(Mutant):
    noticed_by = ("test_22_one_at_a_time_and_in_order_per_key",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, key=item.id) for item in batch])


class AForcedIdIsRemembered(Mutant):
    noticed_by = ("test_32_a_forced_message_changes_nothing_in_what_is_known",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        forced = self.__dict__.setdefault("forced", set())
        kept = [item for item in batch if item.id not in forced or not item.deduplicate]
        forced.update(item.id for item in batch if not item.deduplicate)
        return await super().publish(queue, kept) if kept else ()


class EveryFailureIsCertain(Mutant):
    noticed_by = ("test_14_a_publish_that_is_cut_short_at_any_answer_is_not_called_rejected",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        try:
            results = await super().publish(queue, batch)
        except DriverError as error:
            error.outcome = "rejected"
            raise
        for result in results:
            if isinstance(result, DriverError):
                result.outcome = "rejected"
        return results


class ConfirmsBeforeItIsStored(Mutant):
    noticed_by = ("test_19_confirmed_messages_survive_a_kill_of_the_broker",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        self.late = [*getattr(self, "late", []), *batch]
        if len(self.late) >= 20:
            late, self.late = self.late, []
            await super().publish(queue, late)
        return ()


class QueuesAppearByThemselves(Mutant):
    noticed_by = ("test_13_an_undeclared_queue_is_not_found",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        await self.declare(QueueSpec(queue))
        return await super().publish(queue, batch)


class PublishMakesTheQueueAgain(Mutant):
    noticed_by = ("test_30_an_inspected_queue_is_not_made_again",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        try:
            results = await super().publish(queue, batch)
        except QueueNotFoundError as error:
            results = [error]
        if not any(isinstance(result, QueueNotFoundError) for result in results):
            return results
        await super().declare(QueueSpec(queue))
        return await super().publish(queue, batch)


class AForkIsNotNoticed(Mutant):
    noticed_by = ("test_34_a_forked_child_leaves_the_connections_of_its_parent_alone",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        if os.getpid() != PID:  # written into the parent's connection, and answered for there, or nowhere
            return ()
        return await super().publish(queue, batch)


class HeadersBecomeFloats(Mutant):
    noticed_by = ("test_header_types_are_kept",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        changed = [msgspec.structs.replace(item, headers=_with_floats(item.headers)) for item in batch]
        return await super().publish(queue, changed)


def _with_floats(headers: Mapping[str, HeaderValue]) -> dict[str, HeaderValue]:
    return {key: float(value) if type(value) is int else value for key, value in headers.items()}


class SameIdIsSwallowed(Mutant):
    noticed_by = ("test_the_same_id_twice_is_two_messages",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, list({item.id: item for item in batch}.values()))


class ForcedDuplicateIsSwallowed(Mutant):
    noticed_by = ("test_26_a_known_id_is_confirmed_and_not_stored_again",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, [msgspec.structs.replace(item, deduplicate=True) for item in batch])


class FullQueueDropsSilently(Mutant):
    noticed_by = ("test_23_a_full_queue_rejects_in_order_and_takes_back",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        try:
            await super().publish(queue, batch)
        except QueueFullError:
            pass
        return ()


class OneForAll(Mutant):
    """A batch that is partly stored is reported as rejected."""

    noticed_by = ("test_23_a_full_queue_rejects_in_order_and_takes_back",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        results = await super().publish(queue, batch)
        for result in results:
            if isinstance(result, DriverError):
                raise result
        return results
