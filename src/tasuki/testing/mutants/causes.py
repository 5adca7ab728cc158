"""Mutants of the verbs that count and show messages by why they died."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from tasuki.contracts.driver import Causes, Driver, Outgoing, Received
from tasuki.contracts.values import CauseCount
from tasuki.drivers.toolkit.results import Answers
from tasuki.message import Message, cause_in
from tasuki.testing.mutants.mutant import Mutant


class CausesTakeAMessage(Mutant):
    noticed_by = ("test_52_causes_are_counted",)
    needs = "causes"

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await super().causes(queue, most, also)
        await self.receive(queue, 1, 0.0)
        return found


class CausesForgetTheRest(Mutant):
    noticed_by = ("test_52_causes_beyond_the_most_are_one_sum",)
    needs = "causes"

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        return replace(await super().causes(queue, most, also), rest=None)


class CausesForgetTheUnmarked(Mutant):
    noticed_by = ("test_52_causes_are_counted",)
    needs = "causes"

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        return replace(await super().causes(queue, most, also), unmarked=0)


class CausesForgetWhoseAreNamed(Mutant):
    noticed_by = ("test_52_causes_beyond_the_most_are_one_sum",)
    needs = "causes"

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        return await super().causes(queue, most)


class CausesShowTheOldest(Mutant):
    noticed_by = ("test_52_causes_are_counted",)
    needs = "causes"

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await super().causes(queue, most, also)
        return replace(found, counts=tuple([await self._aged(queue, each) for each in found.counts]))

    async def _aged(self, queue: str, counted: CauseCount) -> CauseCount:
        [oldest] = await self.peek_cause(queue, counted.cause, 1)
        return replace(counted, newest=Message(oldest.id, b"", oldest.headers))


class CausesCountHeldMessages(Mutant):
    noticed_by = ("test_52_held_messages_do_not_count",)
    needs = "causes"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._held: list[Received] = []

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        self._held += taken
        return taken

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await super().causes(queue, most, also)
        held = [CauseCount(cause, 1, 1.0, 1.0) for each in self._held if (cause := cause_in(each.headers))]
        return replace(found, counts=(*found.counts, *held))


class CausesCountWhatWasPublished(Mutant):
    noticed_by = ("test_52_what_leaves_no_longer_counts",)
    needs = "causes"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._published = 0

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        self._published += sum(bool(cause_in(message.headers)) for message in batch)
        return await super().publish(queue, batch)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await super().causes(queue, most, also)
        return replace(found, unmarked=found.unmarked + max(self._published - found.marked, 0))


class PeekCauseShowsAnyCause(Mutant):
    noticed_by = ("test_53_letters_of_a_cause_are_shown_in_both_directions", "test_53_some_among_many")
    needs = "causes"

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        return await self.peek(queue, limit, after)


class PeekCauseLooksAtTheFirstOnes(Mutant):
    noticed_by = ("test_53_some_among_many",)
    needs = "causes"

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        found = [each for each in await self.peek(queue, 1000) if cause and cause_in(each.headers) == cause]
        return found[:: -1 if newest_first else 1][after : after + limit]


class PeekCauseGoesOneWay(Mutant):
    noticed_by = ("test_53_letters_of_a_cause_are_shown_in_both_directions",)
    needs = "causes"

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        return await super().peek_cause(queue, cause, limit, after)
