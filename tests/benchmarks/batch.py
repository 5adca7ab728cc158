"""Batches: a handler that does one round trip a call, with single messages and with batches."""

from __future__ import annotations

import asyncio
import time
from tempfile import TemporaryDirectory
from typing import Any

from tasuki import App

ROUND_TRIP = 0.001
SIZE = 100


async def _insert(body: Any) -> None:
    """One round trip, whatever it carries."""
    await asyncio.sleep(ROUND_TRIP)


async def rate(url: str, messages: int, *, is_batch: bool, concurrency: int = 1) -> float:
    """Messages a second from the start of the consumer to the last ack."""
    app = App(url)
    queue = app.queue("load")
    if is_batch:
        queue.consumer(batch={"size": SIZE, "wait": "100ms"}, concurrency=concurrency)(_insert)
    else:
        queue.consumer(prefetch=500, concurrency=concurrency)(_insert)
    async with app:
        await queue.publish_many([{"row": number} for number in range(messages)])
        started = time.perf_counter()
        await app.start()
        assert app._runtime.assembly is not None
        (consumer,) = app._runtime.assembly.consumers.values()
        while consumer.metrics.acked < messages or consumer.now.held:
            await asyncio.sleep(0.002)
        seconds = time.perf_counter() - started
    return messages / seconds


def report(singles: int = 2_000, batched: int = 50_000) -> None:
    """Print one line a driver and concurrency."""
    for name in ("memory", "sqlite"):
        for concurrency in (1, 10):
            with TemporaryDirectory() as folder:
                url = f"sqlite:///{folder}/queue.db" if name == "sqlite" else "memory://"
                single = asyncio.run(rate(url, singles, is_batch=False, concurrency=concurrency))
                batch = asyncio.run(rate(url, batched, is_batch=True, concurrency=concurrency))
            print(
                f"  {name:6} concurrency {concurrency:2}: single {single:7,.0f} msg/s, batches of {SIZE} "
                f"{batch:8,.0f} msg/s, {batch / single:5.1f} times"
            )
