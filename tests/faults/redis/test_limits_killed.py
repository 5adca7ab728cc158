"""Places of a lane, over processes that are killed or frozen: never more are held, and nothing stays behind."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasuki.contracts.driver import Depth, Limit, QueueSpec
from tests.faults.freezing import FREEZES, IS_CAMPAIGN, freeze_until
from tests.faults.redis.limit_worker import most_held, notes, worker
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.redis_lanes import LanesSeen
from tests.support.brokers.rig import messages

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]

PROCESSES = 3
PLACES = 3
KILLS, MESSAGES = (66, 6000) if IS_CAMPAIGN else (5, 300)
LANES = [f"t{number}" for number in range(20 if IS_CAMPAIGN else 4)]
LEASE = 1.0
END = 1500.0 if IS_CAMPAIGN else 120.0


def is_empty(depth: Depth) -> bool:
    """By one answer: between two a held message may have become ready."""
    return depth.ready == depth.in_flight == 0


@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_no_more_than_its_places_are_held_past_faults(
    broker: Redis, tmp_path: Path, ordering: str, fault: str
) -> None:
    chance, strikes = random.Random(7), KILLS if fault == "killed" else FREEZES
    spec = QueueSpec(
        "q", lease=LEASE, fair=1, lane_limit=Limit(concurrency=PLACES), ordering="key" if ordering == "key" else "none"
    )
    published = [f"{LANES[number % len(LANES)]}-{number}" for number in range(MESSAGES)]
    async with driver_at(broker.port, spec=spec) as driver, asyncio.timeout(END):

        async def is_drained() -> bool:
            return is_empty(await driver.depth("q"))

        with ExitStack() as stack:
            workers = [stack.enter_context(worker(broker.port, tmp_path, spec)) for _ in range(PROCESSES)]
            for strike in range(strikes):
                start = MESSAGES * strike // strikes
                part = published[start : MESSAGES * (strike + 1) // strikes]
                await driver.publish(
                    "q",
                    [one for id in part for one in messages(id, lane=id.partition("-")[0], key=id.partition("-")[0])],
                )
                while len({note.id for note in notes(tmp_path) if note.what == "acked"}) < start + len(part) // 2:
                    await asyncio.sleep(0.02)
                number = chance.randrange(PROCESSES)
                if fault == "frozen":
                    pid = workers[number].pid
                    assert pid is not None
                    await freeze_until(pid, is_drained)
                    continue
                workers[number].kill()
                workers[number] = stack.enter_context(worker(broker.port, tmp_path, spec))
            while not is_empty(await driver.depth("q")):
                await asyncio.sleep(0.05)
        seen = LanesSeen(driver)
        await seen.check()
        assert await seen.left() == set()
    found = notes(tmp_path)
    held = most_held(found, LEASE)
    most = 1 if ordering == "key" else PLACES
    assert max(held.values()) <= most, held
    # In the short form a busy machine may never fill all three.
    assert max(held.values()) > (most - 1 if IS_CAMPAIGN else most // 2), "the places were never used"
    acked = Counter(note.id for note in found if note.what == "acked")
    assert {id for id in published if id not in {note.id for note in found}} == set(), "they were never handed out"
    assert max(acked.values()) == 1
