"""The process that drives a batch is killed or frozen: another goes on, loses no letter, moves none twice if it can.

Where the driver moves nothing in one step, those that were being moved may come twice, and the counts say so.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tests.e2e.projects import write
from tests.e2e.test_batches import drained
from tests.e2e.test_every_driver import renamed
from tests.faults.freezing import IS_CAMPAIGN, frozen
from tests.support.brokers.everywhere import overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]

LETTERS = 3000
STRUCK_AT = (
    [
        (driver, at, fault)
        for driver in ("sqlite", "postgres", "redis", "nats")
        for at in (1, 100, 500, 1500, 2500)
        for fault in ("killed", "frozen")
    ]
    if IS_CAMPAIGN
    else [("sqlite", 300, "killed"), ("postgres", 300, "killed"), ("sqlite", 300, "frozen"), ("redis", 300, "frozen")]
)
"""Driver, after how many letters at least, and the fault."""
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: jobs, kind: queue.queue, driver: driver, dead_letter: {queue: dead}, lease: 5s}
  - {name: dead, kind: queue.queue, driver: driver, lease: 5s}
"""
COMMAND = (sys.executable, "-m", "tasuki", "redrive", "dead", "--rate", "1000", "--no-canary")


@pytest.mark.parametrize(("driver", "at", "fault"), STRUCK_AT)
async def test_another_process_goes_on_with_a_redrive_that_stands_still(
    driver: str, at: int, fault: str, tmp_path: Path
) -> None:
    options = [*overrides(driver, "app:driver", tmp_path), *renamed("app:jobs", "app:dead")]
    app = App.load(write(tmp_path, {"_index.yaml": PROJECT}), overrides=options)
    async with app:
        dead = app._runtime.queue("app:dead")
        await bury(app)
        async with redrive(app, tmp_path, options, at) as process:
            if fault == "killed":
                process.send_signal(signal.SIGKILL)
                assert await process.wait() == -signal.SIGKILL
                id = await taken_over(app)
            else:
                with frozen(process.pid, tmp_path / "queue.db" if driver == "sqlite" else None):
                    id = await taken_over(app)
            async with asyncio.timeout(240):
                batch = await app.dead.batches.wait(id)
                if fault == "frozen":  # it follows the batch to its end
                    assert await process.wait() == 0, (tmp_path / "redrive.log").read_text()
        assert (batch.state, batch.unsure) == ("done", 0)
        assert (await dead.depth()).ready == 0
        found = await drained(app._runtime.queue("app:jobs"))
        assert set(found) == {f"m{n:05}" for n in range(LETTERS)}, "letters were lost"
        if dead.driver.capabilities.has("transfer"):
            assert found.total() == LETTERS, f"some came twice: {found.most_common(3)}"
            assert batch.done == LETTERS
        for queue in (dead, app._runtime.queue("app:jobs")):
            await queue.delete()


async def bury(app: App) -> None:
    headers: dict[str, Any] = {"x_original_queue": "app:jobs", "x_dead_letter_reason": "rejected", "attempts": 3}
    letters = [Outgoing(f"m{n:05}", b"{}", dict(headers)) for n in range(LETTERS)]
    for start in range(0, LETTERS, 500):
        assert not any(await app._runtime.queue("app:dead").forward(letters[start : start + 500]))


@asynccontextmanager
async def redrive(app: App, folder: Path, options: list[str], at: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command; the block begins when the queue of the letters has lost this many."""
    command = [*COMMAND, *(part for option in options for part in ("-o", option))]
    with (folder / "redrive.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        while (await app._runtime.queue("app:dead").depth()).ready > LETTERS - at:
            assert process.returncode is None, (folder / "redrive.log").read_text()
            await asyncio.sleep(0.01)
        yield process
    finally:
        if process.returncode is None:
            process.kill()


async def taken_over(app: App) -> str:
    """Let this process go on with the newest batch, once the lease of the other one is over; returns its id."""
    batch = (await app.dead.batches.list())[0]  # other tests began theirs on the same broker
    assert batch.state == "running"
    assert batch.done < LETTERS
    await app.dead.batches.resume(batch.id)
    async with asyncio.timeout(120):
        while (await app.dead.batches.get(batch.id)).runner == batch.runner:
            await asyncio.sleep(0.1)
    return batch.id
