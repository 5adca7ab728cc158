"""Sleeps under ``idempotency`` and kill -9: beside a message that sleeps, no other one of its key is handled."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import test_cancel as cancel
from tests.faults.test_waits import driver, give_state

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(3600)]
__all__ = ["driver"]

KILLS = 60 if os.environ.get("CAMPAIGN") else 4
KEYS = 8
"""For each kill, with two messages each."""
NAP = 3.0
SETTLED = 1.0
"""Seconds from the start of a handler in which it may not have slept yet: who is killed in them loses its key."""

HANDLER = """
import asyncio, json, os, time
from tasuki import Context

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def handle(body: int, context: Context) -> None:
    # One write a line: what stands here has happened, whatever kills the process.
    def line(what):
        name = f"{what} {body} {context.message.id} {os.getpid()}"
        os.write(history, json.dumps([name, time.monotonic()]).encode() + b"\\n")

    line("runs")
    await context.sleep(3.0)
    line("slept")
"""


class Event(NamedTuple):
    """``what``: runs, slept; of a message and its key, in a process."""

    at: float
    what: str
    key: str
    id: str
    pid: str


async def test_sleeping_keys_while_workers_are_killed(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "HANDLER", HANDLER)
    give_state(driver, monkeypatch)
    consumer = "concurrency: 2, prefetch: 10, idempotency: {key: header.order, ttl: 1h}"
    monkeypatch.setattr(cancel, "PROJECT", cancel.PROJECT.replace("concurrency: 2, prefetch: 10", consumer))
    dice, killed, published = random.Random(12), dict[str, float](), 0
    async with cancel.place_on(driver, tmp_path) as (app, workers):
        tasks = app.queue("app:tasks")
        for _ in range(2):
            workers.start()
        for _ in range(KILLS):
            for key in range(published, published + KEYS):
                for _ in range(2):
                    await tasks.publish(key, {"order": f"order {key}"})
            published += KEYS
            await workers.wait_for_more(dice.randint(1, 2 * KEYS))
            victim = dice.choice(workers.running)
            killed[str(victim.pid)] = asyncio.get_running_loop().time()
            workers.kill(victim)
            workers.start()
        async with asyncio.timeout(300):
            while slept(workers) < published or (await tasks.info())["message_count"]:
                await asyncio.sleep(0.1)
        assert not (await app.queue("app:dead").depth()).ready
    check(workers.starts(), killed, published)


def slept(workers: cancel.Workers) -> int:
    """How many keys have come to the end of their sleep."""
    return len({start.id.split()[1] for start in workers.starts() if start.id.startswith("slept ")})


def check(starts: list[cancel.Start], killed: dict[str, float], keys: int) -> None:
    of_key: dict[str, list[Event]] = defaultdict(list)
    for start in starts:
        what, key, id, pid = start.id.split()
        of_key[key].append(Event(start.at, what, key, id, pid))
    assert len(of_key) == keys
    for key, events in of_key.items():
        assert any(event.what == "slept" for event in events), key
        for begun, ended in sleeps(events):
            if killed.get(begun.pid, begun.at + NAP) - begun.at < SETTLED:
                continue  # it may never have slept
            beside = [each for each in events if begun.at < each.at < ended.at and each.id != begun.id]
            assert not beside, f"{beside} beside the sleep of {begun}"


def sleeps(events: list[Event]) -> list[tuple[Event, Event]]:
    """Of each sleep the run that began it, and the run that went on after it."""
    found = []
    for id in {event.id for event in events}:
        runs = [event for event in events if event.id == id and event.what == "runs"]
        woken = {event.at for event in events if event.id == id and event.what == "slept"}
        for before, run in pairwise(runs):
            following = [each.at for each in runs if each.at > run.at]
            if any(run.at < at < min(following, default=at + 1) for at in woken):
                found.append((before, run))
    return found
