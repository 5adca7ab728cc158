"""``TestApp(app, real=True)`` on every broker: one test of an application, and what it sees is the same everywhere."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App, Context, Reject, Snooze
from tasuki.testing import TestApp
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_the_same_test_on_every_broker(driver: str, tmp_path: Path) -> None:
    names = {queue: f"{queue}_{uuid4().hex[:8]}" for queue in ("jobs", "notes", "dead")}
    app = App("memory://", root=tmp_path, overrides=overrides(driver, "app:driver", tmp_path))
    dead = app.queue("dead", queue_name=names["dead"])
    notes = app.queue("notes", str, queue_name=names["notes"])
    jobs = app.queue(
        "jobs",
        str,
        queue_name=names["jobs"],
        dead_letter={"queue": dead, "max_attempts": 2},
        retry={"initial_delay": "50ms", "jitter": 0},
    )

    @jobs.consumer
    async def handle(job: str, context: Context) -> str:
        if job == "fails" and context.attempt == 1:
            raise ConnectionError("away")
        if job == "breaks":
            raise ValueError("broken")
        if job == "rejected":
            raise Reject("never")
        if job == "later" and not t.published(notes).count("later"):
            await notes.publish("later")
            raise Snooze("100ms")
        await notes.publish(job)
        return job.upper()

    async with TestApp(app, real=True) as t:
        for job in ("works", "fails", "breaks", "rejected", "later"):
            await jobs.publish(job)
        run = await t.advance("30s")
        assert (run.done, run.failed, run.dead) == (3, 4, 2)
        assert sorted(t.settled(jobs)) == ["ack"] * 3 + ["dead_letter"] * 2 + ["nack"] * 2 + ["snooze"]
        assert sorted(t.published(notes)) == ["fails", "later", "later", "works"]
        assert {(letter.body, letter.reason, letter.attempts) for letter in t.dead} == {
            ("breaks", "max_attempts", 2),
            ("rejected", "rejected", 1),
        }
        assert {str(failure.error) for failure in t.errors} == {"away"}
        assert t.waiting(jobs) == []
        assert await jobs.request("asked", returns=str) == "ASKED"
