"""A process that consumes many queues: their cost while they are idle, and what they add to another queue's message."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tasuki import App
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import Spent, run, url
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of

_COUNTS = (1, 1_000)
_SETTLE_SECONDS = 3.0
_IDLE_SECONDS = 6.0
_MESSAGES = 200


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver."""
    for queues in _COUNTS if driver != "amqp" else (1, 200):
        with tempfile.TemporaryDirectory() as folder:
            yield from run(_measure(url(driver, Path(folder)), queues, broker_of(driver)))


async def _measure(url: str, queues: int, broker: Broker | None) -> list[Figure]:
    app, arrived = App(url), asyncio.Queue[int]()
    title, names = f"{queues:,} queues", ["other", *(f"idle-{queues}-{number}" for number in range(queues))]

    async def handle(body: int) -> None:
        arrived.put_nowait(body)

    async def send(queue: str, body: int) -> None:
        await app.queue(queue).publish(body)
        while await arrived.get() != body:  # one of an earlier run
            continue

    for name in names:
        app.queue(name).consumer(name=f"c-{name}")(handle)
    began = Spent.now(broker)
    async with app:
        await app.start()
        for number, name in enumerate(names):
            await send(name, number)
        started = Spent.now(broker).since(began, queues)
        await asyncio.sleep(_SETTLE_SECONDS)
        began = Spent.now(broker)
        await asyncio.sleep(_IDLE_SECONDS)
        idle = Spent.now(broker).since(began, _IDLE_SECONDS)
        began = Spent.now(broker)
        for number in range(_MESSAGES):
            await send("other", number)
        message = Spent.now(broker).since(began, _MESSAGES)
    return [
        *started.figures(f"{title}: to start one and handle its first message"),
        Figure(f"{title}: idle, of a core here", idle.here * 100, "%"),
        Figure(f"{title}: idle, of a core at the broker", idle.there * 100, "%"),
        *message.figures(f"{title}: another queue's message"),
    ]
