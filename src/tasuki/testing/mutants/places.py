"""Mutants of places for held messages, and of what wakes a receive that waits for one."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Driver,
    Move,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.drivers.toolkit.results import Results
from tasuki.testing.mutants.mutant import Mutant


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
        await super().declare(spec)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        end = asyncio.get_running_loop().time() + wait
        while True:
            room = self._places.get(queue, limit) - self._held[queue]
            self._held[queue] += min(room, limit)
            taken = await super().receive(queue, min(room, limit), 0.0)
            self._held[queue] -= min(room, limit) - len(taken)
            if taken or asyncio.get_running_loop().time() >= end:
                return taken
            await asyncio.sleep(0.01)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await super().settle(queue, batch)
        self._held[queue] -= sum(isinstance(each, self.frees) for each in batch) - len(stale)
        return stale

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        self._held[queue] -= len(batch) if Move in self.frees else 0
        return await super().move(queue, batch)


class PlacesAreCountedInEachProcess(_Counts):
    noticed_by = ("test_42_no_more_than_its_places_are_held",)
    needs = "multi_process"


class AMoveKeepsItsPlace(_Counts):
    noticed_by = ("test_45_a_move_frees_a_place",)
    needs = "limits:concurrency"
    frees = (Ack, Nack, Release)


class ANackKeepsItsPlace(_Counts):
    noticed_by = ("test_45_a_settlement_wakes_one_that_waits_for_a_place",)
    needs = "limits:concurrency"
    frees = (Ack, Release, Move)


class AnEndedLeaseKeepsItsPlace(_Counts):
    noticed_by = ("test_45_an_ended_lease_frees_its_place",)
    needs = "leases"


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
            taken = await super().receive(queue, limit, 0.0)
            left = end - loop.time()
            if taken or left <= 0:
                return taken
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                return []

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        answers = await super().publish(queue, batch)
        self._tell("publish")
        return answers

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await super().settle(queue, batch)
        self._tell(*map(type, batch))
        return stale

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        results = await super().move(queue, batch)
        self._tell(Move)
        return results

    async def declare(self, spec: QueueSpec) -> None:
        await super().declare(spec)
        self._tell("declare")


class TimeWakesNone(_Sleeps):
    noticed_by = ("test_42_the_next_one_comes_by_itself", "test_43_the_next_one_of_a_lane_comes_by_itself")
    needs = "limits:rate"


class TheEndOfALeaseWakesNone(_Sleeps):
    noticed_by = ("test_45_the_end_of_a_lease_wakes_one_that_waits",)
    needs = "leases"


class AnAckWakesNone(_Sleeps):
    noticed_by = ("test_45_a_settlement_brings_its_lane_to_life",)
    needs = "limits:concurrency"
    deaf_to = (Ack,)


class ANackWakesNone(_Sleeps):
    noticed_by = ("test_45_a_settlement_brings_its_lane_to_life",)
    needs = "limits:concurrency"
    deaf_to = (Nack,)


class AReleaseWakesNone(_Sleeps):
    noticed_by = ("test_45_a_release_wakes_one_that_waits_for_the_rate",)
    needs = "limits:rate"
    deaf_to = (Release,)


class AMoveWakesNone(_Sleeps):
    noticed_by = ("test_45_a_move_frees_a_place",)
    needs = "limits:concurrency"
    deaf_to = (Move,)


class ADeclarationWakesNone(_Sleeps):
    noticed_by = ("test_45_a_new_declaration_wakes_one_that_waits",)
    needs = "limits:concurrency"
    deaf_to = ("declare",)
