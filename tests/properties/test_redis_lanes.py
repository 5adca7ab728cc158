"""Whatever is done to a limited queue at Redis: all that may be handed out is, no more is, and its lanes stay whole."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest

from tasuki.contracts.driver import (
    ACTS,
    Ack,
    Driver,
    Limit,
    Nack,
    Outgoing,
    QueueSpec,
    Received,
    Release,
    Settlement,
    Span,
    Unique,
)
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tests.support.brokers.redis import Redis
from tests.support.brokers.redis_lanes import LanesSeen
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio

STEPS = 150
NEVER = 1e-6
"""Messages a second: none more comes during a test."""
FREE = Limit()
_KINDS: tuple[tuple[Callable[..., Settlement], *tuple[float, ...]], ...] = (
    (Ack,), (Ack,), (Nack,), (Release,), (Nack, 500.0), (Release, 500.0),
)  # fmt: skip
_LANES = ("", "", "a", "b", "c", "\0", "\1\2", "é")
Ordering = Literal["none", "key"]
_ORDERINGS: tuple[Ordering, ...] = ("none", "key")


@dataclass
class Kept:
    """A message as the test knows it; ``state`` is r(eady), h(eld) or d(elayed)."""

    id: str
    number: int
    priority: int
    key: str | None
    lane: str
    state: str

    def rank(self) -> tuple[int, int]:
        """Its place in its lane."""
        return -self.priority, self.number


class Model:
    """What a queue may hand out, by the words of the contract and nothing else."""

    def __init__(self) -> None:
        self.messages: dict[str, Kept] = {}
        self.spec = QueueSpec("q")
        self.owed = 0
        self.lanes_owed: Counter[str] = Counter()

    def declare(self, spec: QueueSpec) -> None:
        if not spec.fair:
            for kept in self.messages.values():
                kept.lane = ""
        self.owed *= _has_rate(spec.limit)
        if not _has_rate(spec.lane_limit):
            self.lanes_owed.clear()
        self.spec = spec

    def lane_of(self, kept: Kept) -> str:
        if self.spec.ordering == "key":
            return "" if kept.key is None else f"={kept.key}"
        return f"={kept.lane}" if kept.lane else ""

    def in_state(self, state: str) -> list[Kept]:
        return [kept for kept in self.messages.values() if kept.state == state]

    def eligible(self) -> dict[str, list[Kept]]:
        """Of each lane the ready messages that no other one of their key is before, in their order."""
        found: dict[str, list[Kept]] = {}
        seen: set[str] = set()
        for kept in sorted(self.messages.values(), key=lambda kept: kept.number):
            if self.spec.ordering == "key" and kept.key is not None:
                if kept.key in seen:
                    continue
                seen.add(kept.key)
            if kept.state == "r":
                found.setdefault(self.lane_of(kept) if self.spec.fair else "", []).append(kept)
        return {lane: sorted(line, key=Kept.rank) for lane, line in found.items()}

    def rooms(self) -> tuple[int, dict[str, int]]:
        """How many messages the queue, and each lane, may hand out now."""
        lines = self.eligible()
        held = Counter(map(self.lane_of, self.in_state("h")))
        rooms = {
            lane: min(len(line), _room(self.spec.lane_limit, self.lanes_owed[lane], held[lane]))
            for lane, line in lines.items()
        }
        whole = _room(self.spec.limit, self.owed, len(self.in_state("h")))
        return min(whole, sum(rooms.values())), rooms

    def check_received(self, got: list[Received], limit: int) -> None:
        most, rooms = self.rooms()
        assert len(got) == min(most, limit)
        lines = self.eligible()
        for item in got:
            kept = self.messages[item.id]
            lane = self.lane_of(kept) if self.spec.fair else ""
            assert lines[lane].pop(0) is kept
            rooms[lane] -= 1
            assert rooms[lane] >= 0
            kept.state = "h"
            self.owed += _has_rate(self.spec.limit)
            self.lanes_owed[lane] += _has_rate(self.spec.lane_limit)

    def release(self, id: str) -> None:
        lane = self.lane_of(self.messages[id]) if self.spec.fair else ""
        self.owed = max(self.owed - _has_rate(self.spec.limit), 0)
        self.lanes_owed[lane] = max(self.lanes_owed[lane] - _has_rate(self.spec.lane_limit), 0)


def _has_rate(limit: Limit | None) -> int:
    return int((limit or FREE).rate is not None)


def _room(limit: Limit | None, owed: int, held: int) -> int:
    limit = limit or FREE
    places = 10_000 if limit.concurrency is None else limit.concurrency - held
    return max(min(places, 10_000 if limit.rate is None else limit.burst - owed), 0)


class Traffic:
    """Random verbs on a queue, checked against the model."""

    def __init__(self, driver: Driver, chance: random.Random, lanes: Sequence[str] = _LANES) -> None:
        self.driver, self.chance, self.lanes, self.model = driver, chance, lanes, Model()
        self.held: list[Received] = []
        self.count = 0

    def limit(self) -> Limit | None:
        chance = self.chance
        rate, places = chance.choice((None, None, NEVER)), chance.choice((None, 1, 2, 6))
        return None if rate is None and places is None else Limit(rate, chance.choice((1, 30)), places)

    async def declare(self, ordering: Ordering | None = None, *, no_rate: bool = False) -> None:
        chance = self.chance
        fair = chance.choice((0, 1, 1, 1, 3))
        whole, each = chance.choice((None, None, self.limit())), chance.choice((None, self.limit()))
        if no_rate:
            whole, each = (limit and Limit(concurrency=limit.concurrency or 5) for limit in (whole, each))
        spec = QueueSpec(
            "q",
            lease=600.0,
            ordering=chance.choice(_ORDERINGS) if ordering is None else ordering,
            limit=whole,
            lane_limit=each if fair else None,
            fair=fair,
        )
        await self.driver.declare(spec)
        self.model.declare(spec)

    async def publish(self) -> None:
        chance, batch = self.chance, []
        for _ in range(chance.randint(1, 6)):
            self.count += 1
            priority, key, lane = (
                chance.choice((0, 0, 0, 3, 9)),
                chance.choice((None, "a", "b")),
                chance.choice(self.lanes),
            )
            delay, id = chance.choice((0.0, 0.0, 0.0, 500.0)), str(self.count)
            batch.append(Outgoing(id, b"x", {}, delay, priority, key, lane=lane))
            stored = lane if self.model.spec.fair else ""
            self.model.messages[id] = Kept(id, self.count, priority, key, stored, "d" if delay else "r")
        assert not await self.driver.publish("q", batch)

    async def publish_unique(self) -> None:
        """Not in the model."""
        chance, batch = self.chance, []
        for _ in range(chance.randint(1, 4)):
            self.count += 1
            span: Span = chance.choice(("pending", "pending", "running", 1000.0))
            unique = Unique(chance.choice("xyz"), span, chance.choice(ACTS), 800.0)
            delay, key, lane = chance.choice((0.0, 500.0)), chance.choice((None, "a", "b")), chance.choice(self.lanes)
            batch.append(Outgoing(str(self.count), b"u", {}, delay, 0, key, True, unique, lane))
        await self.driver.publish("q", batch)

    async def receive(self, limit: int = 0, *, is_checked: bool = True) -> None:
        limit = limit or self.chance.randint(1, 5)
        got = await self.driver.receive("q", limit, 0.0)
        if is_checked:
            self.model.check_received(got, limit)
        self.held += got

    async def settle(self, *, is_checked: bool = True) -> None:
        chance = self.chance
        chance.shuffle(self.held)
        number = chance.randint(0, len(self.held))
        batch, self.held = self.held[:number], self.held[number:]
        kinds = [chance.choice(_KINDS) for _ in batch]
        settlements = [kind(item.receipt, *delay) for item, (kind, *delay) in zip(batch, kinds, strict=True)]
        assert not await self.driver.settle("q", settlements)
        if not is_checked:
            return
        for item, (kind, *delay) in zip(batch, kinds, strict=True):
            if kind is Ack:
                del self.model.messages[item.id]
                continue
            self.model.messages[item.id].state = "d" if delay else "r"
            if kind is Release and not delay:
                self.model.release(item.id)

    async def remove(self) -> None:
        ids = [str(self.chance.randint(1, self.count + 1)) for _ in range(4)]
        gone = {id for id in ids if id in self.model.messages and self.model.messages[id].state != "h"}
        assert await self.driver.remove("q", ids) == len(gone)
        for id in gone:
            del self.model.messages[id]

    async def purge(self) -> None:
        self.model.messages = {kept.id: kept for kept in self.model.in_state("h")}
        await self.driver.purge("q")


@asynccontextmanager
async def traffic(prefix: str, seed: int) -> AsyncIterator[tuple[Traffic, LanesSeen]]:
    driver = RedisDriver("redis", parsed(RedisSettings, url=Redis.shared().url, prefix=f"{prefix}{seed}"))
    await driver.open()
    found = Traffic(driver, random.Random(seed))
    try:
        await found.declare("key" if seed % 2 else "none")
        seen = LanesSeen(driver)
        yield found, seen
        assert not await driver.settle("q", [Ack(item.receipt) for item in found.held])
        await driver.purge("q")
        assert await seen.left() <= {"marks"}
    finally:
        await driver.close()


@pytest.mark.parametrize("seed", range(16))
async def test_all_is_handed_out_that_may_be(seed: int) -> None:
    async with traffic("lanes", seed) as (found, seen):
        ordering: Ordering = "key" if seed % 2 else "none"
        verbs = (found.publish, found.receive, found.settle, found.declare, found.remove, found.purge)
        for _ in range(STEPS):
            (verb,) = found.chance.choices(verbs, (6, 10, 8, 1, 1, 0.2))
            await (found.declare(ordering) if verb == found.declare else verb())
            await seen.check()


@pytest.mark.parametrize("seed", range(16))
async def test_lanes_stay_whole_and_nothing_stays_in_them(seed: int) -> None:
    async with traffic("whole", seed) as (found, seen):
        for _ in range(STEPS):
            match found.chance.randrange(20):
                case 0:
                    await found.declare()
                case 1:
                    await found.driver.remove("q", [str(found.chance.randint(1, found.count + 1))])
                    await found.driver.expedite("q", [str(found.chance.randint(1, found.count + 1)) for _ in range(9)])
                case number if number < 8:
                    await (found.publish, found.publish_unique)[number % 2]()
                case number if number < 14:
                    await found.receive(is_checked=False)
                case _:
                    await found.settle(is_checked=False)
            await seen.check()
        await found.declare(no_rate=True)
        await found.driver.settle("q", [Ack(item.receipt) for item in found.held])
        found.held = []
        while got := await found.driver.receive("q", 7, 0.0):
            assert not await found.driver.settle("q", [Ack(item.receipt) for item in got])
            await seen.check()
        assert not await seen.ask("EXISTS", "ready")
        assert await seen.left() <= {"laned", "marks"}, "what is left is delayed, or waits for a delayed one of its key"
