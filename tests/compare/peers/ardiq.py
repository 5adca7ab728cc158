"""ArdiQ, whose loop and Redis client are Rust. Best: 100 at once, a prefetch of 1,000."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ardiq import Ardiq

from tests.compare.role import IS_BEST, QUEUE, URL, Body, Peer, Ways, handle, main

options = {"concurrency": 100, "prefetch": 1000} if IS_BEST else {}
app = Ardiq(redis_url=URL, queue_name=QUEUE, **options)


@app.task(name="job")
async def job(body: Body) -> None:
    if handle(body):
        await asyncio.sleep(60)


def worker() -> list[str]:
    return ["ardiq", "run", "--quiet", "tests.compare.peers.ardiq:app"]


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    yield Ways(job.enqueue, lambda bodies: app.enqueue_many([job.prepare(body) for body in bodies]))


if __name__ == "__main__":
    main(Peer(worker, awaited=awaited))
