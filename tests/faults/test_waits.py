"""Sleeps, waits and signals under kill -9 of all processes: none is lost, no sleep is short, and no outcome changes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import test_cancel as cancel
from tests.support.brokers.everywhere import DRIVERS

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800)]

KILLS = 100 if os.environ.get("CAMPAIGN") else 4
MESSAGES = 12
"""For each kill."""
NAP = 1.0
HELD = 2
"""Messages that a worker holds: as many as it handles."""
STEPS = 3

HANDLER = """
import asyncio, json, os, time
from tasuki import Context

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(name):
    # One write a line, before going on: what stands here has happened, whatever kills the process.
    os.write(history, json.dumps([name, time.monotonic()]).encode() + b"\\n")

async def handle(body: int, context: Context) -> None:
    await context.step("begin", note, f"begin {body}")
    await context.sleep(1.0)
    await context.step("slept", note, f"slept {body}")
    value = await context.wait_for("go", body, "10m")
    note(f"value {body} {value}")
    await context.sleep(0.2)
    await context.step("end", note, f"end {body}")
"""

SIGNALLER = """
import asyncio, sys
from tasuki import App

async def main() -> None:
    folder, first, last, *changes = sys.argv[1:]
    app = App.load(folder, overrides=changes)
    async with app:
        print("ready", flush=True)
        for body in range(int(first), int(last)):
            await app.signal("go", body, f"v{body}")
    print("done", flush=True)

asyncio.run(main())
"""


@pytest.fixture(params=[each for each in DRIVERS if each != "memory"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def give_state(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the tasks a store if the driver has none of its own."""
    if driver not in cancel.STORES:
        state = "  - {name: state_driver, kind: queue.driver.sqlite, path: state.db}\n"
        state += "  - {name: state, kind: store.sqlite, driver: state_driver}\n"
        monkeypatch.setattr(cancel, "PROJECT", cancel.PROJECT.replace("lease: 3s,", "lease: 3s, state: state,") + state)


async def signal_all(folder: Path, changes: list[str], first: int, last: int, kill_after: float | None) -> bool:
    """Give the signals of some messages from another process; whether it was killed meanwhile."""
    command = [sys.executable, "-c", SIGNALLER, str(folder), str(first), str(last), *changes]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        await asyncio.to_thread(process.stdout.readline)
        if kill_after is not None:
            await asyncio.sleep(kill_after)
            process.kill()
        return await asyncio.to_thread(process.wait) != 0
    finally:
        process.kill()
        process.stdout.close()


async def test_pauses_while_processes_are_killed(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "HANDLER", HANDLER)
    give_state(driver, monkeypatch)
    monkeypatch.setattr(cancel, "PROJECT", cancel.PROJECT.replace("prefetch: 10", f"prefetch: {HELD}"))
    async with cancel.place_on(driver, tmp_path) as (app, workers):
        tasks, published, killed = app.queue("app:tasks"), 0, 0
        for _ in range(2):
            workers.start()
        for _ in range(KILLS):
            for result in await app._runtime.queue("app:tasks").publish_many(
                list(range(published, published + MESSAGES))
            ):
                assert result.id
            first, published = published, published + MESSAGES
            signalling = signal_all(tmp_path, workers.changes, first, published, random.uniform(0.0, 0.05))
            killing = asyncio.create_task(signalling)
            await workers.wait_for_more(MESSAGES)
            workers.kill(random.choice(workers.running))
            workers.start()
            if await killing:
                killed += 1
                assert not await signal_all(tmp_path, workers.changes, first, published, None)
        async with asyncio.timeout(240):
            while (await tasks.info())["message_count"] or ends_in(workers) < published:
                await asyncio.sleep(0.1)
        assert not (await app.queue("app:dead").depth()).ready
    # A kill repeats one step of each running message. On AMQP it may double each message that its worker holds
    # (tests/faults/amqp/test_doubled.py): the second one does all steps again once the record of the first is gone, and
    # where both run at once, the one that takes over repeats the step that it interrupts.
    check(workers.starts(), published, repeats=HELD * KILLS * (STEPS + 1 if driver == "amqp" else 1))
    assert killed


def ends_in(workers: cancel.Workers) -> int:
    """How many messages have come to their end; a broker's count misses one that goes from queue to queue."""
    return len({start.id for start in workers.starts() if start.id.startswith("end ")})


def check(starts: list[cancel.Start], published: int, repeats: int) -> None:
    seen = Counter(start.id for start in starts)
    at: dict[str, float] = {}
    for start in starts:
        at.setdefault(start.id, start.at)
    for body in range(published):
        assert {f"begin {body}", f"slept {body}", f"end {body}"} <= set(seen), body
        assert at[f"slept {body}"] - at[f"begin {body}"] >= NAP - 0.05, "a sleep was too short"
        values = [name for name in seen if name.startswith(f"value {body} ")]
        assert values == [f"value {body} v{body}"], json.dumps(values)
    once = [name for name in seen if not name.startswith("value ")]
    assert sum(seen[name] for name in once) - len(once) <= repeats, "more steps were repeated than kills explain"
