"""arq. Best: 100 jobs at once, no results kept, a poll each 10 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from tests.compare.role import IS_BEST, QUEUE, URL, Body, Peer, Ways, handle, main

if IS_BEST:
    import uvloop

    uvloop.install()


async def job(context: Any, body: Body) -> None:
    if handle(body):
        await asyncio.sleep(60)


class WorkerSettings:
    functions = (job,)
    redis_settings = RedisSettings.from_dsn(URL)
    queue_name = QUEUE
    max_tries = 1
    if IS_BEST:
        max_jobs, keep_result, poll_delay = 100, 0, 0.01


def worker() -> list[str]:
    return ["arq", "tests.compare.peers.arq.WorkerSettings"]


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    pool = await create_pool(WorkerSettings.redis_settings)
    yield Ways(lambda body: pool.enqueue_job("job", body, _queue_name=QUEUE))
    await pool.aclose()


if __name__ == "__main__":
    main(Peer(worker, awaited=awaited))
