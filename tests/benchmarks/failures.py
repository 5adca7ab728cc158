"""What a storm of failures costs a message: each fails once, and waits for its next attempt."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from typing import Any

from tasuki import App
from tasuki.observe import log
from tests.benchmarks.load import BATCH, BODY
from tests.support.brokers.redis import Redis


def _charge(amount: int) -> None:
    raise ConnectionError(f"connection to 10.0.0.7:5432 refused after {amount} tries")


def _app(url: str, root: str) -> App:
    app = App(url, root=root)
    queue = app.queue("load", retry={"initial_delay": "1h", "max_delay": "1h"})

    @queue.consumer(concurrency=10, prefetch=500)
    async def fails(body: dict[str, Any]) -> None:
        _charge(body["width"])

    return app


async def _storm(url: str, messages: int) -> tuple[float, float]:
    """Microseconds of time and of CPU a message, from the start of the consumer to the last nack that is taken."""
    with tempfile.TemporaryDirectory() as folder:
        app = _app(url, folder)
        async with app:
            for _ in range(0, messages, BATCH):
                await app.queue("load").publish_many([BODY] * BATCH)
            started, cpu = time.perf_counter(), time.process_time()
            await app.start()
            (consumer,) = app.live_assembly().consumers.values()
            while consumer.metrics.nacked < messages or consumer.held:
                await asyncio.sleep(0.002)
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return wall / messages * 1e6, cpu / messages * 1e6


def report(messages: int = 5000, repeats: int = 5) -> None:
    """Print one line a broker."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, Redis() as redis:
        log.configure("WARNING", "json", nowhere)
        for name, url in (("memory", "memory://"), ("sqlite", "sqlite://"), ("redis", redis.url)):
            runs = [asyncio.run(_storm(url, messages)) for _ in range(repeats)]
            wall, cpu = (min(each) for each in zip(*runs, strict=True))
            print(f"  {name:8} {wall:6.1f} us, {cpu:6.1f} us CPU a failed message")
