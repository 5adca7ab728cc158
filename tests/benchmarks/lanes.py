"""Limits and lanes: what a message costs in a queue with them, and a claim beside very many blocked messages.

Each message is published, received and acked by its own call, or with 99 others, in every queue alike.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from tasuki import App, Envelope
from tasuki.contracts.driver import Ack, Driver, Limit, Outgoing, QueueSpec
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import Spent, run, url, with_driver
from tests.support.brokers.broker import Broker

_MESSAGES = 4_000
"""In batches; one at a time, a tenth."""
_BLOCKED = 100_000
_CLAIMS = 100
_KEYS = 1000
_BODY = b"x" * 190
_SPECS = {
    "plain": QueueSpec("plain"),
    "limit": QueueSpec("limit", limit=Limit(rate=1e5, burst=1000, concurrency=1000)),
    "lanes": QueueSpec("lanes", fair=1),
    "3 places a lane": QueueSpec("places", fair=1, lane_limit=Limit(concurrency=3)),
    "a rate a lane": QueueSpec("rate", fair=1, lane_limit=Limit(rate=1e5, burst=1000)),
}
_TENANT_CALLS = 100


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver."""
    yield from with_driver(driver, _costs, "limits")
    yield from with_driver(driver, _beside, "limits")
    with tempfile.TemporaryDirectory() as folder:
        yield from run(_tenant(url(driver, Path(folder))))


def _made(numbers: count[int], messages: int, lanes: int = 0) -> list[Outgoing]:
    return [
        Outgoing(f"{number}", _BODY, {}, lane=f"key{number % lanes}" if lanes else "")
        for number in islice(numbers, messages)
    ]


async def _costs(driver: Driver, broker: Broker | None) -> list[Figure]:
    found, numbers = list[Figure](), count()
    for title, spec in _SPECS.items():
        await driver.declare(spec)
        await _cost(driver, broker, spec, _made(numbers, 400, _KEYS if spec.fair else 0), 100)  # warm
        for size, messages in ((1, _MESSAGES // 10), (100, _MESSAGES)):
            made = _made(numbers, messages, _KEYS if spec.fair else 0)
            published, handled = await _cost(driver, broker, spec, made, size)
            found += [
                *published.figures(f"{title}, publish {size}"),
                *handled.figures(f"{title}, claim and ack {size}"),
            ]
    return found


async def _cost(
    driver: Driver, broker: Broker | None, spec: QueueSpec, made: list[Outgoing], size: int
) -> tuple[Spent, Spent]:
    """Publish, then receive and ack."""
    began = Spent.now(broker)
    for start in range(0, len(made), size):
        await driver.publish(spec.name, made[start : start + size])
    published, left = Spent.now(broker), len(made)
    while left:
        got = await driver.receive(spec.name, size, 10.0)
        await driver.settle(spec.name, [Ack(each.receipt) for each in got])
        left -= len(got)
    return published.since(began, len(made)), Spent.now(broker).since(published, len(made))


async def _beside(driver: Driver, broker: Broker | None) -> list[Figure]:
    """A claim of one message while a blocked tenant has very many; and others behind very many of one."""
    found, numbers = list[Figure](), count()

    async def publish(queue: str, lane: str, messages: int) -> None:
        for start in range(0, messages, 1000):
            batch = islice(numbers, min(1000, messages - start))
            await driver.publish(queue, [Outgoing(f"{number}", _BODY, {}, lane=lane) for number in batch])

    await driver.declare(QueueSpec("beside", fair=1, lane_limit=Limit(concurrency=1)))
    for waiting in (10, _BLOCKED):
        await publish("beside", "noisy", waiting)
        if waiting == 10:
            await driver.receive("beside", 1, 10.0)
        took = 0.0
        for _ in range(_CLAIMS):
            await publish("beside", "other", 1)
            began = time.perf_counter()
            got = await driver.receive("beside", 1, 0.0)
            took += time.perf_counter() - began
            await driver.settle("beside", [Ack(each.receipt) for each in got])
        found.append(Figure(f"a claim beside {waiting:,} blocked messages", took / _CLAIMS * 1e6, "us by the clock"))
    await driver.declare(QueueSpec("fair", fair=1))
    await publish("fair", "noisy", _BLOCKED)
    made = _made(numbers, _KEYS, _KEYS)
    others = {each.id for each in made}
    await driver.publish("fair", made)
    began = time.perf_counter()
    while others:
        got = await driver.receive("fair", 100, 10.0)
        await driver.settle("fair", [Ack(each.receipt) for each in got])
        others -= {each.id for each in got}
    found.append(Figure(f"{_KEYS:,} tenants behind {_BLOCKED:,} messages", time.perf_counter() - began, "s"))
    return found


async def _tenant(url: str) -> list[Figure]:
    """How long the messages of a tenant wait for eight handlers of 5 ms, beside the backlog of a noisy one."""
    app, waits, published = App(url), list[float](), dict[int, float]()
    queue = app.queue("tenants", fair="header.tenant")

    @queue.consumer(concurrency=8)
    async def handle(body: int) -> None:
        if body in published:
            waits.append(time.perf_counter() - published[body])
        await asyncio.sleep(0.005)

    async with app.worker():
        for _ in range(30):
            await queue.publish_many([Envelope(body=-1, headers={"tenant": "noisy"})] * 1000)
        for number in range(_TENANT_CALLS):
            published[number] = time.perf_counter()
            await queue.publish(number, {"tenant": "other"})
            await asyncio.sleep(0.05)
        while len(waits) < _TENANT_CALLS:
            await asyncio.sleep(0.05)
        await queue.purge()
    waits.sort()
    return [Figure(f"a tenant beside 20,000 of another, p{share}", waits[share - 1] * 1e3, "ms") for share in (50, 99)]
