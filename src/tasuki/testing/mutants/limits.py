"""Mutants of limits and lanes, of places for held messages, and of what wakes a receive that waits for one."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Driver,
    Limit,
    Move,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.contracts.values import SHORTEST_DELAY
from tasuki.drivers.toolkit.results import Results
from tasuki.testing.mutants.mutant import Mutant, MutantTable

_TABLE = MutantTable(__name__)
declares, settles, publishes = _TABLE.given("declare"), _TABLE.given("settle"), _TABLE.given("publish")


def of_limit(**changes: Any) -> Callable[[QueueSpec], QueueSpec]:
    """Changes the limit of a queue, if it has one."""
    return lambda spec: replace(spec, limit=spec.limit and replace(spec.limit, **changes))


declares("RatesAreIgnored", "test_42_a_burst_and_then_no_more", of_limit(rate=None))
declares(
    "ABurstHasOneMore",
    "test_42_a_burst_and_then_no_more",
    lambda spec: replace(spec, limit=spec.limit and replace(spec.limit, burst=spec.limit.burst + 1)),
)
declares("ABurstGathersWithoutEnd", "test_42_no_window_has_more_than_burst_and_rate", of_limit(burst=1000))
declares("PlacesAreIgnored", "test_42_no_more_than_its_places_are_held", of_limit(concurrency=None))
declares(
    "LimitsOfLanesAreIgnored", "test_43_a_spent_lane_holds_up_no_other", lambda spec: replace(spec, lane_limit=None)
)
declares(
    "TheLimitOfALaneIsThatOfTheQueue",
    "test_43_each_lane_has_so_many_places",
    lambda spec: replace(spec, limit=spec.lane_limit or spec.limit, lane_limit=None),
)
declares(
    "TheLimitOfTheQueueIsThatOfALane",
    "test_43_limits_of_the_queue_and_of_lanes_hold_together",
    lambda spec: replace(spec, lane_limit=spec.limit or spec.lane_limit, limit=None) if spec.fair else spec,
)
declares("ATurnHasNoEnd", "test_44_lanes_take_turns", lambda spec: replace(spec, fair=1_000_000 if spec.fair else 0))
declares("AllHaveOneLane", "test_44_a_few_messages_behind_very_many_come_at_once", lambda spec: replace(spec, fair=0))
settles(
    "AReleaseKeepsItsPartOfTheRate",
    "test_42_a_release_gives_its_part_back_and_a_nack_does_not",
    lambda each: Nack(each.receipt) if isinstance(each, Release) and not each.delay else each,
)
settles(
    "ANackGivesItsPartBack",
    "test_42_a_release_gives_its_part_back_and_a_nack_does_not",
    lambda each: Release(each.receipt) if isinstance(each, Nack) and not each.delay else each,
)
settles(
    "AShortDelayIsNone",
    "test_42_a_release_with_the_shortest_delay_gives_nothing_back",
    lambda each: Release(each.receipt) if isinstance(each, Release) and each.delay <= SHORTEST_DELAY else each,
)
publishes(
    "EachMessageHasALane",
    "test_43_a_full_lane_holds_up_no_other",
    lambda each: msgspec.structs.replace(each, lane=each.id),
)
publishes(
    "CaseOfLanesIsIgnored",
    "test_43_names_of_lanes_are_compared_exactly",
    lambda each: msgspec.structs.replace(each, lane=each.lane.lower()),
)


class TheFirstLimitStays(Mutant):
    noticed_by = ("test_45_a_new_declaration_wakes_one_that_waits",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._first: dict[str, Limit] = {}

    async def declare(self, spec: QueueSpec) -> None:
        if spec.limit is not None:
            self._first.setdefault(spec.name, spec.limit)
        await self.inner.declare(replace(spec, limit=self._first.get(spec.name)))


class AnEmptyLaneIsForgotten(Mutant):
    """And with it what it owes."""

    noticed_by = ("test_43_a_spent_lane_holds_up_no_other",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._ages: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._lanes: dict[str, str] = {}

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        self._left.update(each.lane for each in batch)
        self._lanes.update((each.id, each.lane) for each in batch)
        aged = [msgspec.structs.replace(each, lane=f"{each.lane} {self._ages[each.lane]}") for each in batch]
        return await self.inner.publish(queue, aged)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await self.inner.receive(queue, limit, wait)
        for received in taken:
            lane = self._lanes[received.id]
            self._left[lane] -= 1
            self._ages[lane] += not self._left[lane]
        return taken


class AnotherLimitHasAFreshBurst(Mutant):
    noticed_by = ("test_42_another_rate_or_burst_gives_no_second_burst",)

    async def declare(self, spec: QueueSpec) -> None:
        await self.inner.declare(replace(spec, limit=None))
        await self.inner.declare(spec)


class AnotherLimitOfLanesHasAFreshBurst(Mutant):
    noticed_by = ("test_45_another_rate_of_lanes_gives_no_second_burst",)

    async def declare(self, spec: QueueSpec) -> None:
        await self.inner.declare(replace(spec, lane_limit=None))
        await self.inner.declare(spec)


class APurgeGivesAFreshBurst(Mutant):
    noticed_by = ("test_42_a_purge_gives_no_second_burst",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._specs: dict[str, QueueSpec] = {}

    async def declare(self, spec: QueueSpec) -> None:
        self._specs[spec.name] = spec
        await self.inner.declare(spec)

    async def purge(self, queue: str) -> int:
        removed = await self.inner.purge(queue)
        await self.inner.declare(replace(self._specs[queue], limit=None))
        await self.inner.declare(self._specs[queue])
        return removed


class _Counts(Mutant):
    """Keeps the places of a queue itself, by counting; the driver knows of none."""

    frees: tuple[type[Settlement | Move], ...] = (Ack, Nack, Release, Move)
    """What lets it count down."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._places: dict[str, int] = {}
        self._held: Counter[str] = Counter()

    async def declare(self, spec: QueueSpec) -> None:
        if spec.limit is not None and spec.limit.concurrency is not None:
            self._places[spec.name] = spec.limit.concurrency
            spec = replace(spec, limit=replace(spec.limit, concurrency=None))
        await self.inner.declare(spec)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        end = asyncio.get_running_loop().time() + wait
        while True:
            room = self._places.get(queue, limit) - self._held[queue]
            self._held[queue] += min(room, limit)
            taken = await self.inner.receive(queue, min(room, limit), 0.0)
            self._held[queue] -= min(room, limit) - len(taken)
            if taken or asyncio.get_running_loop().time() >= end:
                return taken
            await asyncio.sleep(0.01)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await self.inner.settle(queue, batch)
        self._held[queue] -= sum(isinstance(each, self.frees) for each in batch) - len(stale)
        return stale

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        self._held[queue] -= len(batch) if Move in self.frees else 0
        return await self.inner.move(queue, batch)


