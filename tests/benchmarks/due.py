"""Messages that are due at one moment: how late the last one is handled, a hundred at a time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tasuki import App, Envelope
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import run, url

_AHEAD = 20.0
"""Seconds in which all are published, and put off."""


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver."""
    with tempfile.TemporaryDirectory() as folder:
        for number in (5_000, 20_000):
            app = App(url(driver, Path(folder)), root=Path(folder))
            yield Figure(f"the last of {number:,} that are due together is late", run(_last(app, number)), "s")


async def _last(app: App, number: int) -> float:
    queue, handled, left = app.queue(f"due-{number}", int), asyncio.Event(), [*range(number)]
    due = time.time() + _AHEAD

    @queue.consumer(concurrency=100)
    async def handle(_: int) -> None:
        left.pop()
        if not left:
            handled.set()

    async with app.worker():
        for start in range(0, number, 1000):
            part = range(start, min(start + 1000, number))
            await queue.publish_many([Envelope(each, delay=due - time.time()) for each in part])
        await handled.wait()
        return time.time() - due
