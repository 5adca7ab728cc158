"""arq: an async function, its result, a delay and a retry. Worker: arq before.WorkerSettings."""

from __future__ import annotations

import asyncio
import os

from arq import Retry, create_pool
from arq.connections import RedisSettings

SETTINGS = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))


async def measure(ctx, text):
    if ctx["job_try"] == 1:
        raise Retry(defer=0.1)
    print(f"{text!r} has {len(text)} letters, at attempt {ctx['job_try']}")
    return len(text)


class WorkerSettings:
    functions = (measure,)
    redis_settings = SETTINGS
    max_tries = 5


async def main():
    redis = await create_pool(SETTINGS)
    job = await redis.enqueue_job("measure", "sea")
    print("result:", await job.result(timeout=20))
    await redis.enqueue_job("measure", "mountain", _defer_by=1)
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main())
