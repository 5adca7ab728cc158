"""Steps under kill -9 of their workers: none is lost, and a kill repeats one step of each running message at most."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import test_cancel as cancel
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
    os.write(history, json.dumps([f"{body}/{number}", time.monotonic()]).encode() + b"\\n")
    await asyncio.sleep(0.01)
    return number

async def handle(body: int, context: Context) -> None:
    for number in range(5):
        assert await context.step(f"step {number}", work, body, number) == number
"""


@pytest.fixture(params=[each for each in DRIVERS if {"valkey": "redis"}.get(each, each) in cancel.STORES])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_steps_while_workers_are_killed(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "HANDLER", HANDLER)
    async with cancel.place_on(driver, tmp_path) as (app, workers):
        tasks = app.queue("app:tasks")
        published = 0
        for _ in range(2):
            workers.start()
        for _ in range(KILLS):
            for result in await app.live_queue("app:tasks").publish_many(list(range(published, published + 30))):
                assert result.id
            published += 30
            await workers.wait_for_more(40)
            workers.kill(random.choice(workers.running))
            workers.start()
        async with asyncio.timeout(120):
            while (await tasks.info())["message_count"]:
                await asyncio.sleep(0.05)
        assert not (await app.queue("app:dead").depth()).ready
    runs = Counter(start.id for start in workers.starts())
    assert set(runs) == {f"{body}/{number}" for body in range(published) for number in range(STEPS)}
    # Two messages run in a worker at a time; each may have done one step whose record was not written.
    assert sum(runs.values()) - len(runs) <= 2 * KILLS
