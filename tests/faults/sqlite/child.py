"""What the fault tests run in its own process: ``python child.py ACT DATABASE [NUMBER]``.

Each act tells what it did by one line at a time on stdout, after the driver has confirmed it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings


def tell(*words: str) -> None:
    print(*words, flush=True)


async def hold(driver: SQLiteDriver, number: int) -> None:
    """Receive and keep."""
    got = await driver.receive("q", number, 10.0)
    tell("held", *(item.id for item in got))
    await asyncio.Event().wait()


async def hold_and_fork(driver: SQLiteDriver, number: int) -> None:
    """Receive, leave a forked child behind, and die."""
    await driver.receive("q", number, 10.0)
    if os.fork() == 0:
        os.close(1)
        os.read(0, 1)  # until the test is over
        os._exit(0)
    tell("held")
    os.kill(os.getpid(), signal.SIGKILL)


async def ack_late(driver: SQLiteDriver, number: int) -> None:
    """Receive, wait to be stopped and continued, and ack the messages lost meanwhile."""
    got = await driver.receive("q", number, 10.0)
    tell("held")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    stale = await driver.settle("q", [Ack(item.receipt) for item in got])
    tell("stale", str(len(stale)))


async def publish(driver: SQLiteDriver, number: int) -> None:
    """Publish without end, from several tasks."""

    async def task(name: int) -> None:
        count = 0
        while True:
            batch = [Outgoing(f"{os.getpid()}-{name}-{count + n}", b"x" * 100, {}) for n in range(number)]
            await driver.publish("q", batch)
            count += number
            tell(*(message.id for message in batch))

    await asyncio.gather(*(task(name) for name in range(4)))


async def consume(driver: SQLiteDriver, number: int) -> None:
    """Receive and ack until nothing comes for two seconds."""
    tell("ready")
    while got := await driver.receive("q", number, 2.0):
        stale = await driver.settle("q", [Ack(item.receipt) for item in got])
        assert not stale, stale
        tell(*(item.id for item in got))


async def one(driver: SQLiteDriver, number: int) -> None:
    """Publish one message."""
    await driver.publish("q", [Outgoing(f"{os.getpid()}", b"", {})])
    tell(str(os.getpid()))


async def main(act: str, path: str, number: int) -> None:
    driver = SQLiteDriver("child", SQLiteSettings(path=path, busy_timeout=20.0))
    await driver.open()
    await driver.declare(QueueSpec("q", lease=float(os.environ.get("LEASE", "30"))))
    await globals()[act](driver, number)
    await driver.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10))
