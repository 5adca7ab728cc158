"""Scenes: a system in which nothing moves any more, its true numbers, and how long a face may take to say so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping

from tests.e2e.truth import tools
from tests.e2e.truth.faces import ALL, FACES, SAYS, Numbers, get
from tests.e2e.truth.world import PLACES, PREFETCH, World

DONE, DEAD, RETRIED, DELAYED, HELD, ORPHANS = 21, 12, 7, 9, 20, 5
AGE = 30.0
"""Seconds after which a face that is asked must say the truth.

A worker gives a sign every 5 or 12 seconds, and is gone 15 seconds after the last one; the ends of delays are written
every 5 seconds; a page is a second or two old.
"""
PATIENCE = 240.0
"""Seconds after which a scene is given up: a busy machine may take long to start processes and to handle messages."""


async def true_in_time(world: World, face: str, truth: Numbers, *, is_whole: bool = True) -> None:
    """A face says the truth when it is asked ``AGE`` seconds from now, or before.

    Args:
        world: the system.
        face: its name.
        truth: the true numbers.
        is_whole: the face must say all numbers that it has a place for (``SAYS``), and call none of them unknown.
    """
    ends_at = time.monotonic() + AGE
    while True:
        asked_at = time.monotonic()
        said = {key: value for key, value in (await FACES[face](world)).items() if key in truth}
        false = {key: (value, truth[key]) for key, value in said.items() if value not in (None, truth[key])}
        unsaid = {key for key in truth if said.get(key) is None and _must_say(face, key)} if is_whole else set()
        if not (false or unsaid):
            return
        assert asked_at < ends_at, f"{face}: (said, true) {false}, unsaid {sorted(unsaid)[:20]}"
        await asyncio.sleep(0.2)


def _must_say(face: str, key: tuple[str, str]) -> bool:
    of_queue, of_all = SAYS[face]
    return key[1] in (of_all if key[0] == ALL else of_queue) and key != ("app:dead", "dead")


async def until(condition: Callable[[], object], here: World) -> None:
    """Wait for what another process does."""
    ends_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends_at, here.ledger()
        await asyncio.sleep(0.02)


async def remembered(here: World, queue: str, **sums: int) -> None:
    """The minutes of a queue add up to this, once the last one of them is over and all processes have written it."""
    names = ("published", "done", "failed", "dead")
    ends_at = time.monotonic() + PATIENCE
    while True:
        found = json.loads(get(here, f"/api/v1/queues/{queue}/history"))
        said = {name: sum(minute[name] for minute in found["items"]) for name in names}
        if found["is_known"] and said == sums:
            return
        too_much = {name for name in names if said[name] > sums[name]}
        assert not too_much, f"{queue}: the hour has {said}, and the ledger {sums}"
        assert time.monotonic() < ends_at, f"{queue}: the hour has {said}, and the ledger {sums}"
        await asyncio.sleep(1)


async def still(here: World, *, workers: int) -> tuple[Numbers, dict[str, str]]:
    """Workers that have done, failed or hold all they can: the true numbers, and by id the true statuses."""
    here.start(desk=True)
    for _ in range(workers - 1):
        here.start()
    ids = await _published(here)
    running = PLACES * workers
    expected = {"end": DONE, "dead": DEAD, "retry": RETRIED, "begin": DONE + DEAD + RETRIED + running}
    await until(lambda: all(here.ledger()[what] == count for what, count in expected.items()), here)
    in_flight = PREFETCH * workers
    await _settled(here, {"app:work": 0, "app:held": in_flight, "app:orphan": 0})
    return _truth(workers, running, in_flight), ids


async def _published(here: World) -> dict[str, str]:
    numbers = iter(range(1000))

    def bodies(count: int, do: str = "") -> list[dict[str, object]]:
        return [{"n": next(numbers), "do": do} for _ in range(count)]

    async with here.app() as app:
        await here.publish(app, "work", [*bodies(DONE), *bodies(DEAD, "die"), *bodies(RETRIED, "retry")])
        delayed = await here.publish(app, "work", bodies(DELAYED), delay=3600)
        held = await here.publish(app, "held", bodies(HELD))
        orphans = await here.publish(app, "orphan", bodies(ORPHANS))
    return {held[0]: "running", held[-1]: "waiting", delayed[0]: "delayed", orphans[0]: "waiting"}


def _truth(workers: int, running: int, in_flight: int) -> Numbers:
    counts = {
        "app:work": (0, 0, DELAYED + RETRIED, 0, workers),
        "app:held": (HELD - in_flight, in_flight, 0, running, workers),
        "app:orphan": (ORPHANS, 0, 0, 0, 0),
    }
    names = ("ready", "in_flight", "delayed", "running", "workers")
    truth: Numbers = {(id, name): count for id, row in counts.items() for name, count in zip(names, row, strict=True)}
    truth |= {("app:work", "dead"): DEAD, ("app:dead", "ready"): DEAD, ("app:dead", "letters"): DEAD}
    truth |= {(ALL, name): sum(row[index] for row in counts.values()) for index, name in enumerate(names[:4])}
    return truth | {
        (ALL, "workers"): workers,
        (ALL, "dead"): DEAD,
        (ALL, "done"): DONE,
        (ALL, "failed"): DEAD + RETRIED,
    }


async def _settled(here: World, given: Mapping[str, int]) -> None:
    """Wait until the broker says that workers have these messages, by id of the queue, and no others."""
    ends_at = time.monotonic() + PATIENCE
    while (held := await tools.held(here, put_off={"app:work": DELAYED + RETRIED})) != given:
        assert time.monotonic() < ends_at, (held, given)
        await asyncio.sleep(0.5)
