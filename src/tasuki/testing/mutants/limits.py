"""Mutants of limits and lanes."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from tasuki.contracts.driver import (
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
from tasuki.testing.mutants.mutant import Mutant


def _with(limit: Limit | None, **fields: Any) -> Limit | None:
    return None if limit is None else replace(limit, **fields)


class _Declares(Mutant):
    """Declares another queue than the caller."""

    def change(self, spec: QueueSpec) -> QueueSpec:
        raise NotImplementedError

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(self.change(spec))


class RatesAreIgnored(_Declares):
    noticed_by = ("test_42_a_burst_and_then_no_more",)
    needs = "limits:rate"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, limit=_with(spec.limit, rate=None))


class ABurstHasOneMore(_Declares):
    noticed_by = ("test_42_a_burst_and_then_no_more",)
    needs = "limits:rate"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, limit=None if spec.limit is None else replace(spec.limit, burst=spec.limit.burst + 1))


class ABurstGathersWithoutEnd(_Declares):
    noticed_by = ("test_42_no_window_has_more_than_burst_and_rate",)
    needs = "limits:rate"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, limit=_with(spec.limit, burst=1000))


class PlacesAreIgnored(_Declares):
    noticed_by = ("test_42_no_more_than_its_places_are_held",)
    needs = "limits:concurrency"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, limit=_with(spec.limit, concurrency=None))


class LimitsOfLanesAreIgnored(_Declares):
    noticed_by = ("test_43_a_spent_lane_holds_up_no_other",)
    needs = "lanes"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, lane_limit=None)


class TheLimitOfALaneIsThatOfTheQueue(_Declares):
    noticed_by = ("test_43_each_lane_has_so_many_places",)
    needs = "lanes"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, limit=spec.lane_limit or spec.limit, lane_limit=None)


class TheLimitOfTheQueueIsThatOfALane(_Declares):
    noticed_by = ("test_43_limits_of_the_queue_and_of_lanes_hold_together",)
    needs = "lanes"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, lane_limit=spec.limit or spec.lane_limit, limit=None) if spec.fair else spec


class ATurnHasNoEnd(_Declares):
    noticed_by = ("test_44_lanes_take_turns",)
    needs = "lanes"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, fair=1_000_000 if spec.fair else 0)


class AllHaveOneLane(_Declares):
    noticed_by = ("test_44_a_few_messages_behind_very_many_come_at_once",)
    needs = "lanes"

    def change(self, spec: QueueSpec) -> QueueSpec:
        return replace(spec, fair=0)


class TheFirstLimitStays(_Declares):
    noticed_by = ("test_45_a_new_declaration_wakes_one_that_waits",)
    needs = "limits"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._first: dict[str, Limit] = {}

    def change(self, spec: QueueSpec) -> QueueSpec:
        if spec.limit is not None:
            self._first.setdefault(spec.name, spec.limit)
        return replace(spec, limit=self._first.get(spec.name))


class AnotherLimitHasAFreshBurst(Mutant):
    noticed_by = ("test_42_another_rate_or_burst_gives_no_second_burst",)
    needs = "limits:rate"

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, limit=None))
        await super().declare(spec)


class AnotherLimitOfLanesHasAFreshBurst(Mutant):
    noticed_by = ("test_45_another_rate_of_lanes_gives_no_second_burst",)
    needs = "lanes"

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(replace(spec, lane_limit=None))
        await super().declare(spec)


class APurgeGivesAFreshBurst(Mutant):
    noticed_by = ("test_42_a_purge_gives_no_second_burst",)
    needs = "limits:rate"

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._specs: dict[str, QueueSpec] = {}

    async def declare(self, spec: QueueSpec) -> None:
        self._specs[spec.name] = spec
        await super().declare(spec)

    async def purge(self, queue: str) -> int:
        removed = await super().purge(queue)
        await super().declare(replace(self._specs[queue], limit=None))
        await super().declare(self._specs[queue])
        return removed


class _Settles(Mutant):
    """Settles in another way than the caller."""

    def change(self, settlement: Settlement) -> Settlement:
        raise NotImplementedError

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await super().settle(queue, [self.change(each) for each in batch])


class AReleaseKeepsItsPartOfTheRate(_Settles):
    noticed_by = ("test_42_a_release_gives_its_part_back_and_a_nack_does_not",)
    needs = "limits:rate"

    def change(self, settlement: Settlement) -> Settlement:
        return Nack(settlement.receipt) if isinstance(settlement, Release) and not settlement.delay else settlement


class ANackGivesItsPartBack(_Settles):
    noticed_by = ("test_42_a_release_gives_its_part_back_and_a_nack_does_not",)
    needs = "limits:rate"

    def change(self, settlement: Settlement) -> Settlement:
        return Release(settlement.receipt) if isinstance(settlement, Nack) and not settlement.delay else settlement


class AShortDelayIsNone(_Settles):
    noticed_by = ("test_42_a_release_with_the_shortest_delay_gives_nothing_back",)
    needs = "limits:rate"

    def change(self, settlement: Settlement) -> Settlement:
        is_short = isinstance(settlement, Release) and settlement.delay <= SHORTEST_DELAY
        return Release(settlement.receipt) if is_short else settlement


class _Lanes(Mutant):
    """Gives messages other lanes."""

    needs = "lanes"

    def lane(self, message: Outgoing) -> str:
        raise NotImplementedError

    def _changed(self, batch: Sequence[Outgoing]) -> list[Outgoing]:
        return [msgspec.structs.replace(each, lane=self.lane(each)) for each in batch]

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await super().publish(queue, self._changed(batch))


class EachMessageHasALane(_Lanes):
    noticed_by = ("test_43_a_full_lane_holds_up_no_other",)

    def lane(self, message: Outgoing) -> str:
        return message.id


class CaseOfLanesIsIgnored(_Lanes):
    noticed_by = ("test_43_names_of_lanes_are_compared_exactly",)

    def lane(self, message: Outgoing) -> str:
        return message.lane.lower()


class AnEmptyLaneIsForgotten(_Lanes):
    """And with it what it owes."""

    noticed_by = ("test_43_a_spent_lane_holds_up_no_other",)

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._ages: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._lanes: dict[str, str] = {}

    def lane(self, message: Outgoing) -> str:
        self._left[message.lane] += 1
        self._lanes[message.id] = message.lane
        return f"{message.lane} {self._ages[message.lane]}"

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        taken = await super().receive(queue, limit, wait)
        for received in taken:
            lane = self._lanes[received.id]
            self._left[lane] -= 1
            self._ages[lane] += not self._left[lane]
        return taken


class MovedMessagesLoseTheirLane(Mutant):
    noticed_by = ("test_43_moved_messages_enter_their_lane",)
    needs = "lanes"

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        replace = msgspec.structs.replace
        moves = [replace(move, messages=tuple(replace(each, lane="") for each in move.messages)) for move in batch]
        return await super().move(queue, moves)
