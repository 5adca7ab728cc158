"""The rig of tests at a broker: fresh names, messages, drivers that are opened and closed, and work that goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

from tasuki.contracts.driver import Ack, Driver, Outgoing, QueueSpec, Received
from tasuki.errors import DriverError

SECONDS = 30.0
"""Long enough for a slow machine; no test waits that long where all is well."""
IMPATIENT = 2.0
"""Seconds for an answer where silence must be noticed; a broker on a busy machine needs some for its start."""
AHEAD = 10_000
"""Messages that publishers may be ahead of consumers: the end of the work must not take long."""

D = TypeVar("D", bound=Driver)


def fresh(word: str = "q") -> str:
    """A name that no other test has: for a queue, a schema or a prefix."""
    return f"{word}_{uuid4().hex[:12]}"


@asynccontextmanager
async def opened(driver: D, *specs: QueueSpec) -> AsyncIterator[D]:
    """The driver, open, with these queues; closed at the end."""
    await driver.open()
    try:
        for spec in specs:
            await driver.declare(spec)
        yield driver
    finally:
        await driver.close()


def messages(*ids: str, **options: Any) -> list[Outgoing]:
    return [Outgoing(id, b"body", {}, **options) for id in ids]


async def take(driver: Driver, queue: str, number: int = 1) -> list[Received]:
    """Receive this many messages; fails if they do not come."""
    taken: list[Received] = []
    end = time.monotonic() + SECONDS
    while len(taken) < number and time.monotonic() < end:
        taken += await driver.receive(queue, number - len(taken), 1.0)
    assert len(taken) == number, taken
    return taken


async def until(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait for what the broker or the driver does by itself."""
    end = time.monotonic() + SECONDS
    while not await condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


class Work:
    """Publishes and consumes without end; notes confirmed, delivered and surely acked messages."""

    def __init__(self, publisher: Driver, consumer: Driver, queues: Sequence[str] = ("q",)) -> None:
        self.confirmed: list[str] = []
        self.delivered: Counter[str] = Counter()
        self.acked: Counter[str] = Counter()
        self.errors: list[DriverError] = []
        self._publisher, self._consumer, self._queues = publisher, consumer, queues
        self._is_over = False

    async def __aenter__(self) -> Work:
        self._tasks = [
            asyncio.create_task(work)
            for queue in self._queues
            for work in (self._publish(queue, 0), self._publish(queue, 1), self._consume(queue))
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)
        for queue in self._queues:
            while got := await self._consumer.receive(queue, 1000, 2.5):
                await self._ack(queue, got)

    async def goes_on(self, number: int = 200) -> None:
        """Wait until this many more messages were confirmed, and as many acked."""
        confirmed, acked = len(self.confirmed) + number, len(self.acked) + number
        end = time.monotonic() + SECONDS
        while len(self.confirmed) < confirmed or len(self.acked) < acked:
            assert time.monotonic() < end, f"it does not go on; last: {self.errors[-1:]}"
            await asyncio.sleep(0.01)

    async def catches_up(self) -> None:
        """Wait until all messages confirmed by now are delivered: those held at a crash come back after their lease."""
        confirmed, end = set(self.confirmed), time.monotonic() + SECONDS
        while confirmed - self.delivered.keys() and time.monotonic() < end:
            await asyncio.sleep(0.02)

    def lost(self) -> set[str]:
        """Confirmed messages that never came."""
        return set(self.confirmed) - set(self.delivered)

    async def _publish(self, queue: str, number: int) -> None:
        count = 0
        while not self._is_over:
            if len(self.confirmed) - len(self.delivered) > AHEAD:
                await asyncio.sleep(0.01)
                continue
            ids = [f"{queue}-{number}-{count + index}" for index in range(10)]
            count += 10
            try:
                results = await self._publisher.publish(queue, messages(*ids))
            except DriverError as error:
                await self._failed(error)
                continue
            assert not results
            self.confirmed += ids

    async def _consume(self, queue: str) -> None:
        while not self._is_over:
            try:
                await self._ack(queue, await self._consumer.receive(queue, 20, 0.2))
            except DriverError as error:
                await self._failed(error)

    async def _ack(self, queue: str, got: list[Received]) -> None:
        self.delivered.update(item.id for item in got)
        stale = await self._consumer.settle(queue, [Ack(item.receipt) for item in got]) if got else ()
        self.acked.update(item.id for item in got if item.receipt not in stale)

    async def _failed(self, error: DriverError) -> None:
        assert error.retryable, error
        self.errors.append(error)
        await asyncio.sleep(0.02)
