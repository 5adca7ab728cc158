"""Tasuki. Default: a plain ``@consumer()``; best: ``concurrency=100, prefetch=1000``. RabbitMQ: quorum queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasuki import App
from tests.compare.role import BROKER, IS_BEST, QUEUE, URL, Body, Peer, Ways, handle, main, plainly

app = App(f"sqlite:///{URL}" if BROKER == "sqlite" else URL)
# A message that fails is dead at once, as with the others.
queue = app.queue(QUEUE, retry={"max_attempts": 1}, dead_letter="dead")


async def job(body: Body) -> None:
    if handle(body):
        await asyncio.sleep(60)


if IS_BEST:
    queue.consumer(concurrency=100, prefetch=1000)(job)
else:
    queue.consumer()(job)


def worker() -> list[str]:
    return ["tasuki", "run", "tests.compare.peers.tasuki:app", "--log-level", "error"]


async def setup() -> None:
    """Make its tables, or declare its queues."""
    async with app:
        pass


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    async with app:
        yield Ways(queue.publish, queue.publish_many)


if __name__ == "__main__":
    main(Peer(worker, plainly(lambda body: app.sync.publish(queue, body)), awaited, setup))
