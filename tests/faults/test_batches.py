"""The process that drives a batch is killed: another goes on, loses no letter, and moves none twice if it can.

Where the driver moves nothing in one step, those that were being moved may come twice, and the counts say so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tests.e2e.projects import write
from tests.e2e.test_batches import drained
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]

LETTERS = 3000
KILLED_AT = (
    [(driver, at) for driver in ("sqlite", "postgres", "redis", "nats") for at in (1, 100, 500, 1500, 2500)]
    if IS_CAMPAIGN
    else [("sqlite", 300), ("postgres", 300)]
)
"""Driver, and after how many letters at least."""
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver, dead_letter: {queue: dead}, lease: 5s}
  - {name: dead, kind: queue.queue, driver: driver, lease: 5s}
"""
COMMAND = (sys.executable, "-m", "tasuki", "redrive", "dead", "--rate", "1000", "--no-canary")


@pytest.mark.parametrize(("driver", "at"), KILLED_AT)
async def test_a_killed_redrive_is_gone_on_with(driver: str, at: int, tmp_path: Path) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:jobs", "app:dead")]
    app = App.load(write(tmp_path, {"_index.yaml": PROJECT}), overrides=options)
    async with app:
        dead = app.live_queue("app:dead")
        await bury(app)
        await killed(app, tmp_path, options, at)
        batch = (await app.batches.list())[0]  # the newest: other tests began theirs on the same broker
        assert batch.state == "running"
        assert batch.done < LETTERS
        await app.batches.resume(batch.id)
        async with asyncio.timeout(240):
            batch = await app.batches.wait(batch.id)
        assert (batch.state, batch.unsure) == ("done", 0)
        assert (await dead.depth()).ready == 0
        found = await drained(app.live_queue("app:jobs"))
        assert set(found) == {f"m{n:05}" for n in range(LETTERS)}, "letters were lost"
        if dead.driver.capabilities.transfer:
            assert found.total() == LETTERS, f"some came twice: {found.most_common(3)}"
            assert batch.done == LETTERS
        for queue in (dead, app.live_queue("app:jobs")):
            await queue.delete()


async def bury(app: App) -> None:
    headers: dict[str, Any] = {"x_original_queue": "app:jobs", "x_dead_letter_reason": "rejected", "attempts": 3}
    letters = [Outgoing(f"m{n:05}", b"{}", dict(headers)) for n in range(LETTERS)]
    for start in range(0, LETTERS, 500):
        assert not any(await app.live_queue("app:dead").forward(letters[start : start + 500]))


async def killed(app: App, folder: Path, options: list[str], at: int) -> None:
    """Run the command until the queue of the letters has lost so many."""
    command = [*COMMAND, *(part for option in options for part in ("-o", option))]
    with (folder / "redrive.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        while (await app.live_queue("app:dead").depth()).ready > LETTERS - at:
            assert process.returncode is None, (folder / "redrive.log").read_text()
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
