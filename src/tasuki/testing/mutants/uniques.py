"""Mutants of messages that are unique by a key."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tasuki.contracts.driver import Ack, Answers, Driver, Merged, Outgoing, Receipt, Settlement, Unique
from tasuki.errors import DriverError
from tasuki.testing.mutants.mutant import Mutant

Change = Callable[[Unique], Unique | None]


def _changed(batch: Sequence[Outgoing], change: Change) -> list[Outgoing]:
    replace = msgspec.structs.replace
    return [each if each.unique is None else replace(each, unique=change(each.unique)) for each in batch]


def _with(unique: Unique, **fields: Any) -> Unique:
    return msgspec.structs.replace(unique, **fields)


class _Changes(Mutant):
    needs = "unique"
    change: Change

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, _changed(batch, type(self).change))


class UniqueIsIgnored(_Changes):
    noticed_by = ("test_39_others_are_not_concerned",)
    change = staticmethod(lambda unique: None)


class RunningEndsAtTheClaim(_Changes):
    noticed_by = ("test_39_a_running_message_keeps_its_key",)
    needs = "unique:pending"
    change = staticmethod(lambda unique: _with(unique, span="pending" if unique.span == "running" else unique.span))


class PendingLastsUntilItIsDone(_Changes):
    noticed_by = ("test_39_a_waiting_message_keeps_its_key",)
    needs = "unique:pending"
    change = staticmethod(lambda unique: _with(unique, span="running" if unique.span == "pending" else unique.span))


class AReturnFreesTheKey(Mutant):
    """The message is stored again at another place, and the key looks at the first one."""

    noticed_by = ("test_39_a_running_message_keeps_its_key",)
    needs = "unique:running"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._is_free = False

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        self._is_free = any(not isinstance(each, Ack) for each in batch)
        return await super().settle(queue, batch)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, _changed(batch, lambda unique: None) if self._is_free else batch)


class ADelayFreesTheKey(Mutant):
    """A delayed message waits elsewhere, where its key does not count."""

    noticed_by = ("test_41_a_hidden_message_has_its_key_until_it_is_done",)
    needs = "unique:running"

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(
            queue, [_changed([each], lambda unique: None)[0] if each.delay else each for each in batch]
        )


class AnAckLeavesTheKey(Mutant):
    """A lock beside the message, which stays."""

    noticed_by = ("test_39_a_running_message_keeps_its_key",)
    needs = "unique:running"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._locked: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = [*await super().publish(queue, batch)] or [None] * len(batch)
        for index, each in enumerate(batch):
            if each.unique is not None and each.unique.span == "running" and answers[index] is None:
                first = self._locked.setdefault(each.unique.key, each.id)
                answers[index] = None if first == each.id else Merged("kept", first)
        return answers


class AWindowEndsWithItsMessage(_Changes):
    noticed_by = ("test_39_a_window_outlives_its_message",)
    needs = "unique:window"
    change = staticmethod(lambda unique: _with(unique, span=unique.span if unique.span == "pending" else "running"))


class CaseOfKeysIsIgnored(_Changes):
    noticed_by = ("test_39_keys_are_compared_exactly",)
    change = staticmethod(lambda unique: _with(unique, key=unique.key.lower()))


class ReplaceStoresAnother(_Changes):
    noticed_by = ("test_40_replace_changes_the_waiting_message",)
    needs = "unique:replace"
    change = staticmethod(lambda unique: None if unique.act == "replace" else unique)


class ReplaceChangesNothing(_Changes):
    noticed_by = ("test_40_a_replaced_retry_begins_afresh",)
    needs = "unique:replace"
    change = staticmethod(lambda unique: _with(unique, act="keep" if unique.act == "replace" else unique.act))


class ExtendNeverEnds(_Changes):
    noticed_by = ("test_40_extend_ends",)
    needs = "unique:extend"
    change = staticmethod(lambda unique: _with(unique, latest=unique.latest * 1000))


class ExtendOnlyReplaces(_Changes):
    noticed_by = ("test_40_extend_hides_a_ready_message",)
    needs = "unique:extend"
    change = staticmethod(lambda unique: _with(unique, act="replace" if unique.act == "extend" else unique.act))


class KeptIsCalledStored(Mutant):
    noticed_by = ("test_39_others_are_not_concerned",)
    needs = "unique"

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = await super().publish(queue, batch)
        return [None if isinstance(each, Merged) else each for each in answers]


class KeptNamesThePublishedMessage(Mutant):
    noticed_by = ("test_39_others_are_not_concerned",)
    needs = "unique"

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = await super().publish(queue, batch)
        pairs = zip(batch, answers, strict=True) if answers else ()
        return [Merged(each.how, message.id) if isinstance(each, Merged) else each for message, each in pairs]


class LooksBeforeItStores(Mutant):
    """Two steps, and another publisher between them."""

    noticed_by = ("test_39_of_many_publishers_one_stores",)
    needs = "unique"

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
            answers += await super().publish(queue, _changed([message], lambda unique: None)) or [None]
            if key is not None:
                self._first[key] = message.id
        return answers


class ARejectedMessageTakesItsKey(Mutant):
    noticed_by = ("test_41_a_rejected_message_takes_no_key",)
    needs = "unique"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._taken: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        for message in batch:
            if message.unique is not None and message.unique.key in self._taken:
                return [Merged("kept", self._taken[message.unique.key])]
        try:
            answers = await super().publish(queue, batch)
        except DriverError:
            self._taken.update((message.unique.key, message.id) for message in batch if message.unique is not None)
            raise
        return answers


class DeleteLeavesTheKeys(Mutant):
    noticed_by = ("test_41_a_deleted_queue_has_no_keys",)
    needs = "unique"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._known: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = [*await super().publish(queue, batch)] or [None] * len(batch)
        for index, message in enumerate(batch):
            if message.unique is not None and answers[index] is None and message.unique.key in self._known:
                answers[index] = Merged("kept", self._known[message.unique.key])
        self._known.update((each.unique.key, each.id) for each in batch if each.unique is not None)
        return answers
