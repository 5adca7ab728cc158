"""Whatever is done to a queue at Redis, it answers as the memory driver does, and keeps nothing when it is empty."""

# The random numbers must repeat.

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from tasuki.contracts.driver import ACTS, Ack, Nack, Outgoing, QueueSpec, Release, Settlement, Span, Unique
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.errors import DriverError, QueueFullError
from tests.support.brokers.redis import Redis
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio

STEPS = 150
_KINDS: tuple[tuple[Callable[..., Settlement], *tuple[float, ...]], ...] = (
    (Ack,), (Ack,), (Nack,), (Release,), (Nack, 500.0), (Release, 500.0),
)  # fmt: skip


class Both:
    """The two drivers, asked the same; receipts are kept side by side."""

    def __init__(self, redis: RedisDriver, chance: random.Random) -> None:
        self.redis, self.memory, self.chance = redis, MemoryDriver("memory"), chance
        self.held: list[tuple[object, object]] = []
        self.count = 0

    async def declare(self) -> None:
        spec = QueueSpec(
            "q",
            lease=600.0,
            ordering=self.chance.choice(("none", "key", "key")),
            max_length=self.chance.choice((None, None, 12)),
        )
        await self.redis.declare(spec)
        await self.memory.declare(spec)

    async def publish(self) -> None:
        chance, batch = self.chance, []
        for _ in range(chance.randint(1, 6)):
            self.count += 1
            priority, key = chance.choice((0, 0, 0, 3, 9)), chance.choice((None, "a", "b", "\0", "\1"))
            batch.append(Outgoing(str(self.count), b"x", {}, chance.choice((0.0, 0.0, 0.0, 500.0)), priority, key))
        kinds = []
        for driver in (self.redis, self.memory):
            results: Sequence[object]
            try:
                results = await driver.publish("q", batch)
            except Exception as error:
                results = [error] * len(batch)
            kinds.append([type(result) for result in results])
        assert kinds[0] == kinds[1]

    async def publish_unique(self) -> None:
        chance, batch = self.chance, []
        for _ in range(chance.randint(1, 4)):
            self.count += 1
            span: Span = chance.choice(("pending", "pending", "running", 1000.0))
            unique = Unique(chance.choice("xyz"), span, chance.choice(ACTS), 800.0)
            delay, priority, key = chance.choice((0.0, 500.0)), chance.choice((0, 3)), chance.choice((None, "a", "b"))
            batch.append(Outgoing(str(self.count), b"u", {}, delay, priority, key, True, unique))
        answers = []
        for driver in (self.redis, self.memory):
            try:
                told = [*await driver.publish("q", batch)] or [None] * len(batch)
            except QueueFullError as error:
                told = [error] * len(batch)
            answers.append([type(each) if isinstance(each, DriverError) else each for each in told])
        assert answers[0] == answers[1]

    async def receive(self) -> None:
        limit = self.chance.randint(1, 5)
        got, expected = await self.redis.receive("q", limit, 0.0), await self.memory.receive("q", limit, 0.0)
        assert [(item.id, item.attempt) for item in got] == [(item.id, item.attempt) for item in expected]
        self.held += [(mine.receipt, its.receipt) for mine, its in zip(got, expected, strict=True)]

    async def settle(self) -> None:
        self.chance.shuffle(self.held)
        number = self.chance.randint(0, len(self.held))
        batch, self.held = self.held[:number], self.held[number:]
        kinds = [self.chance.choice(_KINDS) for _ in batch]
        for driver, side in ((self.redis, 0), (self.memory, 1)):
            settlements = [kind(pair[side], *delay) for (kind, *delay), pair in zip(kinds, batch, strict=True)]
            assert not await driver.settle("q", settlements)

    async def look(self) -> None:
        got, expected = await self.redis.depth("q"), await self.memory.depth("q")
        assert (got.ready, got.in_flight, got.delayed) == (expected.ready, expected.in_flight, expected.delayed)
        assert (got.oldest_age is None) == (expected.oldest_age is None)
        shown, wanted = [[item.id for item in await driver.peek("q", 1000)] for driver in (self.redis, self.memory)]
        # Those behind their key come key by key, and the keys in any order.
        assert sorted(shown) == sorted(wanted)

    async def purge(self) -> None:
        assert await self.redis.purge("q") == await self.memory.purge("q")

    async def act(self) -> None:
        acts = (self.publish, self.publish_unique, self.receive, self.settle, self.look, self.declare, self.purge)
        (act,) = self.chance.choices(acts, (6, 6, 8, 8, 4, 1, 0.3))
        await act()


@pytest.mark.parametrize("seed", range(12))
async def test_as_the_memory_driver(seed: int) -> None:
    broker = Redis.shared()
    driver = RedisDriver("redis", parsed(RedisSettings, url=broker.url, prefix=f"same{seed}"))
    await driver.open()
    both = Both(driver, random.Random(seed))
    await both.memory.open()
    try:
        await both.declare()
        for _ in range(STEPS):
            await both.act()
        assert not await driver.settle("q", [Ack(mine) for mine, _ in both.held])
        await driver.purge("q")
        assert broker.ask("EXISTS", *(f"{{same{seed}:q}}:{part}" for part in PARTS)) == ":0"
    finally:
        await driver.close()
        await both.memory.close()


PARTS = [
    "messages",
    "ready",
    "delayed",
    "leases",
    "attempts",
    "keyed",
    "lines",
    "fronts",
    "ids",
    "waiting",
]
