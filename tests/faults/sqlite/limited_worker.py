"""A worker of a limited queue, in its own process: ``python limited_worker.py DATABASE``.

It tells what it did by one line at a time on stdout, with times of CLOCK_MONOTONIC, which all processes share:
``took BEFORE AFTER ID…`` with the times of the call of ``receive``, ``ends TIME ID`` right before it settles one, and
``stale ID`` if its lease was over by then.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings


def tell(*words: object) -> None:
    print(*words, flush=True)


async def work(driver: SQLiteDriver) -> None:
    """Receive, hold, and settle, until the process is killed."""
    while True:
        before = time.monotonic()
        got = await driver.receive("q", random.randint(1, 4), 5.0)
        if got:
            tell("took", before, time.monotonic(), *(item.id for item in got))
        for item in got:
            await asyncio.sleep(random.random() * 0.02)
            tell("ends", time.monotonic(), item.id)
            if await driver.settle("q", [Ack(item.receipt)]):
                tell("stale", item.id)


async def main(path: str) -> None:
    driver = SQLiteDriver("worker", SQLiteSettings(path=path, busy_timeout=20.0))
    await driver.open()
    await driver.inspect(QueueSpec("q"))  # the options of the test's declaration
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work(driver))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
