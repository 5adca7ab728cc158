"""Limits and lanes: what a message costs in a queue with lanes, and a claim beside very many blocked messages.

``python -m tests.benchmarks limits [--driver DRIVER…]``. Each on a private broker process on this machine, from one
process. Each message is published, received and acked by its own call, or with 99 others, in every queue alike;
in the plain queue they have no lane. The queues take turns, and a row is the median: other work on the machine meets
all rows alike.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Driver, Limit, Outgoing, QueueSpec
from tests.benchmarks.queues import _spent
from tests.benchmarks.stores import _FIELDS, _driver
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of

_ROUNDS = 5
_MESSAGES = 4_000
"""For each row and round in batches; one at a time, a tenth."""
_BLOCKED = 100_000
_CLAIMS = 200
_KEYS = 1000
_BODY = b"x" * 190

_SPECS = {
    "plain": QueueSpec("plain"),
    "limit": QueueSpec("limit", limit=Limit(rate=1e5, burst=1000, concurrency=1000)),
    "lanes": QueueSpec("lanes", fair=1),
    "fair: 10": QueueSpec("ten", fair=10),
    "3 places": QueueSpec("places", fair=1, lane_limit=Limit(concurrency=3)),
    "rate": QueueSpec("rate", fair=1, lane_limit=Limit(rate=1e5, burst=1000)),
}


class Cost(NamedTuple):
    """Seconds by the clock, and of processor time here and at the broker, which other work changes less."""

    wall: float
    cpu: float
    there: float = 0.0

    @classmethod
    def now(cls, broker: Broker | None = None) -> Cost:
        """Spent so far; the broker's only where it is given, because to ask takes a while."""
        spent = _spent(broker).there if broker else 0.0
        return cls(time.perf_counter(), time.process_time(), spent)

    def since(self, began: Cost, messages: int = 1) -> Cost:
        """Spent since then, a message."""
        return Cost(*((part - other) / messages for part, other in zip(self, began, strict=True)))

    def shown(self) -> str:
        """In microseconds."""
        there = f", {self.there * 1e6:,.0f} at the broker" if self.there else ""
        return f"{self.wall * 1e6:,.0f} ({self.cpu * 1e6:,.0f} here{there})"

    @classmethod
    def median(cls, costs: Iterable[Cost]) -> Cost:
        """Of each part by itself."""
        return cls(*(statistics.median(part) for part in zip(*costs, strict=True)))


def report() -> None:
    """Print some lines a driver; one without lanes, or whose broker is not installed, says so."""
    for name in [each for each in sys.argv[1:] if each in _FIELDS] or _FIELDS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                asyncio.run(_measure(name, Path(folder)))
            except SkipTest as reason:
                print(f"  {name:<9}{reason}")


async def _measure(name: str, folder: Path) -> None:
    broker = broker_of(name)
    driver = _driver(name, folder, broker)
    if not driver.capabilities.has("limits"):
        raise SkipTest("has no lanes")
    await driver.open()
    numbers = count()
    for spec in _SPECS.values():
        await driver.declare(spec)
        await _cost(driver, broker, spec, _MESSAGES // 10, 100, numbers)  # warm
    for size, messages in ((1, _MESSAGES // 10), (100, _MESSAGES)):
        costs: dict[str, list[tuple[Cost, Cost]]] = {title: [] for title in _SPECS}
        for _ in range(_ROUNDS):
            for title, spec in _SPECS.items():
                costs[title].append(await _cost(driver, broker, spec, messages, size, numbers))
        for title, rounds in costs.items():
            publish, handle = (Cost.median(part) for part in zip(*rounds, strict=True))
            print(
                f"  {name:<9}{title:<10}by {size:<4}publish {publish.shown():<42}receive and ack "
                f"{handle.shown()} us a message",
                flush=True,
            )
    await _beside(name, driver, numbers)
    await driver.close()


async def _cost(
    driver: Driver, broker: Broker | None, spec: QueueSpec, messages: int, size: int, numbers: count[int]
) -> tuple[Cost, Cost]:
    """Publish, then receive and ack."""
    made = [
        Outgoing(f"{number}", _BODY, {}, lane=f"key{number % _KEYS}" if spec.fair else "")
        for number in islice(numbers, messages)
    ]
    began = Cost.now(broker)
    for start in range(0, messages, size):
        await driver.publish(spec.name, made[start : start + size])
    published, left = Cost.now(broker), messages
    while left:
        got = await driver.receive(spec.name, size, 10.0)
        await driver.settle(spec.name, [Ack(each.receipt) for each in got])
        left -= len(got)
    return published.since(began, messages), Cost.now(broker).since(published, messages)


async def _beside(name: str, driver: Driver, numbers: count[int]) -> None:
    """A claim of one message, and one that finds nothing, while a blocked tenant has very many messages."""
    await driver.declare(QueueSpec("beside", fair=1, lane_limit=Limit(concurrency=1)))

    async def publish(lane: str, messages: int) -> None:
        for start in range(0, messages, 1000):
            batch = islice(numbers, min(1000, messages - start))
            await driver.publish("beside", [Outgoing(f"{number}", _BODY, {}, lane=lane) for number in batch])

    async def claim() -> None:
        got = await driver.receive("beside", 1, 0.0)
        spent.append(Cost.now().since(began))
        await driver.settle("beside", [Ack(each.receipt) for each in got])
        assert len(got) == 1

    async def find_nothing() -> None:
        assert await driver.receive("beside", 1, 0.0) == []
        spent.append(Cost.now().since(began))

    for waiting in (10, _BLOCKED):
        await publish("noisy", waiting)
        if waiting < _BLOCKED:
            await driver.receive("beside", 1, 10.0)
        found = []
        for act in (claim, find_nothing):
            spent: list[Cost] = []
            for _ in range(_CLAIMS):
                if act is claim:
                    await publish("other", 1)
                began = Cost.now()
                await act()
            found.append(Cost.median(spent).shown())
        print(
            f"  {name:<9}a claim beside {waiting:>7,} blocked messages: {found[0]} us; in vain {found[1]} us",
            flush=True,
        )
    await _fairness(name, driver, numbers)


async def _fairness(name: str, driver: Driver, numbers: count[int]) -> None:
    """Other tenants with one message each, behind very many of one."""
    await driver.declare(QueueSpec("fair", fair=1))

    async def publish(lanes: list[str]) -> None:
        for start in range(0, len(lanes), 1000):
            batch = lanes[start : start + 1000]
            await driver.publish("fair", [Outgoing(f"{lane}/{next(numbers)}", _BODY, {}, lane=lane) for lane in batch])

    await publish(["noisy"] * _BLOCKED)
    await publish([f"key{number}" for number in range(_KEYS)])
    began, others = time.perf_counter(), 0
    while others < _KEYS:
        got = await driver.receive("fair", 100, 10.0)
        await driver.settle("fair", [Ack(each.receipt) for each in got])
        others += sum(not each.id.startswith("noisy") for each in got)
    print(
        f"  {name:<9}{_KEYS:,} other tenants behind {_BLOCKED:,} messages: all served after "
        f"{time.perf_counter() - began:.2f} s",
        flush=True,
    )
