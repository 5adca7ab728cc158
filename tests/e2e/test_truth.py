"""What desk, API, command line, ``top``, MCP and metrics say of a busy system is true, or said to be unknown.

The system is real: worker processes on a broker, messages that are done, held, delayed, retried and dead. What its
handlers note is the ledger; what a broker counts itself is asked by its own tools.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.e2e.truth import tools
from tests.e2e.truth.faces import ALL, FACES, Numbers, command, get
from tests.e2e.truth.world import DRIVERS, PLACES, World, world
from tests.support.brokers.everywhere import broker_of
from tests.support.process import Process, run
from tests.unit.desk.browser import words

pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.timeout(300)]

DONE, DEAD, RETRIED, DELAYED, HELD, ORPHANS = 21, 12, 7, 9, 20, 5
AGE = 60.0
"""Seconds in which what all faces say must have become true: signs come every 5, and this machine may be busy."""


async def true_in_time(world: World, face: str, truth: Numbers) -> None:
    """A face says the truth within its age; what it does not say, or calls unknown, is not false."""
    ends_at = time.monotonic() + AGE
    while True:
        said = await FACES[face](world)
        false = {key: (value, truth[key]) for key, value in said.items() if value is not None and key in truth}
        false = {key: pair for key, pair in false.items() if pair[0] != pair[1]}
        if not false:
            return
        assert time.monotonic() < ends_at, f"{face} says what is not true (said, true): {false}"
        await asyncio.sleep(0.2)


def known(said: Numbers, names: Iterable[str]) -> set[str]:
    """Names of numbers of which none is unknown."""
    return {name for name in names if all(value is not None for key, value in said.items() if key[1] == name)}


@pytest.mark.parametrize("driver", DRIVERS)
async def test_every_face_says_what_broker_and_ledger_say(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        truth, ids = await busy(here, workers=2)
        for face in FACES:
            await true_in_time(here, face, truth)
        for name in ("desk", "API", "MCP", "tasuki top --once"):
            said = await FACES[name](here)
            assert known(said, ("ready", "running", "workers")) == {"ready", "running", "workers"}, (name, said)
        for what, id in ids.items():
            told = json.loads(command(here, "status", id, "--json"))["status"]
            assert told == {"held": "running", "behind": "waiting", "delayed": "delayed", "orphan": "waiting"}[what], (
                what
            )


@pytest.mark.parametrize("driver", ["sqlite", "redis", "amqp"])
async def test_no_face_is_green_while_a_worker_is_not_live(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        here.start(desk=True)
        async with here.app() as app:
            await here.publish(app, "work", [{"n": 1}])
            await until(lambda: here.ledger()["end"], here)
            await until(lambda: GREEN in words(get(here, "/")), here)
            await here.publish(app, "work", [{"n": 2, "do": "block"}])
            await until(lambda: here.ledger()["begin"] == 2, here)
        await until(lambda: health(here) == 503, here)
        await until(lambda: all(not green for green in greens(here).values()), here)
        assert health(here) == 503
        (tmp_path / "unblocked").touch()
        await until(lambda: health(here) == 200 and all(greens(here).values()), here)


@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
async def test_a_killed_worker_is_counted_no_more_and_stays_a_notice(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        truth, _ = await busy(here, workers=2)
        kill(here.workers.pop())
        gone: Numbers = {key: 1 for key in truth if key[1] == "workers" and truth[key]}
        for face in ("desk", "API", "tasuki workers", "tasuki top --once", "MCP"):
            await true_in_time(here, face, gone)
        assert "killed" in notices(here)
        assert not any(greens(here).values())
        kill(here.workers.pop())
        nobody: Numbers = {(ALL, "workers"): 0, ("app:held", "workers"): 0}
        for face in ("tasuki workers", "tasuki top --once", "MCP"):
            await true_in_time(here, face, nobody)
        rows = {row["queue"]: row for row in json.loads(command(here, "queues", "--json"))}
        assert rows["app:held"]["waits_for_worker"]


@pytest.mark.parametrize("driver", ["redis", "nats"])
async def test_no_face_takes_a_silent_broker_for_an_empty_one(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        truth, _ = await busy(here, workers=1)
        for face in ("desk", "API"):
            await true_in_time(here, face, truth)
        broker = broker_of(driver)
        assert broker is not None
        broker.freeze()
        try:
            await until(lambda: not any(greens(here).values()), here)
            for face in ("desk", "API"):
                said = await FACES[face](here)
                false = {key: said[key] for key in said if said[key] not in (None, truth.get(key, said[key]))}
                assert not false, f"{face} of a silent broker: {false}"
            ended = run("queues", *here.arguments, folder=here.folder, timeout=120)
            assert ended.returncode != 0
            assert "app:driver" in ended.stderr
        finally:
            broker.thaw()
        for face in ("desk", "API"):
            await true_in_time(here, face, truth)


@pytest.mark.parametrize("driver", ["sqlite", "redis", "amqp"])
async def test_thousands_of_letters_are_counted_by_every_face(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        here.start(desk=True)
        async with here.app() as app:
            for start in range(0, LETTERS, 500):
                numbers = range(start, min(start + 500, LETTERS))
                await here.publish(app, "work", [{"n": number, "do": "die"} for number in numbers])
            await until(lambda: here.ledger()["dead"] == LETTERS, here)
        truth: Numbers = {("app:dead", "letters"): LETTERS, (ALL, "dead"): LETTERS, ("app:work", "dead"): LETTERS}
        for face in ("desk", "API", "MCP", "tasuki top --once", "tasuki dead"):
            await true_in_time(here, face, truth)
        groups = json.loads(command(here, "dead", "--json"))["groups"]
        assert sorted(group["count"] for group in groups) == [LETTERS // 3, LETTERS * 2 // 3]


MANY = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: handle, kind: function.python, source: file://handlers.py, method: handle}
"""


