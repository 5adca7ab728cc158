"""Publishers, batches, full queues, cancellations and a driver that fails: no caller gets a wrong result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tasuki.contracts.driver import Capabilities, Outgoing
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError, MessageTooLargeError, QueueFullError
from tasuki.queues.batcher import Batcher
from tasuki.testing.clock import virtual_time
from tests.unit.queues.fake import FakeDriver

SEEDS = 300


class Broker(FakeDriver):
    """Bounded, slow, and faulty as its dice say; the truth is ``stored``."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice = dice
        self.capabilities = Capabilities(max_batch=dice.choice([1, 2, 5, 50]))  # type: ignore[misc]
        self.length = dice.choice([3, 20, 1000])
        self.faults = dice.choice([0.0, 0.1, 0.4])
        self.held: list[str] = []

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        assert 1 <= len(batch) <= self.capabilities.max_batch
        if self.dice.random() < 0.7:
            await asyncio.sleep(self.dice.choice([0, 0.001, 0.1, 1.0]))
        if self.dice.random() < self.faults:
            raise self.dice.choice([BrokerUnavailableError("away"), KeyError("defect")])
        results: list[DriverError | None] = []
        for message in batch:
            if len(self.held) >= self.length:
                results.append(QueueFullError("full"))
            elif message.id.endswith("large"):
                results.append(MessageTooLargeError("large"))
            else:
                self.stored.append(message.id)
                self.held.append(message.id)
                results.append(None)
        if self.dice.random() < self.faults / 2:
            raise BrokerTimeoutError("the reply was lost")
        if self.dice.random() < 0.2:
            await asyncio.sleep(self.dice.choice([0, 0.01]))
        return results if any(results) else ()

    async def consume(self) -> None:
        while True:
            await asyncio.sleep(self.dice.choice([0.001, 0.05, 0.5]))
            del self.held[: self.dice.randint(0, 5)]


@dataclass
class Publisher:
    name: str
    told: dict[str, object] = field(default_factory=dict)
    confirmed: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    lateness: float = 0.0

    async def run(self, batcher: Batcher, dice: random.Random) -> None:
        """Publish one call after the other, as a publisher that minds its order does."""
        loop = asyncio.get_running_loop()
        for call in range(dice.randint(1, 8)):
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.3]))
            sizes = range(dice.choice([1, 1, 1, 3, 12]))
            ids = [f"{self.name}-{call}-{i}{'-large' if dice.random() < 0.1 else ''}" for i in sizes]
            timeout = dice.choice([0.2, 2.0, 30.0])
            task = asyncio.create_task(batcher.publish([Outgoing(id, b"x", {}) for id in ids], timeout))
            started = loop.time()
            if dice.random() < 0.15:
                await asyncio.sleep(dice.choice([0, 0.001, 0.1]))
                task.cancel()
            try:
                results = await task
            except asyncio.CancelledError:
                self.cancelled.update(ids)
                continue
            self.lateness = max(self.lateness, loop.time() - started - timeout)
            assert len(results) == len(ids)
            self.told.update(zip(ids, results, strict=True))
            self.confirmed += [id for id, error in zip(ids, results, strict=True) if error is None]


async def schedule(seed: int) -> None:
    dice = random.Random(seed)
    broker = Broker(dice)
    blocks = dice.random() < 0.7
    batcher = Batcher(broker, "tasks", block_when_full=blocks)
    publishers = [Publisher(f"p{number}") for number in range(dice.randint(1, 6))]
    consuming = asyncio.create_task(broker.consume())
    await asyncio.gather(*(publisher.run(batcher, dice) for publisher in publishers))
    consuming.cancel()
    await asyncio.sleep(1)
    check(broker, publishers, blocks=blocks)
    assert not batcher._pending
    assert batcher._pending_messages == 0
    assert not batcher._busy


def check(broker: Broker, publishers: list[Publisher], *, blocks: bool) -> None:
    stored = set(broker.stored)
    assert len(stored) == len(broker.stored), "stored twice"
    published = {id for publisher in publishers for id in (*publisher.told, *publisher.cancelled)}
    assert stored <= published
    for publisher in publishers:
        assert publisher.lateness <= 0.06
        mine = [id for id in broker.stored if id.startswith(publisher.name + "-")]
        assert [id for id in mine if id in set(publisher.confirmed)] == publisher.confirmed, "out of order"
        for id, error in publisher.told.items():
            if error is None:
                assert id in stored, "told confirmed and not stored"
            elif isinstance(error, DriverError) and error.outcome == "rejected":
                assert id not in stored, "told rejected and stored"
            if isinstance(error, MessageTooLargeError):
                assert id.endswith("large")
            if id.endswith("large"):
                assert error is not None


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_schedules(start: int) -> None:
    for seed in range(start, start + 50):
        try:
            with virtual_time() as runner:
                runner.run(schedule(seed))
        except BaseException:
            print(f"seed {seed}")
            raise
