"""tasuki explain as a process on SQLite, and app.explain on every driver."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.process import run

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver, queue_name: %s}
  - {name: func, kind: function.lua, source: "return function() end"}
  - {name: sender, kind: queue.consumer, queue: mails, func: func}
"""


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_driver_tells_what_it_can(driver: str, tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT % f"mails_{uuid4().hex[:8]}")
    async with App.load(tmp_path, overrides=overrides(driver, "app:driver", tmp_path)) as app:
        job = await app.publish("mails", 1)
        can = app._runtime.queue("mails").driver.capabilities
        found = await app.jobs.explain("mails", job.id)
        codes = [cause.code for cause in found.causes]
        assert (found.found, codes[0]) == (
            (True, "no worker" if can.has("store") else "workers unknown") if can.has("peek") else (None, "cannot look")
        )
        assert codes[-1] == ("no worker" if can.has("store") else "workers unknown")
        await app._runtime.queue("mails").delete()


DYING = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver, queue_name: %s, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: dead, kind: queue.queue, driver: driver, queue_name: %s_dead}
  - {name: func, kind: function.lua, source: "return function() error('no') end"}
  - {name: sender, kind: queue.consumer, queue: mails, func: func, lifecycle: {auto_start: true}}
"""
STATE = """\
  - {name: states, kind: queue.driver.sqlite, path: states.db}
  - {name: state, kind: store.sqlite, driver: states}
"""


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_dead_letter_is_no_settled_message(driver: str, tmp_path: Path) -> None:
    """Also where the broker does not show its dead letters: the message was settled by an ack there."""
    name, changes = f"mails_{uuid4().hex[:8]}", overrides(driver, "app:driver", tmp_path)
    text = DYING % (name, name)
    if driver in ("amqp", "sqs"):
        text, changes = text + STATE, [*changes, "app:driver:state=state"]
    (tmp_path / "_index.yaml").write_text(text)
    async with App.load(tmp_path, overrides=changes).worker() as app:
        job = await app.publish("mails", 1)
        codes: list[str] = []
        async with asyncio.timeout(60):
            while not {"dead", "settled"} & set(codes):
                codes = [cause.code for cause in (await app.jobs.explain("mails", job.id)).causes]
                await asyncio.sleep(0.01)
        assert codes == ["dead"]


async def test_each_cause_on_sqlite(tmp_path: Path) -> None:
    app = App(root=tmp_path)
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    alone = app.queue("alone")
    may_end, runs = asyncio.Event(), asyncio.Event()

    @jobs.consumer(concurrency=1)
    async def work(body: int) -> None:
        runs.set()
        await may_end.wait()
        if body < 0:
            raise ValueError("less than nothing")

    async def first(id: str) -> str:
        return (await app.jobs.explain(None, id)).causes[0].code

    async with app:
        await alone.publish(1, id="alone")
        await jobs.publish(1, id="later", delay="1h")
        await jobs.publish(-1, id="bad")
        assert [await first(id) for id in ("alone", "later", "bad", "no")] == [
            "no consumer", "delayed", "no worker", "no such message",
        ]  # fmt: skip
        await app.workers.pause("jobs", "1h", reason="test")
        assert await first("bad") == "paused"
        await app.workers.resume("jobs")
        async with app.worker():
            async with asyncio.timeout(20):
                await runs.wait()
            await jobs.publish(2, id="second")
            assert await first("bad") == "running"
            async with asyncio.timeout(20):
                while (code := await first("second")) != "prefetched":
                    assert code in ("busy", "held", "next", "no such message"), code
            may_end.set()
            async with asyncio.timeout(20):
                while (code := await first("second")) != "settled":
                    await asyncio.sleep(0.01)
    async with app:
        assert await first("bad") == "dead"
        await app.jobs.cancel("later", queue="jobs")
        assert await first("later") == "cancelled"


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text('from tasuki import App\n\napp = App()\napp.queue("jobs")\n')
    assert run("publish", "jobs", "1", "--id", "one", folder=tmp_path).returncode == 0
    found = run("explain", "one", folder=tmp_path)
    assert (found.returncode, "no consumer is declared" in found.stdout) == (0, True), found
    missing = run("explain", "two", "--queue", "jobs", "--json", folder=tmp_path)
    assert (missing.returncode, '"no such message"' in missing.stdout) == (1, True), missing


def test_a_broker_that_is_away_does_not_end_the_search(tmp_path: Path) -> None:
    text = PROJECT.replace("memory", "sqlite") % "mails"
    far = """\
  - {name: far, kind: queue.driver.redis, url: "redis://127.0.0.1:1/0"}
  - {name: first, kind: queue.queue, driver: far}
"""
    (tmp_path / "_index.yaml").write_text(text.replace("entries:\n", f"entries:\n{far}"))
    assert run("publish", "mails", "1", "--id", "one", folder=tmp_path).returncode == 0

    here = run("explain", "one", "--json", folder=tmp_path)
    gone = run("explain", "two", "--json", folder=tmp_path)
    named = run("explain", "one", "--queue", "first", folder=tmp_path)

    found, lost = json.loads(here.stdout), json.loads(gone.stdout)
    assert (here.returncode, found["queue"], found["found"]) == (0, "app:mails", True), here
    assert [cause["code"] for cause in found["causes"]] == ["no worker"]
    assert (gone.returncode, lost["queue"], lost["found"]) == (1, "app:mails", None), gone
    assert [cause["code"] for cause in lost["causes"]] == ["away", "no such message"]
    assert lost["causes"][0]["text"].startswith("could not look at queue app:first: Redis at 127.0.0.1:1")
    assert "error: Redis at 127.0.0.1:1: it cannot be reached" in named.stderr, named
