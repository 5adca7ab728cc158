"""The same with Tasuki. Worker: tasuki run after.py."""

from __future__ import annotations

import asyncio
import os

from tasuki import App

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
jobs = app.queue("jobs", dead_letter="jobs.dead")


@jobs.task
async def add_one(value: int) -> int:
    print(f"{value} becomes {value + 1}")
    return value + 1


async def main() -> None:
    async with app:
        print("result:", await add_one.request(1))
        await add_one.publish(5)


if __name__ == "__main__":
    asyncio.run(main())
