"""Steps while their workers are killed or frozen: none is lost, and one step of a running message is repeated at most.

A frozen worker goes on after another one has taken its messages over: it ends at the first step that it cannot record.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import test_cancel as cancel
from tests.faults.freezing import FREEZES, TRIES, faults_on, freeze_one
from tests.support.brokers.everywhere import DRIVERS

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800)]

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
KILLS = 200 if IS_CAMPAIGN else 4
STEPS = 5

HANDLER = """
import asyncio, json, os, random, time
from tasuki import Context

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def work(body: int, number: int) -> int:
    # One write a line, before going on: what stands here has happened, whatever kills the process.
    os.write(history, json.dumps([f"{body}/{number}", time.monotonic(), os.getpid()]).encode() + b"\\n")
    await asyncio.sleep(0.01)
    return number

async def handle(body: int, context: Context) -> None:
    for number in range(5):
        assert await context.step(f"step {number}", work, body, number) == number
"""


DRIVERS_WITH_STORES = [each for each in DRIVERS if each in cancel.STORES]


@pytest.mark.parametrize(("driver", "fault"), faults_on(DRIVERS_WITH_STORES))
async def test_steps_while_workers_are_killed_or_frozen(
    driver: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "HANDLER", HANDLER)
    async with cancel.place_on(driver, tmp_path) as (app, workers):
        tasks = app.queue("app:tasks")
        published = strikes = freezes = 0
        for _ in range(2):
            workers.start()
        while strikes < KILLS if fault == "killed" else freezes < FREEZES:
            for result in await app._runtime.queue("app:tasks").publish_many(list(range(published, published + 30))):
                assert result.id
            published += 30
            await workers.wait_for_more(40)
            strikes += 1
            if fault == "killed":
                workers.kill(random.choice(workers.running))
                workers.start()
            else:
                freezes += await freeze_one(workers, lambda start: start.id.partition("/")[0])
                assert strikes < TRIES, "no other worker goes on"
        async with asyncio.timeout(120):
            while (await tasks.info())["message_count"]:
                await asyncio.sleep(0.05)
        assert not (await app.queue("app:dead").depth()).ready
    runs = Counter(start.id for start in workers.starts())
    assert set(runs) == {f"{body}/{number}" for body in range(published) for number in range(STEPS)}
    # Two messages run in a worker at a time; each may have done one step whose record was not written.
    assert sum(runs.values()) - len(runs) <= 2 * strikes
    if fault == "frozen":
        assert "lease" in workers.log(), "the worker did not notice"
