"""Order per key: what one and four processes handle together, each ten at a time, of 500 keys."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import SkipTest

from tasuki.contracts.driver import Ack, Driver, Outgoing, QueueSpec
from tests.benchmarks.figures import Figure
from tests.benchmarks.load import BATCH, make_parsed, run
from tests.support.brokers.everywhere import fields

_MESSAGES = 10_000
_SECONDS = 3.0


def measure(driver: str) -> Iterator[Figure]:
    """Of one driver that processes share."""
    with tempfile.TemporaryDirectory() as folder:
        known = fields(driver, Path(folder))
        for workers in (1, 4):
            queue = f"keys-{workers}"
            run(_fill(make_parsed(driver, known), queue))
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                # One that fails raises here; none waits for another one.
                runs = list(pool.map(_work, *zip(*[(driver, known, queue)] * workers, strict=True)))
            handled = sum(count for count, _, _ in runs)
            if not handled:
                raise SkipTest("nothing was handled")
            took = max(ended for _, _, ended in runs) - min(began for _, began, _ in runs)
            yield Figure(f"order per key, {workers} processes", handled / took, "/s")


async def _fill(driver: Driver, queue: str) -> None:
    await driver.declare(QueueSpec(queue, ordering="key"))
    await driver.open()
    for start in range(0, _MESSAGES, BATCH):
        batch = [Outgoing(f"{number}", b"body", {}, key=f"{number % 500}") for number in range(start, start + BATCH)]
        await driver.publish(queue, batch)
    await driver.close()


def _work(driver: str, known: dict[str, str], queue: str) -> tuple[int, float, float]:
    """How many it has handled, from its first to its last one; ends when none has come for half a second."""
    return run(_handle(make_parsed(driver, known), queue))


async def _handle(driver: Driver, queue: str) -> tuple[int, float, float]:
    await driver.declare(QueueSpec(queue, ordering="key"))
    await driver.open()
    handled, began = 0, time.monotonic()
    ended, ends_at = began, began + _SECONDS
    while time.monotonic() < ends_at and (got := await driver.receive(queue, 10, 0.5)):
        began = began if handled else time.monotonic()
        await driver.settle(queue, [Ack(each.receipt) for each in got])
        handled, ended = handled + len(got), time.monotonic()
    await driver.close()
    return handled, began, ended
