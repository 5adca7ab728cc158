"""A process that consumes many queues: their cost while they are idle, and what they add to another queue's message.

CPU time, not time by the clock: usable on a busy machine too. Wake-ups are voluntary context switches.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import SkipTest

from tasuki import App
from tests.support.brokers.broker import Broker, tree
from tests.support.brokers.everywhere import broker_of

_URLS = {
    "memory": "memory://",
    "sqlite": "sqlite:///{folder}/queue.db",
    "redis": "redis://127.0.0.1:{port}",
    "postgres": "postgresql://postgres@127.0.0.1:{port}/postgres",
    "nats": "nats://127.0.0.1:{port}",
}
_COUNTS = (1, 200, 1_000)
_GOALS = (2.0, 3.0, 2.0)
"""Per cent of a core here and at the broker with the most queues; and how many times the CPU of a message with one."""
_SETTLE_SECONDS = 5.0
_IDLE_SECONDS = 30.0
_MESSAGES = 300
_PATIENCE = 300.0


class Spent(NamedTuple):
    """CPU seconds and wake-ups, here and at the broker."""

    here: float
    there: float
    wakes_here: float
    wakes_there: float


class Costs(NamedTuple):
    """Of one second without messages, and of one message of another queue."""

    idle: Spent
    message: Spent


def report() -> None:
    """Print a line a driver and number of queues."""
    for name in [each for each in sys.argv[1:] if each in _URLS] or _URLS:
        try:
            broker = broker_of(name)
        except SkipTest as reason:
            print(f"  {name:<9}{reason}")
            continue
        one = 0.0
        for queues in _COUNTS:
            with tempfile.TemporaryDirectory() as folder:
                url = _URLS[name].format(folder=folder, port=broker.port if broker else 0)
                try:
                    idle, message = asyncio.run(_measure(url, queues, broker))
                except TimeoutError:
                    print(f"  {name:<9}{queues:>6} queues: not all worked after {_PATIENCE:.0f} s: MISSED", flush=True)
                    continue
            cost = message.here + message.there
            one = one or cost
            found = (idle.here * 100, idle.there * 100, cost / one)
            verdict = "met" if all(each <= goal for each, goal in zip(found, _GOALS, strict=True)) else "MISSED"
            print(
                f"  {name:<9}{queues:>6} queues: idle {found[0]:5.2f} % of a core here, {found[1]:5.2f} % at the "
                f"broker, wake-ups/s {idle.wakes_here:6.1f}, {idle.wakes_there:6.1f}; "
                f"another queue's message {message.here * 1e6:6.0f} + {message.there * 1e6:5.0f} us "
                f"({found[2]:.1f}x)  {verdict}",
                flush=True,
            )


async def _measure(url: str, queues: int, broker: Broker | None) -> Costs:
    app, arrived = App(url), asyncio.Queue[int]()

    async def handle(body: int) -> None:
        arrived.put_nowait(body)

    async def send(queue: str, body: int) -> None:
        await app.queue(queue).publish(body)
        while await arrived.get() != body:  # one of an earlier run
            continue

    for name in ("other", *(f"idle-{number}" for number in range(queues))):
        app.queue(name).consumer(name=f"c-{name}")(handle)
    async with app, asyncio.timeout(_PATIENCE):
        await app.start()
        for number in range(queues):
            await send(f"idle-{number}", number)
        await asyncio.sleep(_SETTLE_SECONDS)
        before, began = _spent(broker), time.perf_counter()
        await asyncio.sleep(_IDLE_SECONDS)
        idle = _each(before, _spent(broker), lambda spent: spent / (time.perf_counter() - began))
        before, began = _spent(broker), time.perf_counter()
        for number in range(_MESSAGES):
            await send("other", number)
        took = time.perf_counter() - began
        used = _each(before, _spent(broker), float)
        message = Spent(*((each - took * rest) / _MESSAGES for each, rest in zip(used, idle, strict=True)))
    return Costs(idle, message)


def _each(before: Spent, after: Spent, per: Callable[[float], float]) -> Spent:
    return Spent(*(per(last - first) for first, last in zip(before, after, strict=True)))


def _spent(broker: Broker | None) -> Spent:
    """So far, by this process and by the broker and its children."""
    there = wakes = 0.0
    if broker is not None and broker.process is not None:
        for pid in tree(broker.process.pid):
            for task in Path(f"/proc/{pid}/task").iterdir():
                there += int((task / "schedstat").read_text().split()[0]) / 1e9
                lines = (task / "status").read_text().splitlines()
                wakes += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Reading what the broker has spent costs this process: so this comes last, and the next reading is the same.
    return Spent(time.process_time(), there, used.ru_nvcsw, wakes)
