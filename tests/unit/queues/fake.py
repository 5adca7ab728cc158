"""Queues in memory, and on a driver that a test has on strings: a gate, so much room, an answer as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tasuki.contracts.driver import Capabilities, Depth, Driver, Outgoing, QueueSpec, Receipt, Received, Settlement
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import DriverError, QueueFullError
from tasuki.message import Message
from tasuki.queues.queue import Queue
from tasuki.testing.clock import FakeClock
from tests.unit.consumers.parts import make_queue


class FakeDriver(Driver):
    capabilities = Capabilities(abilities=frozenset({"native_priority"}), max_batch=4)

    def __init__(self) -> None:
        super().__init__("app:fake")
        self.stored: list[str] = []
        self.batches: list[list[str]] = []
        self.gate: asyncio.Event | None = None
        """Each publish waits here before it stores."""
        self.room: int | None = None
        self.answer: Callable[[Sequence[Outgoing]], Sequence[DriverError | None]] | None = None
        """Says (or raises) the answer instead; stores nothing."""

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        self.batches.append([message.id for message in batch])
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer(batch)
        fits = len(batch) if self.room is None else min(self.room, len(batch))
        self.stored += [message.id for message in batch[:fits]]
        if self.room is not None:
            self.room -= fits
        return [*[None] * fits, *[QueueFullError("full") for _ in batch[fits:]]]

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def declare(self, spec: QueueSpec) -> None: ...

    async def undeclare(self, queue: str) -> None: ...

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return spec

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        raise NotImplementedError

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        raise NotImplementedError

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        raise NotImplementedError

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        raise NotImplementedError

    async def delete(self, queue: str) -> None:
        raise NotImplementedError

    async def depth(self, queue: str) -> Depth:
        return Depth(len(self.stored), 0, 0, 1.5)


def outgoing(*ids: str) -> list[Outgoing]:
    return [Outgoing(id, b"x", {}) for id in ids]


def raising(error: BaseException) -> Callable[[Any], Any]:
    def answer(batch: Any) -> Any:
        raise error

    return answer


async def memory_queue(**options: Any) -> Queue:
    clock = FakeClock()
    driver = MemoryDriver("app:driver", clock=clock)
    queue = make_queue(driver, clock=clock, **options)
    await driver.declare(queue.spec)
    await driver.open()
    return queue


async def only(queue: Queue) -> Message:
    (message,) = await queue.peek()
    return message
