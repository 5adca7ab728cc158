"""Batches on every driver that has a state, or is given one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.contracts.driver import Ack, Outgoing
from tasuki.errors import BatchStateError
from tasuki.queues.queue import Queue
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = pytest.mark.anyio
LETTERS = 130

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite%(state)s}
  - {name: keeper, kind: queue.driver.sqlite, path: keeper.db}
  - {name: state, kind: store.sqlite, driver: keeper}
  - {name: jobs, kind: queue.queue, driver: driver, queue_name: jobs_%(id)s, dead_letter: {queue: dead}, lease: 5s}
  - {name: dead, kind: queue.queue, driver: driver, queue_name: dead_%(id)s, lease: 5s}
"""


def load(folder: Path, driver: str) -> App:
    state = ", state: state" if driver in ("amqp", "sqs") else ""
    (folder / "_index.yaml").write_text(PROJECT % {"id": uuid4().hex[:8], "state": state})
    return App.load(folder, overrides=overrides(driver, "app:driver", folder))


async def bury(app: App) -> None:
    headers: dict[str, Any] = {"x_original_queue": "app:jobs", "x_dead_letter_reason": "rejected", "attempts": 3}
    letters = [
        Outgoing(f"m{n:03}", b"{}", {**headers, "x_last_error": f"E{n % 2}: no", "x_dead_letter_time": 1.7e9})
        for n in range(LETTERS)
    ]
    errors = await app._runtime.queue("app:dead").forward(letters)
    assert not any(errors), errors


async def drained(queue: Queue) -> Counter[str]:
    """The ids of all its messages, which are taken."""
    found: Counter[str] = Counter()
    while received := await queue.driver.receive(queue.spec.name, 50, 1.0):
        found.update(each.id for each in received)
        await queue.driver.settle(queue.spec.name, [Ack(each.receipt) for each in received])
    return found


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver != "memory"])
async def test_some_are_retried_and_brought_back_and_all_are_deleted(driver: str, tmp_path: Path) -> None:
    app = load(tmp_path, driver)
    async with app:
        dead, jobs = app._runtime.queue("app:dead"), app._runtime.queue("app:jobs")
        can = dead.driver.capabilities
        await bury(app)
        batch = await app.dead.batches.begin("retry", "app:dead", where="error contains 'E1'", rate=0, canary=None)
        batch = await app.dead.batches.wait(batch.id)
        assert (batch.state, batch.done, batch.problem) == ("done", LETTERS // 2, "")
        assert batch.atomic is can.has("transfer")
        # RabbitMQ pushes released letters to the inbox here again: in flight, as for any other process.
        assert (await dead.depth()).message_count == LETTERS // 2
        if can.has("transfer"):
            undone = await app.dead.batches.wait((await app.dead.batches.undo(batch.id)).id)
            assert (undone.state, undone.undone) == ("undone", LETTERS // 2)
            assert (await jobs.depth()).ready == 0
        else:
            with pytest.raises(BatchStateError, match="has no transfer"):
                await app.dead.batches.undo(batch.id)
            assert await drained(jobs) == Counter(f"m{n:03}" for n in range(1, LETTERS, 2))
        gone = await app.dead.batches.wait((await app.dead.batches.begin("delete", "app:dead", rate=0)).id)
        assert (gone.state, gone.done) == ("done", LETTERS if can.has("transfer") else LETTERS // 2)
        assert (await dead.depth()).ready == 0
        if can.has("transfer"):
            back = await app.dead.batches.wait((await app.dead.batches.undo(gone.id)).id)
            assert back.undone == LETTERS
            assert await drained(dead) == Counter(f"m{n:03}" for n in range(LETTERS))
            await dead.driver.delete(f"{dead.spec.name}.trash")
        # Other tests began theirs on the same broker.
        assert [each.id for each in await app.dead.batches.list()][:2] == [gone.id, batch.id]
        for queue in (dead, jobs):
            await queue.delete()