_TABLE.variant(
    _Counts, "PlacesAreCountedInEachProcess", "test_42_no_more_than_its_places_are_held", needs="multi_process"
)
_TABLE.variant(_Counts, "AMoveKeepsItsPlace", "test_45_a_move_frees_a_place", frees=(Ack, Nack, Release))
_TABLE.variant(
    _Counts, "ANackKeepsItsPlace", "test_45_a_settlement_wakes_one_that_waits_for_a_place", frees=(Ack, Release, Move)
)
_TABLE.variant(_Counts, "AnEndedLeaseKeepsItsPlace", "test_45_an_ended_lease_frees_its_place")


class _Sleeps(Mutant):
    """A receive that waits looks again only when a verb of this process has woken it."""

    deaf_to: tuple[object, ...] = ()

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._news = asyncio.Event()

    def _tell(self, *kinds: object) -> None:
        if not all(kind in self.deaf_to for kind in kinds):
            self._news.set()

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            self._news.clear()
            taken = await self.inner.receive(queue, limit, 0.0)
            left = end - loop.time()
            if taken or left <= 0:
                return taken
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                return []

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = await self.inner.publish(queue, batch)
        self._tell("publish")
        return answers

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await self.inner.settle(queue, batch)
        self._tell(*map(type, batch))
        return stale

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        results = await self.inner.move(queue, batch)
        self._tell(Move)
        return results

    async def declare(self, spec: QueueSpec) -> None:
        await self.inner.declare(spec)
        self._tell("declare")


class TimeWakesNone(_Sleeps):
    noticed_by = ("test_42_the_next_one_comes_by_itself", "test_43_the_next_one_of_a_lane_comes_by_itself")


_TABLE.variant(_Sleeps, "TheEndOfALeaseWakesNone", "test_45_the_end_of_a_lease_wakes_one_that_waits")
_TABLE.variant(_Sleeps, "AnAckWakesNone", "test_45_a_settlement_brings_its_lane_to_life", deaf_to=(Ack,))
_TABLE.variant(_Sleeps, "ANackWakesNone", "test_45_a_settlement_brings_its_lane_to_life", deaf_to=(Nack,))
_TABLE.variant(_Sleeps, "AReleaseWakesNone", "test_45_a_release_wakes_one_that_waits_for_the_rate", deaf_to=(Release,))
_TABLE.variant(_Sleeps, "AMoveWakesNone", "test_45_a_move_frees_a_place", deaf_to=(Move,))
_TABLE.variant(_Sleeps, "ADeclarationWakesNone", "test_45_a_new_declaration_wakes_one_that_waits", deaf_to=("declare",))
