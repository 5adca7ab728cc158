"""taskiq with a Redis stream, which it acks when the task is done. Best: one process, a prefetch of 100."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import RedisStreamBroker

from tests.compare.role import IS_BEST, QUEUE, URL, Body, Peer, Ways, handle, main

broker = RedisStreamBroker(URL, queue_name=QUEUE, xread_count=100 if IS_BEST else 1)


@broker.task(task_name="job")
async def job(body: Body) -> None:
    if handle(body):
        await asyncio.sleep(60)


def worker() -> list[str]:
    best = ["--workers", "1", "--max-async-tasks", "100", "--max-prefetch", "100"] if IS_BEST else []
    return ["taskiq", "worker", "tests.compare.peers.taskiq:broker", "--log-level", "ERROR", *best]


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    await broker.startup()
    yield Ways(job.kiq)
    await broker.shutdown()


if __name__ == "__main__":
    main(Peer(worker, awaited=awaited))
