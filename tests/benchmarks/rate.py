"""A rate over processes: how many messages four workers start in twenty seconds, on each driver.

``python -m tests.benchmarks rate [DRIVER…]``. Each on a private broker process on this machine.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from itertools import islice
from pathlib import Path
from unittest import SkipTest

from tests.faults.test_limits import ON, Site

_LIMIT = "{rate: 50/s, burst: 5}"
_MESSAGES = 1500
_FIRST = 100
"""Starts before it is counted: all processes are at work by then."""
_SECONDS = 20.0


def report() -> None:
    """Print one line a driver; one whose broker is not installed says so."""
    for driver in sys.argv[2:] or ON:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"  {driver:<10}{asyncio.run(_measured(driver, Path(folder)))}", flush=True)
            except SkipTest as reason:
                print(f"  {driver:<10}not measured: {reason}", flush=True)


async def _measured(driver: str, folder: Path) -> str:
    site = Site(driver, folder, _LIMIT, 0.0)
    async with site.app:
        queue, numbers = site.app.queue("work"), iter(range(_MESSAGES))
        while part := list(islice(numbers, 500)):
            await queue.publish_many(part)
        with site.workers.running():
            while len(site.history("enter")) < _FIRST:
                await asyncio.sleep(0.1)
            await asyncio.sleep(_SECONDS + 1)
    starts = site.history("enter")
    at = sorted(each["at"] for each in starts)
    counted = sum(0 < each - at[_FIRST - 1] <= _SECONDS for each in at)
    workers = len({each["pid"] for each in starts})
    return f"{_LIMIT}: {counted / _SECONDS:.2f} a second over {_SECONDS:g} s in {workers} processes"
