"""A broker as a model: a multiset of messages with leases, and drivers that are its clients and can be made to fail."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import (
    Ack,
    Capabilities,
    Depth,
    Driver,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.errors import DriverError, QueueFullError, QueueNotFoundError
from tasuki.message import HeaderValue, Message

Trouble = Callable[[str, str], Awaitable[None]]
"""Called with the verb and ``before`` or ``after``; what it raises the client sees, the latter with the effect done."""


async def no_trouble(verb: str, when: str) -> None:
    return None


@dataclass(eq=False)
class Stored:
    id: str
    body: bytes
    headers: dict[str, HeaderValue]
    number: int
    due: float
    failures: int = 0
    suspect: bool = False
    started: bool = False
    receipt: int | None = None
    lease_until: float = 0.0
    holder: ModelDriver | None = None


@dataclass
class ModelQueue:
    spec: QueueSpec
    stored: list[Stored] = field(default_factory=list)
    acked: list[str] = field(default_factory=list)


class ModelBroker:
    """What all clients share; the truth that invariants are checked against."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.queues: dict[str, ModelQueue] = {}
        self.numbers = itertools.count(1)
        self.verdicts: dict[int, set[str]] = {}
        """Receipt to the kinds of settlement that were asked for it: more than one is a defect."""
        self.deliveries: list[tuple[str, int]] = []

    def ids(self, queue: str) -> list[str]:
        return [stored.id for stored in self.queues[queue].stored]

    def held_by(self, driver: ModelDriver) -> int:
        now = self.clock.monotonic()
        stored = (one for queue in self.queues.values() for one in queue.stored)
        return sum(one.holder is driver and one.receipt is not None and one.lease_until > now for one in stored)


class ModelDriver(Driver):
    """One client of the broker; ``dead`` is a killed process: whatever it still asks for never happens."""

    capabilities = Capabilities(
        "process",
        frozenset({"ordered", "leases", "exact_depth", "max_length"}),
        max_batch=7,
    )

    def __init__(self, broker: ModelBroker, *, trouble: Trouble = no_trouble, name: str = "app:model") -> None:
        super().__init__(name)
        self.broker = broker
        self.trouble = trouble
        self.dead = False
        self.calls: list[tuple[str, Any]] = []

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        for queue in self.broker.queues.values():
            for stored in queue.stored:
                if stored.holder is self:
                    stored.receipt = stored.holder = None
                    stored.started = False

    async def declare(self, spec: QueueSpec) -> None:
        queue = self.broker.queues.setdefault(spec.name, ModelQueue(spec))
        queue.spec = spec

    async def undeclare(self, queue: str) -> None:
        return None

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return self.broker.queues[spec.name].spec

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        target = await self._begin("publish", queue, list(batch))
        results: list[DriverError | None] = []
        for message in batch:
            if target.spec.max_length is not None and len(target.stored) >= target.spec.max_length:
                results.append(QueueFullError("full", driver=self.name, queue=queue))
                continue
            due = self.broker.clock.monotonic() + message.delay
            target.stored.append(
                Stored(message.id, message.body, dict(message.headers), next(self.broker.numbers), due)
            )
            results.append(None)
        await self.trouble("publish", "after")
        return results if any(results) else ()

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        target = await self._begin("receive", queue, limit)
        end = self.broker.clock.monotonic() + wait
        while not (taken := self._take(target, limit)) and self.broker.clock.monotonic() < end:
            await asyncio.sleep(0.05)
            await self._hang_if_dead()
        return taken

    def _take(self, target: ModelQueue, limit: int) -> list[Received]:
        now = self.broker.clock.monotonic()
        taken: list[Received] = []
        for stored in sorted(target.stored, key=lambda one: one.number):
            if len(taken) == limit:
                break
            if (stored.receipt is None or stored.lease_until <= now) and stored.due <= now:
                if stored.receipt is not None:  # ended without a settlement
                    stored.suspect, stored.failures = True, stored.failures + stored.started
                stored.started, attempt = False, stored.failures + 1
                stored.receipt = receipt = next(self.broker.numbers)
                stored.lease_until, stored.holder = now + target.spec.lease, self
                self.broker.deliveries.append((stored.id, attempt))
                headers = dict(stored.headers)
                taken.append(Received(stored.id, stored.body, headers, receipt, attempt, stored.suspect))
        return taken

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        target = await self._begin("start", queue, list(batch))
        held = {receipt: self._held(target, receipt) for receipt in batch}
        for stored in held.values():
            if stored is not None:
                stored.started = True
        await self.trouble("start", "after")
        return [receipt for receipt, stored in held.items() if stored is None]

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        target = await self._begin("settle", queue, list(batch))
        stale = []
        for settlement in batch:
            self.broker.verdicts.setdefault(settlement.receipt, set()).add(repr(settlement))
            stored = self._held(target, settlement.receipt)
            if stored is None:
                stale.append(settlement.receipt)
                continue
            stored.receipt = stored.holder = None
            stored.started = False
            if isinstance(settlement, Ack):
                target.stored.remove(stored)
                target.acked.append(stored.id)
            elif isinstance(settlement, Nack):
                stored.due = self.broker.clock.monotonic() + settlement.delay
                stored.failures, stored.suspect = stored.failures + 1, False
        await self.trouble("settle", "after")
        return stale

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        target = await self._begin("extend", queue, list(batch))
        stale = []
        for receipt in batch:
            stored = self._held(target, receipt)
            if stored is None:
                stale.append(receipt)
            else:
                stored.lease_until = self.broker.clock.monotonic() + lease
        return stale

    async def delete(self, queue: str) -> None:
        raise NotImplementedError

    async def depth(self, queue: str) -> Depth:
        target = await self._begin("depth", queue, None)
        now = self.broker.clock.monotonic()
        held = sum(stored.receipt is not None and stored.lease_until > now for stored in target.stored)
        delayed = sum(stored.due > now and stored.receipt is None for stored in target.stored)
        return Depth(len(target.stored) - held - delayed, held, delayed)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        target = await self._begin("peek", queue, limit)
        return [Message(one.id, one.body, dict(one.headers)) for one in target.stored[after : after + limit]]

    def _held(self, target: ModelQueue, receipt: Receipt) -> Stored | None:
        """What the receipt stands for, if its lease has not ended (an ended lease can still be settled until taken)."""
        return next((stored for stored in target.stored if stored.receipt == receipt), None)

    async def _begin(self, verb: str, queue: str, what: Any) -> ModelQueue:
        self.calls.append((verb, what))
        await self._hang_if_dead()
        await self.trouble(verb, "before")
        await self._hang_if_dead()
        if queue not in self.broker.queues:
            raise QueueNotFoundError(f"no queue {queue!r}", driver=self.name, queue=queue)
        return self.broker.queues[queue]

    async def _hang_if_dead(self) -> None:
        if self.dead:
            await asyncio.get_running_loop().create_future()