@pytest.mark.parametrize("driver", ["sqlite", "redis"])
async def test_a_process_of_a_hundred_consumers_hides_none(driver: str, tmp_path: Path) -> None:
    queues = [f"q{number:03}" for number in range(CONSUMERS)]
    entries = "".join(
        f"  - {{name: {name}, kind: queue.queue, driver: driver, retry: {{initial_delay: 1h}}, dead_letter: null}}\n"
        f"  - {{name: c{name}, kind: queue.consumer, queue: {name}, func: handle, lifecycle: {{auto_start: true}}}}\n"
        for name in queues
    )
    ids = [f"app:{name}" for name in queues]
    with world(tmp_path, driver, MANY + entries, queues=ids) as here:
        here.start(desk=True)
        async with here.app() as app:
            for name in queues:
                await here.publish(app, name, [{"n": 1}, {"n": 2, "do": "retry"}])
            await until(lambda: here.ledger()["end"] == here.ledger()["retry"] == CONSUMERS, here)
        truth: Numbers = {(ALL, "workers"): 1, (ALL, "done"): CONSUMERS, (ALL, "failed"): CONSUMERS}
        truth |= {(ALL, "ready"): 0, (ALL, "running"): 0, (ALL, "delayed"): CONSUMERS}
        truth |= (
            {(id, "workers"): 1 for id in ids} | {(id, "delayed"): 1 for id in ids} | {(id, "ready"): 0 for id in ids}
        )
        for face in ("desk", "API", "MCP", "tasuki workers", "tasuki queues --json"):
            await true_in_time(here, face, truth)
        assert not {"no_worker", "none_alive"} & notices(here)


GREEN = "nothing needs attention"


LETTERS = 3012
CONSUMERS = 500 if os.environ.get("CAMPAIGN") else 100


def kill(worker: Process) -> None:
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait()


def notices(here: World) -> set[str]:
    """Codes of what the API says needs attention."""
    return {each["code"] for each in json.loads(get(here, "/api/v1/overview"))["notices"]}


def greens(here: World) -> dict[str, bool]:
    """Which faces say that nothing needs attention."""
    return {
        "desk": GREEN in words(get(here, "/")),
        "API": not notices(here),
    }


def health(here: World) -> int:
    """The answer of ``/livez``."""
    try:
        get(here, "/livez")
    except urllib.error.HTTPError as answer:
        return answer.code
    return 200


async def busy(here: World, *, workers: int) -> tuple[Numbers, dict[str, str]]:
    """A system in which nothing moves any more: what is true of it, and an id of each kind of message."""
    here.start(desk=True)
    for _ in range(workers - 1):
        here.start()
    async with here.app() as app:
        numbers = iter(range(1000))
        done = [{"n": next(numbers)} for _ in range(DONE)]
        await here.publish(app, "work", done)
        await here.publish(app, "work", [{"n": next(numbers), "do": "die"} for _ in range(DEAD)])
        await here.publish(app, "work", [{"n": next(numbers), "do": "retry"} for _ in range(RETRIED)])
        delayed = await here.publish(app, "work", [{"n": next(numbers)} for _ in range(DELAYED)], delay=3600)
        held = await here.publish(app, "held", [{"n": next(numbers)} for _ in range(HELD)])
        orphans = await here.publish(app, "orphan", [{"n": next(numbers)} for _ in range(ORPHANS)])
        running = PLACES * workers
        expected = {"end": DONE, "dead": DEAD, "retry": RETRIED, "begin": DONE + DEAD + RETRIED + running}
        await until(lambda: all(here.ledger()[what] == count for what, count in expected.items()), here)
    in_flight = await settled(here, running)
    truth: Numbers = {
        ("app:work", "ready"): 0,
        ("app:work", "in_flight"): 0,
        ("app:work", "delayed"): DELAYED + RETRIED,
        ("app:work", "running"): 0,
        ("app:work", "dead"): DEAD,
        ("app:work", "workers"): workers,
        ("app:held", "ready"): HELD - in_flight,
        ("app:held", "in_flight"): in_flight,
        ("app:held", "delayed"): 0,
        ("app:held", "running"): running,
        ("app:held", "workers"): workers,
        ("app:orphan", "ready"): ORPHANS,
        ("app:orphan", "in_flight"): 0,
        ("app:orphan", "delayed"): 0,
        ("app:orphan", "running"): 0,
        ("app:orphan", "workers"): 0,
        ("app:dead", "ready"): DEAD,
        ("app:dead", "letters"): DEAD,
        (ALL, "ready"): HELD - in_flight + ORPHANS,
        (ALL, "delayed"): DELAYED + RETRIED,
        (ALL, "running"): running,
        (ALL, "workers"): workers,
        (ALL, "dead"): DEAD,
        (ALL, "done"): DONE,
        (ALL, "failed"): DEAD + RETRIED,
    }
    return truth, {"held": held[0], "behind": held[-1], "delayed": delayed[0], "orphan": orphans[0]}


async def settled(here: World, running: int) -> int:
    """Messages of ``app:held`` that workers have, when the broker says the same twice and nothing else is held."""
    before: object = None
    ends_at = time.monotonic() + AGE
    while True:
        held = await tools.held(here)
        if held == before and held["app:held"] >= running and not held.get("app:work") and not held.get("app:orphan"):
            return held["app:held"]
        assert time.monotonic() < ends_at, held
        before = held
        await asyncio.sleep(0.5)


async def until(condition: Callable[[], object], here: World) -> None:
    ends_at = time.monotonic() + AGE
    while not condition():
        assert time.monotonic() < ends_at, here.ledger()
        await asyncio.sleep(0.02)
