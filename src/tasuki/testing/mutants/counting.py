"""Mutants of counts, peeks, purges and removals."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Depth,
    Driver,
    Occupancy,
    Outgoing,
    Receipt,
    Received,
    Waiting,
    place_of,
)
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.message import Message
from tasuki.testing.mutants.mutant import Mutant


class DepthForgetsHeld(Mutant):
    noticed_by = ("test_depth_is_exact",)

    async def depth(self, queue: str) -> Depth:
        return replace(await super().depth(queue), in_flight=0)


class DepthCountsItsOwn(Mutant):
    """As if a broker that counts no held messages had only the ones of the process that asks."""

    noticed_by = (
        "test_58_depth_counts_all_processes_or_says_none",
        "test_58_delays_are_of_all_processes_or_kept_by_their_own",
    )
    needs = "multi_process"

    async def depth(self, queue: str) -> Depth:
        depth, kept = await super().depth(queue), self.kept(queue)
        if kept is None:
            return replace(depth, in_flight=0, delayed=0)
        return replace(depth, in_flight=kept.held - kept.unused, delayed=sum(kept.delays.values()))


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


class ErrorsAreTheClients(Mutant):
    noticed_by = ("test_14_a_broker_that_is_gone_is_unavailable",)

    async def depth(self, queue: str) -> Depth:
        try:
            return await super().depth(queue)
        except DriverError as error:
            raise RuntimeError("whatever the client raises") from error


class WaitsForEver(Mutant):
    noticed_by = ("test_14_a_silent_broker_is_noticed_and_its_connection_replaced",)

    async def depth(self, queue: str) -> Depth:
        while True:
            try:
                return await super().depth(queue)
            except (BrokerUnavailableError, BrokerTimeoutError):
                await asyncio.sleep(0.05)


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
            await asyncio.sleep(0)  # a driver without a broker leaves no time for others
        return removed


class PurgeDoesNothing(Mutant):
    noticed_by = ("test_24_purge_removes_what_is_not_held",)

    async def purge(self, queue: str) -> int:
        return 0


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

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        await self.settle(queue, [Ack(self._held[id]) for id in ids if id in self._held])
        return await super().remove(queue, ids, places)


class RemoveTakesOneOfAnId(Mutant):
    noticed_by = ("test_37_all_messages_of_an_id_go",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        return min(await super().remove(queue, ids, places), len(ids))


class RemoveTakesThemAll(Mutant):
    noticed_by = ("test_37_remove_takes_what_it_names",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        count = await super().remove(queue, ids, places)
        await self.purge(queue)
        return count


class RemoveIgnoresThePlaces(Mutant):
    noticed_by = ("test_57_remove_takes_the_messages_at_the_places",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        return await super().remove(queue, ids)


class RemoveMissesWhatIsDelayed(Mutant):
    noticed_by = ("test_37_delayed_and_urgent_messages_go_too",)
    needs = "remove"

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        depth = await self.depth(queue)
        return 0 if depth.delayed else await super().remove(queue, ids, places)


class ExpediteLeavesTheDelay(Mutant):
    noticed_by = ("test_49_a_delay_ends",)
    needs = "expedite"

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        return len(ids)


class ExpediteEndsAllDelays(Mutant):
    noticed_by = ("test_49_a_delay_ends",)
    needs = "expedite"

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        all_of_them = [message.id for message in await self.peek(queue, 1000)]
        return min(await super().expedite(queue, all_of_them), len(ids))


class ExpediteStoresItAgain(Mutant):
    noticed_by = ("test_49_attempts_and_places_are_kept",)
    needs = "expedite"

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        found = [message for message in await self.peek(queue, 1000) if message.id in ids]
        await super().remove(queue, [message.id for message in found])
        await self.publish(queue, [Outgoing(message.id, message.body, message.headers) for message in found])
        return len(found)


class ExpediteWakesNobody(Mutant):
    """A waiting receive sees the message at the end of its wait only."""

    noticed_by = ("test_49_a_waiting_receive_is_woken",)
    needs = "expedite"

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if taken := await super().receive(queue, limit, 0.0):
            return taken
        await asyncio.sleep(wait)
        return await super().receive(queue, limit, 0.0)


class AgeOfTheYoungest(Mutant):
    noticed_by = ("test_the_age_of_the_oldest_ready_message",)

    async def depth(self, queue: str) -> Depth:
        depth = await super().depth(queue)
        return replace(depth, oldest_age=0.0 if depth.ready else None)


class DelaysAreNotShown(Mutant):
    noticed_by = ("test_60_each_delay_is_shown",)
    needs = "transfer"

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        found = await self.inner.peek(queue, limit, after)
        return [Waiting(each.id, each.body, each.headers, place_of(each)) for each in found]


class FailuresOfTheLastDeliveryAreNotShown(Mutant):
    """It tells how often a message had failed when it was handed out last."""

    noticed_by = ("test_60_failed_attempts_are_shown",)
    needs = "transfer"

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        found = await self.inner.peek(queue, limit, after)
        return [
            msgspec.structs.replace(each, failures=max(each.failures - 1, 0)) if isinstance(each, Waiting) else each
            for each in found
        ]
