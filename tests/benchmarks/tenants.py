"""A tenant beside a noisy one: how long the messages of one wait, with and without a backlog of the other.

``python -m tests.benchmarks tenants [DRIVER…]``. One process with real consumers (eight workers, a handler of 5 ms),
each driver on a private broker process on this machine.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from unittest import SkipTest

from tasuki import App, Context, Envelope
from tests.benchmarks.stores import _FIELDS
from tests.support.brokers.everywhere import broker_of

_WAITING = 100_000
"""Messages of the noisy tenant that wait at least, all the time."""
_MESSAGES = 60
"""Of the other tenant, one a second."""
_HANDLING = 0.005
_WORKERS = 8
_BATCH = 1000
_DRIVERS = ("memory", "sqlite", "redis", "postgres")


class Waits(NamedTuple):
    """Milliseconds from a publish to the start of its handler."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: list[float]) -> Waits:
        ordered = sorted(each * 1e3 for each in seconds)
        last = len(ordered) - 1
        return cls(ordered[last // 2], ordered[round(last * 0.99)], ordered[last])

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f}, p99 {self.p99:.1f}, longest {self.longest:.1f} ms"


def report() -> None:
    """Print three lines a driver; one whose broker is not installed says so."""
    for name in sys.argv[2:] or _DRIVERS:
        try:
            alone = _measure(name, 0)
            beside = _measure(name, _WAITING)
        except SkipTest as reason:
            print(f"  {name:<9}{reason}")
            continue
        difference = Waits(*(after - before for before, after in zip(alone, beside, strict=True)))
        print(f"  {name:<9}{'difference':<24}{difference}", flush=True)


def _measure(name: str, waiting: int) -> Waits:
    with tempfile.TemporaryDirectory() as folder:
        waits, left, handled = asyncio.run(_run(_url(name, Path(folder)), waiting))
    found = Waits.of(waits)
    title = f"beside {left:,}" if waiting else "alone"
    rate = f"; of the noisy tenant {handled / _MESSAGES:,.0f}/s" if waiting else ""
    print(f"  {name:<9}{title:<24}{found}{rate}", flush=True)
    return found


def _url(name: str, folder: Path) -> str:
    if name == "memory":
        return "memory://"
    broker = broker_of(name)
    fields = {key: text.format(folder=folder, port=broker.port if broker else 0) for key, text in _FIELDS[name].items()}
    return fields["url"] if "url" in fields else f"sqlite:///{fields['path']}"


async def _run(url: str, waiting: int) -> tuple[list[float], int, int]:
    """The waits in seconds, how many messages of the noisy tenant are left, and how many were handled meanwhile."""
    app = App(url)
    queue = app.queue(f"tenants_{waiting}", fair="header.tenant")
    waits: list[float] = []
    published: dict[int, float] = {}
    noisy = 0

    @queue.consumer(concurrency=_WORKERS)
    async def handle(body: int, context: Context) -> None:
        nonlocal noisy
        if body in published:
            waits.append(time.perf_counter() - published[body])
        else:
            noisy += 1
        await asyncio.sleep(_HANDLING)

    async with app.worker():
        # The handlers take at most this many meanwhile: the backlog must not fall below what it is called.
        more = waiting and waiting + int((_MESSAGES + 30) * _WORKERS / _HANDLING)
        for start in range(0, more, _BATCH):
            batch = [Envelope(body=-1, headers={"tenant": "noisy"}) for _ in range(min(_BATCH, more - start))]
            await queue.publish_many(batch)
        await asyncio.sleep(5.0)
        before = noisy
        for number in range(_MESSAGES):
            published[number] = time.perf_counter()
            await queue.publish(number, {"tenant": "other"})
            await asyncio.sleep(1.0)
        handled = noisy - before
        while len(waits) < _MESSAGES:
            await asyncio.sleep(0.1)
        left = (await queue.info())["ready"]
        await queue.purge()
    return waits, left, handled
