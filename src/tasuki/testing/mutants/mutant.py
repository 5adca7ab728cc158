"""Mutant: a driver around a real one, with one thing broken by its public verbs alone."""

# The name of a mutant says what it breaks.
# ruff: noqa: D102

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from tasuki.contracts.driver import (
    Answers,
    Causes,
    Depth,
    Driver,
    Durability,
    Kept,
    Move,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
    Transfer,
    Where,
)
from tasuki.contracts.state.store import Store
from tasuki.drivers.toolkit.results import Results
from tasuki.message import Message

PID = os.getpid()
"""In a forked child: its parent's."""


class Mutant(Driver):
    """Passes everything on to a real driver, but for what a subclass breaks; a case in ``noticed_by`` must fail."""

    noticed_by: tuple[str, ...] = ()
    needs = ""
    """A capability (a name for ``Capabilities.has``) without which it changes nothing."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner.name)
        self.inner = inner
        self.capabilities = inner.capabilities  # type: ignore[misc]
        self.one_writer = inner.one_writer  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def durability(self) -> Durability:
        return self.inner.durability

    def durability_of(self, queue: str) -> Durability:
        return self.inner.durability_of(queue)

    @property
    def patience(self) -> float | None:
        return self.inner.patience

    def store(self, name: str) -> Store:
        return self.inner.store(name)

    async def time(self) -> float | None:
        return await self.inner.time()

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def declare(self, spec: QueueSpec) -> None:
        await self.inner.declare(spec)

    async def undeclare(self, queue: str) -> None:
        await self.inner.undeclare(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return await self.inner.inspect(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await self.inner.publish(queue, batch)

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        return await self.inner.publish_within(connection, queue, batch)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        await self.inner.settle_within(connection, queue, batch)

    async def hold_within(self, connection: Any, queue: str, batch: Sequence[Receipt], *, settles: bool = True) -> None:
        await self.inner.hold_within(connection, queue, batch, settles=settles)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        return await self.inner.claim_within(connection, consumer, key, ttl)

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        await self.inner.remember_within(connection, consumer, key, result)

    def transaction(self, connection: Any = None, *, sync: bool = False) -> AbstractAsyncContextManager[Any]:
        return self.inner.transaction(connection, sync=sync)

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        return await self.inner.start(queue, batch)

    async def delete(self, queue: str) -> None:
        await self.inner.delete(queue)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        return await self.inner.receive(queue, limit, wait)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        return await self.inner.settle(queue, batch)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        return await self.inner.move(queue, batch)

    def is_move_atomic(self, queue: str, to: str) -> bool:
        return self.inner.is_move_atomic(queue, to)

    def counts_releases(self, queue: str, receipt: Receipt) -> bool:
        return self.inner.counts_releases(queue, receipt)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        return await self.inner.extend(queue, batch, lease)

    def kept(self, queue: str) -> Kept | None:
        return self.inner.kept(queue)

    async def depth(self, queue: str) -> Depth:
        return await self.inner.depth(queue)

    async def occupancy(self, queue: str) -> Occupancy:
        return await self.inner.occupancy(queue)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        return await self.inner.peek(queue, limit, after)

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        return await self.inner.find(queue, ids)

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        return await self.inner.locate(queue, ids)

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        return await self.inner.causes(queue, most, also)

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        return await self.inner.peek_cause(queue, cause, limit, after, newest_first=newest_first)

    async def purge(self, queue: str) -> int:
        return await self.inner.purge(queue)

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        return await self.inner.remove(queue, ids, places)

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        return await self.inner.expedite(queue, ids)

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Results:
        return await self.inner.transfer(queue, batch)

    def can_transfer(self, queue: str, to: str) -> bool:
        return self.inner.can_transfer(queue, to)


class Unbroken(Mutant):
    """No mutant: with it every case that is to notice one must pass, or its failing would prove nothing."""
