"""Scenes: a system in which nothing moves any more, its true numbers, and how long a face may take to say so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from tests.e2e.truth import tools
from tests.e2e.truth.faces import ALL, FACES, Numbers
from tests.e2e.truth.world import PLACES, PREFETCH, World

DONE, DEAD, RETRIED, DELAYED, HELD, ORPHANS = 21, 12, 7, 9, 20, 5
AGE = 240.0
"""Seconds in which what all faces say must have become true.

Signs come every 5 seconds, and a quiet machine needs 15; on a busy one a command alone may take 40.
"""


async def true_in_time(world: World, face: str, truth: Numbers, known: Iterable[str] = ()) -> None:
    """A face says the truth within its age.

    What it does not say, or calls unknown, is not false; but numbers of the names ``known`` must be said.
    """
    ends_at = time.monotonic() + AGE
    while True:
        said = {key: value for key, value in (await FACES[face](world)).items() if key in truth}
        false = {key: (value, truth[key]) for key, value in said.items() if value not in (None, truth[key])}
        unknown = {key for key, value in said.items() if value is None and key[1] in known}
        unsaid = set(known) - {name for _, name in said}
        if not (false or unknown or unsaid):
            return
        assert time.monotonic() < ends_at, f"{face}: (said, true) {false}, unknown {unknown}, unsaid {unsaid}"
        await asyncio.sleep(0.2)


async def until(condition: Callable[[], object], here: World) -> None:
    """Wait for what another process does."""
    ends_at = time.monotonic() + AGE
    while not condition():
        assert time.monotonic() < ends_at, here.ledger()
        await asyncio.sleep(0.02)


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
    ends_at = time.monotonic() + AGE
    while (held := await tools.held(here, put_off={"app:work": DELAYED + RETRIED})) != given:
        assert time.monotonic() < ends_at, (held, given)
        await asyncio.sleep(0.5)
