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
  - {name: tasks, kind: queue.queue, driver: driver, state: kept, limit: {rate: 1/h, burst: 3}}
  - {name: handle, kind: function.python, source: file://work.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {auto_start: true}}
"""
WORK = """\
from datetime import UTC, datetime
from pathlib import Path

from tasuki import Context, Snooze


async def handle(body, context: Context):
    with open(body, "a") as file:
        file.write("begins\\n")
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

    def begun() -> int:
        return len(history.read_text().splitlines()) if history.exists() else 0

    async with app.worker():
        await app.queue("app:tasks").publish(str(history))
        async with asyncio.timeout(60):
            while begun() < 3:
                await asyncio.sleep(0.01)
            for _ in range(20):  # long enough for a run above the rate, which would follow at once
                while (await app.queue("app:tasks").depth()).in_flight:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
    assert begun() == 3
