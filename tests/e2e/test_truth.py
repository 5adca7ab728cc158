"""What desk, API, command line, ``top``, MCP and metrics say about a busy system is true, or said to be unknown.

The system is real: worker processes on a broker, messages that are done, held, delayed, retried and dead. What its
handlers note is the ledger; what a broker counts itself is asked by its own tools.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.truth.faces import ALL, FACES, SLOW, Numbers, command, greens, health, notices
from tests.e2e.truth.scene import DEAD, DELAYED, DONE, HELD, RETRIED, remembered, still, true_in_time, until
from tests.e2e.truth.world import DRIVERS, world
from tests.support.brokers.everywhere import broker_of
from tests.support.process import run

pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.timeout(900)]

LETTERS = 3012
CONSUMERS = 500 if os.environ.get("CAMPAIGN") else 100


@pytest.mark.parametrize("driver", DRIVERS)
async def test_every_face_says_what_broker_and_ledger_say(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        truth, statuses = await still(here, workers=2)
        for face in FACES:
            await true_in_time(here, face, truth)
        said = {id: json.loads(command(here, "status", id, "--json"))["status"] for id in statuses}
        assert said == statuses
        await remembered(
            here, "app:work", published=DONE + DEAD + RETRIED + DELAYED, done=DONE, failed=DEAD + RETRIED, dead=DEAD
        )
        await remembered(here, "app:held", published=HELD, done=0, failed=0, dead=0)


@pytest.mark.parametrize("driver", ["sqlite", "redis", "amqp"])
async def test_no_face_is_green_while_a_worker_is_not_live(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        here.start(desk=True)
        async with here.app() as app:
            await here.publish(app, "work", [{"n": 1}])
            await until(lambda: here.ledger()["end"], here)
            await until(lambda: all(greens(here).values()), here)
            await here.publish(app, "work", [{"n": 2, "do": "block"}])
            await until(lambda: here.ledger()["begin"] == 2, here)
        await until(lambda: health(here) == 503, here)
        await until(lambda: not any(greens(here).values()), here)
        for arguments in (["top", "--once"], ["queues"]):
            told = run(*arguments, *here.arguments, folder=here.folder, timeout=SLOW)
            assert "is not live" in told.stderr, told
        assert health(here) == 503
        (tmp_path / "unblocked").touch()
        await until(lambda: health(here) == 200 and all(greens(here).values()), here)


@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
async def test_a_killed_worker_is_counted_no_more_and_stays_a_notice(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        truth, _ = await still(here, workers=2)
        here.workers.pop().kill()
        left: Numbers = {key: 1 for key in truth if key[1] == "workers" and truth[key]}
        for face in ("desk", "API", "tasuki workers", "tasuki top --once"):
            await true_in_time(here, face, left)
        assert "lost" in notices(here)
        assert not any(greens(here).values())
        here.workers.pop().kill()
        none: Numbers = {(ALL, "workers"): 0, ("app:held", "workers"): 0}
        for face in ("tasuki workers", "tasuki top --once", "MCP"):
            await true_in_time(here, face, none)
        rows = {row["queue"]: row for row in json.loads(command(here, "queues", "--json"))}
        assert rows["app:held"]["waits_for_worker"]


@pytest.mark.parametrize("driver", ["redis", "nats"])
async def test_no_face_takes_a_silent_broker_for_an_empty_one(driver: str, tmp_path: Path) -> None:
    with world(tmp_path, driver) as here:
        truth, _ = await still(here, workers=1)
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
            ended = run("queues", *here.arguments, folder=here.folder, timeout=SLOW)
            assert ended.returncode != 0
            assert urlsplit(broker.url).netloc in ended.stderr, "the error names the broker that is silent"
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
    retry = "{initial_delay: 1h, max_delay: 1h}"
    entries = "".join(
        f"  - {{name: {name}, kind: queue.queue, driver: driver, retry: {retry}, dead_letter: null}}\n"
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
        truth: Numbers = {
            (id, name): count for id in ids for name, count in (("workers", 1), ("ready", 0), ("delayed", 1))
        }
        truth |= {(ALL, "workers"): 1, (ALL, "done"): CONSUMERS, (ALL, "failed"): CONSUMERS}
        truth |= {(ALL, "ready"): 0, (ALL, "running"): 0, (ALL, "delayed"): CONSUMERS}
        for face in ("desk", "API", "MCP", "tasuki workers", "tasuki queues --json", "tasuki top --once"):
            await true_in_time(here, face, truth)
        assert not {"no_worker", "none_alive"} & notices(here)
