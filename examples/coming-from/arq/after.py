"""The same with Tasuki. Worker: tasuki run after.py."""

from __future__ import annotations

import asyncio
import os

from tasuki import App, Context, Retry

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
jobs = app.queue("jobs", dead_letter={"queue": "jobs.dead", "max_attempts": 5})


@jobs.task
async def measure(context: Context, text: str) -> int:
    if context.attempt == 1:
        raise Retry(after=0.1)
    print(f"{text!r} has {len(text)} letters, at attempt {context.attempt}")
    return len(text)


async def main() -> None:
    async with app:
        print("result:", await measure.request("sea"))
        await measure.with_options(delay="1s").publish("mountain")


if __name__ == "__main__":
    asyncio.run(main())
