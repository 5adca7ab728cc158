"""Whether a driver stays flat: publish, receive and depth with few, and with very many messages waiting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count, islice

from tasuki.contracts.driver import Ack, Driver, Outgoing, QueueSpec
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import Spent, rss_mib, with_driver
from tests.support.brokers.broker import Broker

_BODY = b'{"id":"0190f3a2-7c1e","action":"resize","width":1920,"height":1080,"tags":["holiday","sea"]}'
_WAITING = (1_000, 300_000)
_DELAYED = 30_000
_BATCH = 200
_ROUNDS = 20


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver."""
    yield from with_driver(driver, _depths)


async def _depths(driver: Driver, broker: Broker | None) -> list[Figure]:
    found, numbers = list[Figure](), count()
    await driver.declare(QueueSpec("load"))

    async def publish(messages: int, delay: float = 0.0) -> None:
        for _ in range(0, messages, 1000):
            batch = [Outgoing(f"{number}", _BODY, {}, delay=delay) for number in islice(numbers, min(1000, messages))]
            await driver.publish("load", batch)

    async def consume() -> None:
        got = await driver.receive("load", _BATCH, 1.0)
        await driver.settle("load", [Ack(each.receipt) for each in got])

    acts: dict[str, tuple[Callable[[], Awaitable[object]], int]] = {
        "depth": (lambda: driver.depth("load"), 1),
        f"publish {_BATCH}, a message": (lambda: publish(_BATCH), _BATCH),
        f"receive and ack {_BATCH}, a message": (consume, _BATCH),
        "peek": (lambda: driver.peek("load", 10), 1),
    }
    for waiting in _WAITING:
        await publish(waiting - (await driver.depth("load")).ready)
        if waiting == _WAITING[-1]:
            await publish(_DELAYED, 3600.0)
        for name, (act, messages) in acts.items():
            began = Spent.now(broker)
            for _ in range(_ROUNDS):
                await act()
            found += Spent.now(broker).since(began, messages * _ROUNDS).figures(f"{waiting:,} ready: {name}")
    found.append(Figure("memory of this process", rss_mib(), "MiB"))
    began_at = time.perf_counter()
    await driver.purge("load")
    return [*found, Figure("purge", (time.perf_counter() - began_at) * 1e3, "ms")]
