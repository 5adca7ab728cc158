"""A handler that postpones its message by no time at all runs no more often than its queue's rate, on every driver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tests.e2e.projects import write
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: file, kind: queue.driver.sqlite, path: kept.db}
  - {name: kept, kind: store.sqlite, driver: file}
  - {name: tasks, kind: queue.queue, driver: driver, state: kept, limit: {rate: 2/s, burst: 3}}
  - {name: handle, kind: function.python, source: file://work.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {auto_start: true}}
"""
RUNS = 7
EARLY = 0.3
"""Seconds that a run may come too early: a worker's token may be 0.2 s old, and clocks are read on both sides."""
WORK = """\
import time
from datetime import UTC, datetime
from pathlib import Path

from tasuki import Context, Snooze


async def handle(body, context: Context):
    with open(body, "a") as file:
        file.write(f"{time.monotonic()}\\n")
    if len(Path(body).read_text().splitlines()) == 2:
        context.snooze(at=datetime(2020, 1, 1, tzinfo=UTC))
        return
    raise Snooze(0)
"""


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_snooze_of_nothing_takes_its_part_of_the_rate(driver: str, tmp_path: Path) -> None:
    folder = write(tmp_path, {"_index.yaml": PROJECT, "work.py": WORK})
    changes = [*overrides(driver, "app:driver", folder), f"app:tasks:queue_name=tasks_{uuid4().hex[:8]}"]
    app, history = App.load(folder, overrides=changes), folder / "history"

    def begun() -> list[float]:
        return [float(line) for line in history.read_text().split()] if history.exists() else []

    async with app.worker():
        await app.queue("app:tasks").publish(str(history))
        async with asyncio.timeout(60):
            while len(begun()) < RUNS:
                await asyncio.sleep(0.01)
    first, *_, last = begun()[:RUNS]
    assert last - first >= (RUNS - 3) / 2 - EARLY, "a run above the burst did not wait for its part of the rate"
