"""Mutants of published messages, and of messages that are unique by a key."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from tasuki.contracts.driver import Ack, Answers, Driver, Merged, Outgoing, QueueSpec, Receipt, Settlement, Unique
from tasuki.errors import DriverError, QueueFullError, QueueNotFoundError
from tasuki.testing.mutants.mutant import PID, Mutant, MutantTable

_TABLE = MutantTable(__name__)
publishes, instead, answers = _TABLE.given("publish"), _TABLE.instead("publish"), _TABLE.answer("publish")


def without_key(message: Outgoing) -> Outgoing:
    """The same message, as one of many."""
    return replace(message, unique=None)


def keys(name: str, noticed_by: str, change: Callable[[Unique], Unique | None], needs: str = "unique") -> None:
    """A row that changes what a message is unique by."""
    publishes(
        name, noticed_by, lambda each: each if each.unique is None else replace(each, unique=change(each.unique)), needs
    )


publishes("HeadersAreDropped", "test_02_body_id_and_headers_arrive_unchanged", lambda each: replace(each, headers={}))
publishes(
    "HeadersBecomeText",
    "test_header_types_are_kept",
    lambda each: replace(each, headers={key: str(value) for key, value in each.headers.items()}),
)
publishes(
    "HeadersBecomeFloats",
    "test_header_types_are_kept",
    lambda each: replace(each, headers={k: float(v) if type(v) is int else v for k, v in each.headers.items()}),
)
publishes(
    "BodiesBecomeText",
    "test_02_body_id_and_headers_arrive_unchanged",
    lambda each: replace(each, body=each.body.decode(errors="replace").encode()),
)
publishes(
    "IdsAreReplaced", "test_02_body_id_and_headers_arrive_unchanged", lambda each: replace(each, id=f"x{each.id}")
)
publishes(
    "DelayedComesEarly", "test_07_delayed_is_hidden_for_at_least_the_delay", lambda each: replace(each, delay=0.0)
)
publishes("PriorityIsIgnored", "test_21_higher_priority_comes_first", lambda each: replace(each, priority=0))
publishes("KeyIsIgnored", "test_22_one_at_a_time_and_in_order_per_key", lambda each: replace(each, key=each.id))
publishes(
    "ForcedDuplicateIsSwallowed",
    "test_26_a_known_id_is_confirmed_and_not_stored_again",
    lambda each: replace(each, deduplicate=True),
)
instead(
    "SameIdIsSwallowed",
    "test_the_same_id_twice_is_two_messages",
    lambda real, queue, batch: real.publish(queue, list({each.id: each for each in batch}.values())),
)

keys("UniqueIsIgnored", "test_39_others_are_not_concerned", lambda unique: None)
keys(
    "RunningEndsAtTheClaim",
    "test_39_a_running_message_keeps_its_key",
    lambda unique: replace(unique, span="pending" if unique.span == "running" else unique.span),
    "unique:pending",
)
keys(
    "PendingLastsUntilItIsDone",
    "test_39_a_waiting_message_keeps_its_key",
    lambda unique: replace(unique, span="running" if unique.span == "pending" else unique.span),
)
keys(
    "AWindowEndsWithItsMessage",
    "test_39_a_window_outlives_its_message",
    lambda unique: replace(unique, span=unique.span if unique.span == "pending" else "running"),
)
keys("CaseOfKeysIsIgnored", "test_39_keys_are_compared_exactly", lambda unique: replace(unique, key=unique.key.lower()))
keys(
    "ReplaceStoresAnother",
    "test_40_replace_changes_the_waiting_message",
    lambda unique: None if unique.act == "replace" else unique,
)
keys(
    "ReplaceChangesNothing",
    "test_40_a_replaced_retry_begins_afresh",
    lambda unique: replace(unique, act="keep" if unique.act == "replace" else unique.act),
)
keys("ExtendNeverEnds", "test_40_extend_ends", lambda each: replace(each, latest=each.latest * 1000))
keys(
    "ExtendOnlyReplaces",
    "test_40_extend_hides_a_ready_message",
    lambda unique: replace(unique, act="replace" if unique.act == "extend" else unique.act),
)
# A delayed message waits elsewhere, where its key does not count.
publishes(
    "ADelayFreesTheKey",
    "test_41_a_hidden_message_has_its_key_until_it_is_done",
    lambda each: without_key(each) if each.delay else each,
)
answers(
    "KeptIsCalledStored",
    "test_39_others_are_not_concerned",
    lambda answers: [None if isinstance(each, Merged) else each for each in answers],
)


class LastOfABatchIsLost(Mutant):
    noticed_by = ("test_the_largest_batch", "test_15_concurrent_receivers_do_not_overlap")

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        if len(batch) > 1:
            await self.inner.publish(queue, batch[:-1])
            return ()
        return await self.inner.publish(queue, batch)


class BatchIsStoredTwice(Mutant):
    noticed_by = ("test_publish_before_consume", "test_15_concurrent_receivers_do_not_overlap")

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        await self.inner.publish(queue, batch)
        return await self.inner.publish(queue, batch)


class AForcedIdIsRemembered(Mutant):
    noticed_by = ("test_32_a_forced_message_changes_nothing_in_what_is_known",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        forced = self.__dict__.setdefault("forced", set())
        kept = [item for item in batch if item.id not in forced or not item.deduplicate]
        forced.update(item.id for item in batch if not item.deduplicate)
        return await self.inner.publish(queue, kept) if kept else ()


class EveryFailureIsCertain(Mutant):
    noticed_by = ("test_14_a_publish_that_is_cut_short_at_any_answer_is_not_called_rejected",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        try:
            results = await self.inner.publish(queue, batch)
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
            await self.inner.publish(queue, late)
        return ()


class QueuesAppearByThemselves(Mutant):
    noticed_by = ("test_13_an_undeclared_queue_is_not_found",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        await self.declare(QueueSpec(queue))
        return await self.inner.publish(queue, batch)


class PublishMakesTheQueueAgain(Mutant):
    noticed_by = ("test_30_an_inspected_queue_is_not_made_again",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        try:
            results = await self.inner.publish(queue, batch)
        except QueueNotFoundError as error:
            results = [error]
        if not any(isinstance(result, QueueNotFoundError) for result in results):
            return results
        await self.inner.declare(QueueSpec(queue))
        return await self.inner.publish(queue, batch)


class AForkIsNotNoticed(Mutant):
    noticed_by = ("test_34_a_forked_child_leaves_the_connections_of_its_parent_alone",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        if os.getpid() != PID:  # written into the parent's connection, and answered for there, or nowhere
            return ()
        return await self.inner.publish(queue, batch)


class FullQueueDropsSilently(Mutant):
    noticed_by = ("test_23_a_full_queue_rejects_in_order_and_takes_back",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        try:
            await self.inner.publish(queue, batch)
        except QueueFullError:
            pass
        return ()


class OneForAll(Mutant):
    """A batch that is partly stored is reported as rejected."""

    noticed_by = ("test_23_a_full_queue_rejects_in_order_and_takes_back",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        results = await self.inner.publish(queue, batch)
        for result in results:
            if isinstance(result, DriverError):
                raise result
        return results


class AReturnFreesTheKey(Mutant):
    """The message is stored again at another place, and the key looks at the first one."""

    noticed_by = ("test_39_a_running_message_keeps_its_key",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._is_free = False

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        self._is_free = any(not isinstance(each, Ack) for each in batch)
        return await self.inner.settle(queue, batch)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await self.inner.publish(queue, list(map(without_key, batch)) if self._is_free else batch)


class AnAckLeavesTheKey(Mutant):
    """A lock beside the message, which stays."""

    noticed_by = ("test_39_a_running_message_keeps_its_key",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._locked: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = [*await self.inner.publish(queue, batch)] or [None] * len(batch)
        for index, each in enumerate(batch):
            if each.unique is not None and each.unique.span == "running" and answers[index] is None:
                first = self._locked.setdefault(each.unique.key, each.id)
                answers[index] = None if first == each.id else Merged("kept", first)
        return answers


class KeptNamesThePublishedMessage(Mutant):
    noticed_by = ("test_39_others_are_not_concerned",)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = await self.inner.publish(queue, batch)
        pairs = zip(batch, answers, strict=True) if answers else ()
        return [Merged(each.how, message.id) if isinstance(each, Merged) else each for message, each in pairs]


class LooksBeforeItStores(Mutant):
    """Two steps, and another publisher between them."""

    noticed_by = ("test_39_of_many_publishers_one_stores",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._first: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers: list[DriverError | Merged | None] = []
        for message in batch:
            key = None if message.unique is None else message.unique.key
            if key is not None and (first := self._first.get(key)) is not None:
                answers.append(Merged("kept", first))
                continue
            await asyncio.sleep(0)
            answers += await self.inner.publish(queue, [without_key(message)]) or [None]
            if key is not None:
                self._first[key] = message.id
        return answers


class ARejectedMessageTakesItsKey(Mutant):
    noticed_by = ("test_41_a_rejected_message_takes_no_key",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._taken: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        for message in batch:
            if message.unique is not None and message.unique.key in self._taken:
                return [Merged("kept", self._taken[message.unique.key])]
        try:
            answers = await self.inner.publish(queue, batch)
        except DriverError:
            self._taken.update((message.unique.key, message.id) for message in batch if message.unique is not None)
            raise
        return answers


class DeleteLeavesTheKeys(Mutant):
    noticed_by = ("test_41_a_deleted_queue_has_no_keys",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._known: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = [*await self.inner.publish(queue, batch)] or [None] * len(batch)
        for index, message in enumerate(batch):
            if message.unique is not None and answers[index] is None and message.unique.key in self._known:
                answers[index] = Merged("kept", self._known[message.unique.key])
        self._known.update((each.unique.key, each.id) for each in batch if each.unique is not None)
        return answers
