"""Mutants of queues and their options."""

# The name of a mutant says what it breaks.
# ruff: noqa: D101, D102

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from tasuki.contracts.driver import Answers, Outgoing, QueueSpec, Received
from tasuki.contracts.state.store import Store
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tasuki.testing.mutants.mutant import Mutant, MutantTable

_TABLE = MutantTable(__name__)
declares = _TABLE.given("declare")

declares(
    "BoundIsIgnored",
    "test_23_a_full_queue_rejects_in_order_and_takes_back",
    lambda spec: replace(spec, max_length=None),
)
declares(
    "TemporaryIsIgnored",
    "test_25_the_temporary_queue_of_a_killed_process_goes_and_others_stay",
    lambda spec: replace(spec, temporary=False),
)
declares(
    "DuplicatesAreStored",
    "test_26_a_known_id_is_confirmed_and_not_stored_again",
    lambda spec: replace(spec, dedup_window=None),
)
declares(
    "WindowNeverEnds",
    "test_an_id_may_come_again_after_the_window",
    lambda spec: replace(spec, dedup_window=spec.dedup_window and spec.dedup_window * 1000),
)
declares(
    "WindowEndsEarly",
    "test_an_id_may_come_again_after_the_window",
    lambda spec: replace(spec, dedup_window=spec.dedup_window and spec.dedup_window / 1000),
)
_TABLE.answer("inspect")(
    "InspectShowsADefault",
    "test_30_inspecting_finds_what_was_declared",
    lambda found: replace(found, options={**found.options, "partitions": 16}),
)
_TABLE.instead("undeclare")(
    "UndeclareDeletes",
    "test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",
    lambda real, queue: real.delete(queue),
)


class OpensAtTheSameTimeAreTwo(Mutant):
    noticed_by = ("test_01_opens_at_the_same_time_leave_nothing_behind_the_close",)

    async def open(self) -> None:
        if self.__dict__.setdefault("is_opening", False):
            self.lost = asyncio.create_task(asyncio.Event().wait())
        self.is_opening = True
        await asyncio.sleep(0)  # a driver without a broker leaves no time for others
        await self.inner.open()
        self.is_opening = False


class NewOrderingForNewMessagesOnly(Mutant):
    noticed_by = ("test_switching_the_ordering_of_many_messages_puts_all_in_order",)

    async def declare(self, spec: QueueSpec) -> None:
        if spec.ordering == "key" and getattr(self, "has_messages", False):
            spec = replace(spec, ordering="none")
        await self.inner.declare(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        self.has_messages = True
        return await self.inner.publish(queue, batch)


class APublisherEndsATemporaryQueue(Mutant):
    noticed_by = ("test_25_a_temporary_queue_outlives_those_that_publish_to_it",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        self.visited = spec.temporary
        return await self.inner.inspect(spec)

    async def undeclare(self, queue: str) -> None:
        if getattr(self, "visited", False):
            await self.inner.delete(queue)
        await self.inner.undeclare(queue)


class OptionsAreItsOwn(Mutant):
    noticed_by = ("test_33_options_of_another_process_hold_at_once",)

    async def declare(self, spec: QueueSpec) -> None:
        self.own = spec
        await self.inner.declare(spec)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        if self.own.name == queue:
            await self.inner.declare(self.own)
        return await self.inner.receive(queue, limit, wait)


class UndeclareIsForgotten(Mutant):
    noticed_by = ("test_29_an_undeclared_queue_is_forgotten_and_stays_at_the_broker",)

    async def undeclare(self, queue: str) -> None:
        return


class InspectDeclares(Mutant):
    noticed_by = ("test_30_inspecting_makes_no_queue",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        await self.inner.declare(spec)
        return spec


class InspectChangesOptions(Mutant):
    noticed_by = ("test_30_inspecting_changes_no_option",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        await self.inner.inspect(spec)
        await self.inner.declare(spec)
        return spec


class CloseIsForgotten(Mutant):
    noticed_by = ("test_a_closed_driver_is_unavailable", "test_17_close_is_idempotent_frees_and_wakes")

    async def close(self) -> None:
        if getattr(self, "_closing_now", False):
            await self.inner.close()
        self._closing_now = not getattr(self, "_closing_now", False)


class AnUnopenedDriverKnowsNoQueue(Mutant):
    noticed_by = ("test_an_inspection_before_open_is_unavailable",)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        try:
            return await self.inner.inspect(spec)
        except BrokerUnavailableError as error:
            raise QueueNotFoundError("there is no such queue", driver=self.name, queue=spec.name) from error


class LookingMakesTheStore(Mutant):
    """As one that opens a store to look whether it is there."""

    noticed_by = ("test_62_looking_makes_no_store",)

    def store(self, name: str) -> Store:
        made: set[str] = self.__dict__.setdefault("_made", set())

        async def exists() -> bool:
            is_there = name in made
            made.add(name)
            return is_there

        return _with(self.inner.store(name), exists=exists)


class AStoreIsNotFound(Mutant):
    noticed_by = ("test_62_looking_makes_no_store",)

    def store(self, name: str) -> Store:
        async def exists() -> bool:
            return False

        return _with(self.inner.store(name), exists=exists)


class AStoreIsThereWhereItIsOpen(Mutant):
    """For the process that opened it, as long as it is open."""

    noticed_by = ("test_62_looking_makes_no_store",)

    def store(self, name: str) -> Store:
        found, is_open = self.inner.store(name), False

        async def exists() -> bool:
            return is_open

        async def put(*arguments: Any, **options: Any) -> int:
            nonlocal is_open
            is_open = True
            return await type(found).put(found, *arguments, **options)

        return _with(found, exists=exists, put=put)


def _with(store: Store, **verbs: Callable[..., Awaitable[object]]) -> Store:
    for name, verb in verbs.items():
        setattr(store, name, verb)
    return store
