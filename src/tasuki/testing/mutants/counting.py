"""Mutants of counts, peeks, purges and removals, and of counts by why messages died."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Causes,
    Depth,
    Driver,
    Outgoing,
    Receipt,
    Received,
    Waiting,
    place_of,
)
from tasuki.contracts.values import CauseCount
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.message import Message, cause_in
from tasuki.testing.mutants.mutant import Mutant, MutantTable

_TABLE = MutantTable(__name__)
depth, occupancy, causes = _TABLE.answer("depth"), _TABLE.answer("occupancy"), _TABLE.answer("causes")
peek, peek_cause = _TABLE.answer("peek"), _TABLE.instead("peek_cause")

depth("DepthForgetsHeld", "test_depth_is_exact", lambda depth: replace(depth, in_flight=0))
depth(
    "AgeOfTheYoungest",
    "test_the_age_of_the_oldest_ready_message",
    lambda depth: replace(depth, oldest_age=0.0 if depth.ready else None),
)
occupancy("OccupancyForgetsHidden", "test_depth_is_exact", lambda found: replace(found, hidden=False))
# As a driver that looks at the messages alone that can be received.
occupancy(
    "OccupancyForgetsWhatIsBehind",
    "test_35_occupancy_counts_what_stands_behind_its_key",
    lambda found: replace(found, ready=found.ready and not found.hidden),
)
_TABLE.instead("peek")(
    "PeekTakes",
    "test_24_peek_shows_without_receiving",
    lambda real, queue, limit, after=0: real.receive(queue, limit, 0.0),
)
peek(
    "DelaysAreNotShown",
    "test_60_each_delay_is_shown",
    lambda found: [Waiting(each.id, each.body, each.headers, place_of(each)) for each in found],
)
# It tells how often a message had failed when it was handed out last.
peek(
    "FailuresOfTheLastDeliveryAreNotShown",
    "test_60_failed_attempts_are_shown",
    lambda found: [
        msgspec.structs.replace(each, failures=max(each.failures - 1, 0)) if isinstance(each, Waiting) else each
        for each in found
    ],
)
_TABLE.instead("remove")(
    "RemoveIgnoresThePlaces",
    "test_57_remove_takes_the_messages_at_the_places",
    lambda real, queue, ids, places=(): real.remove(queue, ids),
)
causes("CausesForgetTheRest", "test_52_causes_beyond_the_most_are_one_sum", lambda found: replace(found, rest=None))
causes("CausesForgetTheUnmarked", "test_52_causes_are_counted", lambda found: replace(found, unmarked=0))
_TABLE.instead("causes")(
    "CausesForgetWhoseAreNamed",
    "test_52_causes_beyond_the_most_are_one_sum",
    lambda real, queue, most, also=(): real.causes(queue, most),
)
peek_cause(
    "PeekCauseShowsAnyCause",
    ("test_53_letters_of_a_cause_are_shown_in_both_directions", "test_53_some_among_many"),
    lambda real, queue, cause, limit, after=0, *, newest_first=False: real.peek(queue, limit, after),
)
peek_cause(
    "PeekCauseGoesOneWay",
    "test_53_letters_of_a_cause_are_shown_in_both_directions",
    lambda real, queue, cause, limit, after=0, *, newest_first=False: real.peek_cause(queue, cause, limit, after),
)


class DepthCountsItsOwn(Mutant):
    """As if a broker that counts no held messages had only the ones of the process that asks."""

    noticed_by = (
        "test_58_depth_counts_all_processes_or_says_none",
        "test_58_delays_are_of_all_processes_or_kept_by_their_own",
    )

    async def depth(self, queue: str) -> Depth:
        depth, kept = await self.inner.depth(queue), self.kept(queue)
        if kept is None:
            return replace(depth, in_flight=0, delayed=0)
        return replace(depth, in_flight=kept.held - kept.unused, delayed=sum(kept.delays.values()))


class ErrorsAreTheClients(Mutant):
    noticed_by = ("test_14_a_broker_that_is_gone_is_unavailable",)

    async def depth(self, queue: str) -> Depth:
        try:
            return await self.inner.depth(queue)
        except DriverError as error:
            raise RuntimeError("whatever the client raises") from error


class WaitsForEver(Mutant):
    noticed_by = ("test_14_a_silent_broker_is_noticed_and_its_connection_replaced",)

    async def depth(self, queue: str) -> Depth:
        while True:
            try:
                return await self.inner.depth(queue)
            except (BrokerUnavailableError, BrokerTimeoutError):
                await asyncio.sleep(0.05)


class PurgeTakesWhatComesMeanwhile(Mutant):
    noticed_by = ("test_24_a_message_published_during_a_purge_survives_it",)

    async def purge(self, queue: str) -> int:
        removed = 0
        while count := await self.inner.purge(queue):
            removed += count
            await asyncio.sleep(0)  # a driver without a broker leaves no time for others
        return removed


class PurgeDoesNothing(Mutant):
    noticed_by = ("test_24_purge_removes_what_is_not_held",)

    async def purge(self, queue: str) -> int:
        return 0


class RemoveTakesHeld(Mutant):
    noticed_by = ("test_37_a_held_message_stays",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._held: dict[str, Receipt] = {}

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        self._held.update((one.id, one.receipt) for one in taken)
        return taken

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        await self.settle(queue, [Ack(self._held[id]) for id in ids if id in self._held])
        return await self.inner.remove(queue, ids, places)


class RemoveTakesOneOfAnId(Mutant):
    noticed_by = ("test_37_all_messages_of_an_id_go",)

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        return min(await self.inner.remove(queue, ids, places), len(ids))


class RemoveTakesThemAll(Mutant):
    noticed_by = ("test_37_remove_takes_what_it_names",)

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        count = await self.inner.remove(queue, ids, places)
        await self.purge(queue)
        return count


class RemoveMissesWhatIsDelayed(Mutant):
    noticed_by = ("test_37_delayed_and_urgent_messages_go_too",)

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        depth = await self.depth(queue)
        return 0 if depth.delayed else await self.inner.remove(queue, ids, places)


class ExpediteLeavesTheDelay(Mutant):
    noticed_by = ("test_49_a_delay_ends",)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        return len(ids)


class ExpediteEndsAllDelays(Mutant):
    noticed_by = ("test_49_a_delay_ends",)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        all_of_them = [message.id for message in await self.peek(queue, 1000)]
        return min(await self.inner.expedite(queue, all_of_them), len(ids))


class ExpediteStoresItAgain(Mutant):
    noticed_by = ("test_49_attempts_and_places_are_kept",)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        found = [message for message in await self.peek(queue, 1000) if message.id in ids]
        await self.inner.remove(queue, [message.id for message in found])
        await self.publish(queue, [Outgoing(message.id, message.body, message.headers) for message in found])
        return len(found)


class ExpediteWakesNobody(Mutant):
    """A waiting receive sees the message at the end of its wait only."""

    noticed_by = ("test_49_a_waiting_receive_is_woken",)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if taken := await self.inner.receive(queue, limit, 0.0):
            return taken
        await asyncio.sleep(wait)
        return await self.inner.receive(queue, limit, 0.0)


class CausesTakeAMessage(Mutant):
    noticed_by = ("test_52_causes_are_counted",)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await self.inner.causes(queue, most, also)
        await self.receive(queue, 1, 0.0)
        return found


class CausesShowTheOldest(Mutant):
    noticed_by = ("test_52_causes_are_counted",)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await self.inner.causes(queue, most, also)
        return replace(found, counts=tuple([await self._aged(queue, each) for each in found.counts]))

    async def _aged(self, queue: str, counted: CauseCount) -> CauseCount:
        [oldest] = await self.peek_cause(queue, counted.cause, 1)
        return replace(counted, newest=Message(oldest.id, b"", oldest.headers))


class CausesCountHeldMessages(Mutant):
    noticed_by = ("test_52_held_messages_do_not_count",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._held: list[Received] = []

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        self._held += taken
        return taken

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await self.inner.causes(queue, most, also)
        held = [CauseCount(cause, 1, 1.0, 1.0) for each in self._held if (cause := cause_in(each.headers))]
        return replace(found, counts=(*found.counts, *held))


class CausesCountWhatWasPublished(Mutant):
    noticed_by = ("test_52_what_leaves_no_longer_counts",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._published = 0

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        self._published += sum(bool(cause_in(message.headers)) for message in batch)
        return await self.inner.publish(queue, batch)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        found = await self.inner.causes(queue, most, also)
        return replace(found, unmarked=found.unmarked + max(self._published - found.marked, 0))


class PeekCauseLooksAtTheFirstOnes(Mutant):
    noticed_by = ("test_53_some_among_many",)

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        found = [each for each in await self.peek(queue, 1000) if cause and cause_in(each.headers) == cause]
        return found[:: -1 if newest_first else 1][after : after + limit]
