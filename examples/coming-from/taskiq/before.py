"""Taskiq: a typed task, its result and another queue. Worker: taskiq worker before:broker."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
broker = ListQueueBroker(url=URL).with_result_backend(RedisAsyncResultBackend(redis_url=URL))


@broker.task
async def add_one(value: int) -> int:
    print(f"{value} becomes {value + 1}", flush=True)
    return value + 1


async def main() -> None:
    await broker.startup()
    task = await add_one.kiq(1)
    result = await task.wait_result(timeout=20)
    print("result:", result.return_value)
    await add_one.kiq(5)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
